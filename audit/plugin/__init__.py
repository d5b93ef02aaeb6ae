"""Pytest's side: cases as items, options, the end of a session."""
