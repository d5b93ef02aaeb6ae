"""ModelScope's OFA visual entailment."""
