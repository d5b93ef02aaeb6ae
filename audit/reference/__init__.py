"""The embedded models: seeded scenes with true boxes, training, and their weights."""
