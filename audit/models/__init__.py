"""Models: what audit needs from one, the adapters, and how a model is found."""
