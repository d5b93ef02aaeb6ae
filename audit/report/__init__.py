"""Galleries, pictures and summaries: what people see of a run, made from saved files alone."""
