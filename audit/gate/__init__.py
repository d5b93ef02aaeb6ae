"""Decides whether a case may pass: outcomes, baselines, drift, verdicts."""
