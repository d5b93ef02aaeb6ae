"""Whether it may pass: outcomes, baselines, drift, the verdict."""
