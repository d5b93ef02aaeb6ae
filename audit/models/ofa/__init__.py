"""ModelScope's OFA visual entailment."""

METHODS = ("answer_attention", "word_attention", "rollout", "relevance")
"""The maps that OFA can give; the first is its default."""

ENGINES = ("fast", "reference")
"""The ways in which its passes can be computed; the first is the default."""
