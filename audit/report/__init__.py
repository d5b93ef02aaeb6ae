"""What people look at, drawn from saved runs alone."""
