"""Measures what the gate catches: planted regressions, and harmless changes that must pass."""
