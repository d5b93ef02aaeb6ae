"""Cases: how their files are found, read, checked and written."""
