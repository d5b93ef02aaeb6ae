"""Where a model looked: what a pass leaves, and the maps that are read from it."""
