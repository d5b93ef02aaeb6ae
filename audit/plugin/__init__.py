"""The pytest plugin: options, cases as test items, and the end of a session."""
