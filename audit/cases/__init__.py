"""What is asked: case files, found, read and checked."""
