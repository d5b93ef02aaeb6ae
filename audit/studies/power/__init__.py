"""What the gate catches: planted regressions, and harmless changes that must not alarm it."""
