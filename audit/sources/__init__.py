"""Rows of tables, data sets and folders of pictures, as a stream: what may become cases."""
