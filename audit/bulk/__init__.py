"""Audits millions of rows: one row a question, Parquet out, on one machine or on many."""
