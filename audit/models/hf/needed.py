"""The files that a checkpoint's processor needs: which one is missing, and which one is broken.

transformers makes up how pictures are prepared if no file says it, and of a missing tokenizer it
speaks in terms of the package or the class that it tried next.
"""

from __future__ import annotations

import json
from pathlib import Path

from audit.base.errors import ModelError

_PICTURES, _PROCESSOR = "preprocessor_config.json", "processor_config.json"
_TOKENIZERS = (
    ("tokenizer.json",), ("tokenizer.model",), ("spiece.model",), ("sentencepiece.bpe.model",),
    ("vocab.json", "merges.txt"), ("vocab.txt",),
)  # fmt: skip
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


def check_files(folder: Path) -> None:
    """Refuse a folder that does not say how pictures and texts are prepared.

    Raises:
        ModelError: a file is missing; the message names it.
    """
    if not (folder / _PICTURES).is_file() and not _with_pictures(folder / _PROCESSOR):
        raise ModelError(
            f"{folder}: there is no {_PICTURES}, so it is not known how pictures are prepared; "
            "take it from where the checkpoint comes from"
        )
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        others = ", ".join(" with ".join(names) for names in _TOKENIZERS[1:])
        raise ModelError(
            f"{folder}: there is no tokenizer.json (nor an older tokenizer: {others}); take it "
            "from where the checkpoint comes from"
        )


def template_file(folder: Path) -> Path:
    """The file that the chat template comes from."""
    there = (folder / name for name in _TEMPLATES if (folder / name).is_file())
    return next(there, folder / _TEMPLATES[0])


def _with_pictures(path: Path) -> bool:
    """Whether a processor's file also says how pictures are prepared, as newer versions write."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and isinstance(found.get("image_processor"), dict)
