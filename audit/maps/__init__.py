"""Where a model looked: the traces of its forward passes, and the maps read from them."""
