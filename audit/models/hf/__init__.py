"""Chat models of Hugging Face's transformers that take a picture."""

METHODS = ("answer_attention", "word_attention", "rollout", "relevance")
"""The maps that they can give; the first is their default."""

METHODS_OF_DECODERS = ("answer_attention", "word_attention", "relevance")
"""The maps of models whose encoder reads the prompt and whose decoder answers."""
