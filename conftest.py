"""What is this project's own: the plugin under test is exercised through pytester."""

pytest_plugins = ["pytester"]
