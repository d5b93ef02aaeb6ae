"""A page to ask a model about a picture, and to write cases from its answers."""
