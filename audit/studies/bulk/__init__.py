"""Compares two bulk audits: any number of rows in memory that does not grow with them."""
