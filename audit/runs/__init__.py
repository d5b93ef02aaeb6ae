"""The pipeline that takes cases through a model and makes outcomes of them."""
