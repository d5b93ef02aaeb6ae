"""Building blocks for adapters; they know torch, but no particular model.

The names listed here are for authors of adapters, besides those of ``audit`` itself. Each is
imported from its module when it is first used, so that torch is not loaded if nothing needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.base.lazy import lazily

if TYPE_CHECKING:
    from audit.base.files import digest
    from audit.base.images import picture_of
    from audit.base.words import word_spans
    from audit.models.kit.asking import read_asking, said
    from audit.models.kit.attention import capture, capture_gradients, frozen, margin, reduced
    from audit.models.kit.conformance import check_adapter
    from audit.models.kit.fingerprints import fingerprint, weights_digest
    from audit.models.kit.flow import Relevance, relevance, rolled_out
    from audit.models.kit.hardware import Halving, chosen_device, use_threads
    from audit.models.kit.heads import head_weights, over_heads
    from audit.models.kit.rows import watched, watching
    from audit.models.kit.words import singly, tokens_of, words_of

__all__ = [
    "Halving",
    "Relevance",
    "capture",
    "capture_gradients",
    "check_adapter",
    "chosen_device",
    "digest",
    "fingerprint",
    "frozen",
    "head_weights",
    "margin",
    "over_heads",
    "picture_of",
    "read_asking",
    "reduced",
    "relevance",
    "rolled_out",
    "said",
    "singly",
    "tokens_of",
    "use_threads",
    "watched",
    "watching",
    "weights_digest",
    "word_spans",
    "words_of",
]

_HOMES = {
    "audit.base.files": ("digest",),
    "audit.base.images": ("picture_of",),
    "audit.base.words": ("word_spans",),
    "audit.models.kit.asking": ("read_asking", "said"),
    "audit.models.kit.attention": ("capture", "capture_gradients", "frozen", "margin", "reduced"),
    "audit.models.kit.conformance": ("check_adapter",),
    "audit.models.kit.fingerprints": ("fingerprint", "weights_digest"),
    "audit.models.kit.flow": ("Relevance", "relevance", "rolled_out"),
    "audit.models.kit.hardware": ("Halving", "chosen_device", "use_threads"),
    "audit.models.kit.heads": ("head_weights", "over_heads"),
    "audit.models.kit.rows": ("watched", "watching"),
    "audit.models.kit.words": ("singly", "tokens_of", "words_of"),
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
