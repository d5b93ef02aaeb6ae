"""Metrics: numbers that describe a map."""
