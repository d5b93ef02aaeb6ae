"""The embedded models: their seeded scenes with true boxes, their training, and their weights."""
