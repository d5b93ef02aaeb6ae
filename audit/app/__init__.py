"""A page to ask a model about one picture, and to write cases from what it shows."""
