"""Who answers: what a model is, the adapters, and how one is found."""
