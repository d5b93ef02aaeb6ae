"""What a map measures, as numbers."""
