"""Results as tables, for whatever reads them."""
