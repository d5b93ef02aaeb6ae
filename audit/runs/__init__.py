"""The pipeline: cases through a model, to outcomes."""
