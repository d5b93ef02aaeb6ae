"""What each map is worth, measured on held-out scenes whose truth is known."""
