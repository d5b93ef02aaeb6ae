"""ModelScope's OFA visual entailment."""

METHODS = ("answer_attention", "word_attention", "rollout", "relevance")
"""The maps that OFA can give; the first is its default."""

ENGINES = ("fast", "reference")
"""How its passes are computed; the first is the default."""
