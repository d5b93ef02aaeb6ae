"""Measures how far each map can be trusted, on held-out scenes with known truth."""
