"""Models of Hugging Face's transformers that take a picture: chat models and matchers."""

METHODS = ("answer_attention", "word_attention", "rollout", "relevance")
"""The maps that chat models can give; the first is their default."""

METHODS_OF_DECODERS = ("answer_attention", "word_attention", "relevance")
"""The maps of models whose encoder reads the prompt and whose decoder answers."""
