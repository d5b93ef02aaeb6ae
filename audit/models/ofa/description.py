"""Read and check what a checkpoint folder says about itself, without torch."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.base.errors import ModelError
from audit.models.ofa.folderfile import read_object, read_text
from audit.models.ofa.settings import (
    CELL,
    LONGEST,
    REFUSED_OF_NETWORK,
    REFUSED_OF_TASK,
    Network,
    Task,
    parsed,
    refuse_keys,
)
from audit.models.ofa.tokenizerfiles import TOKENIZER_FILES, check_tokenizer_file

_ADAPTER = "adapter_config.json"
_VOCABULARY_BYTES = 64_000_000
_MOST_ANSWERS = 100
_ANSWER_BYTES = 100
_ANSWERS_BYTES = 2_000
"""In UTF-8, for one answer and for all. A token spells at least one byte, so this limits tokens
too: modelscope keeps a row as long as the vocabulary for each token of each answer."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_MARKS = {"<s>": "bos_token_id", "<pad>": "pad_token_id", "</s>": "eos_token_id"}


@dataclass(frozen=True)
class Description:
    """A checkpoint folder's settings, both as they are written and as they are understood.

    Attributes:
        configuration, config, answers: the content of ``configuration.json``, of ``config.json``
            and of the answer file.
    """

    folder: Path
    configuration: dict[str, Any]
    config: dict[str, Any]
    answers: dict[str, Any]
    task: Task
    network: Network

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers that the model can give, in its own order."""
        return tuple(self.answers)

    @property
    def optional(self) -> list[Path]:
        """The files that a folder may lack, but that also decide which tokens a text becomes."""
        names = TOKENIZER_FILES
        return [self.folder / name for name in names if (self.folder / name).is_file()]


def described(folder: Path) -> Description:
    """Read what the folder says about itself.

    Raises:
        ModelError: a file is missing or unreadable, or asks for what cannot be audited.
    """
    path, network_path = folder / "configuration.json", folder / "config.json"
    configuration, config = read_object(path), read_object(network_path)
    if isinstance(configuration.get("model"), dict):
        refuse_keys(path, configuration["model"], REFUSED_OF_TASK)
    refuse_keys(network_path, config, REFUSED_OF_NETWORK)
    task, network = parsed(path, configuration, Task), parsed(network_path, config, Network)
    if (folder / _ADAPTER).exists():
        raise ModelError(
            f"{folder / _ADAPTER}: names another model to load; only a whole checkpoint is audited"
        )
    _check_together(path, task, network_path, network)
    answers = _answers(folder / task.model.answer2label)
    return Description(folder, configuration, config, answers, task, network)


def _check_together(path: Path, task: Task, network_path: Path, network: Network) -> None:
    """Check settings that limit each other."""
    pixels, tokens = task.model.patch_image_size, task.model.max_src_length
    if not network.use_ofasys and pixels > CELL * network.image_bucket_size:
        raise ModelError(
            f"{path}: model.patch_image_size is {pixels}; {network_path.name} has positions for "
            f"{CELL * network.image_bucket_size} pixels at most (image_bucket_size "
            f"{network.image_bucket_size}, cells of {CELL} pixels)"
        )
    longest = min(network.max_position_embeddings, LONGEST) - 2
    if tokens > longest:
        raise ModelError(
            f"{path}: model.max_src_length is {tokens}; the model has positions for {longest} "
            "tokens at most, besides the begin and the end mark"
        )
    for other, key in (
        ("hidden_size", "d_model"), ("num_attention_heads", "encoder_attention_heads"),
    ):  # fmt: skip
        given, wanted = getattr(network, other), getattr(network, key)
        if given not in (None, wanted):
            raise ModelError(
                f"{network_path}: {other} is {given}, but {key}, another name for it, is {wanted}"
            )
    for part in ("encoder", "decoder"):
        heads = getattr(network, f"{part}_attention_heads")
        if network.d_model % heads:
            raise ModelError(
                f"{network_path}: {part}_attention_heads is {heads}, which does not divide d_model "
                f"({network.d_model})"
            )


def _answers(path: Path) -> dict[str, Any]:
    answers = read_object(path)
    if len(answers) > _MOST_ANSWERS:
        raise ModelError(
            f"{path}: has {len(answers):,} answers; a model with more than {_MOST_ANSWERS} is not "
            "audited"
        )
    seen: dict[str, str] = {}
    total = 0
    for answer, number in answers.items():
        size = len(answer.encode("utf-8", "surrogatepass"))
        if size > _ANSWER_BYTES:
            raise ModelError(
                f"{path}: the answer {answer[:40]!r}… has {size:,} letters (bytes); an answer may "
                f"have at most {_ANSWER_BYTES}"
            )
        if answer != answer.strip() or not answer.isprintable() or not answer:
            raise ModelError(
                f"{path}: {answer!r} cannot be an answer: it is empty, or has space around it or "
                "characters that cannot be printed"
            )
        total += size
        if total > _ANSWERS_BYTES:
            raise ModelError(
                f"{path}: up to {answer!r} the answers have {total:,} letters (bytes); all "
                f"together may have at most {_ANSWERS_BYTES:,}"
            )
        if not isinstance(number, int) or isinstance(number, bool):
            raise ModelError(f"{path}: {answer!r} has the number {number!r}, not a whole number")
        alike = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
        if alike in seen:
            raise ModelError(f"{path}: {seen[alike]!r} and {answer!r} are the same answer")
        seen[alike] = answer
    if len(answers) < 2:
        raise ModelError(f"{path}: fewer than two answers")
    return answers


def check_vocabulary(description: Description) -> None:
    """Check that ``vocab.json`` and ``merges.txt`` are complete and belong to each other.

    Raises:
        ModelError: one of them is cut or damaged, or another file would be read instead.
    """
    folder, network = description.folder, description.network
    for extra in description.optional:
        check_tokenizer_file(extra, read_object(extra, _VOCABULARY_BYTES))
    path = folder / "vocab.json"
    vocabulary = read_object(path, _VOCABULARY_BYTES)
    taken = {n for n in vocabulary.values() if isinstance(n, int) and not isinstance(n, bool)}
    if taken != set(range(len(vocabulary))):
        raise ModelError(
            f"{path}: {len(vocabulary)} tokens whose numbers are not 0 to {len(vocabulary) - 1}, "
            "each once; is the file cut or damaged?"
        )
    for mark, key in _MARKS.items():
        if vocabulary.get(mark) != getattr(network, key):
            raise ModelError(
                f"{path}: {mark} has the number {vocabulary.get(mark, 'none')}; config.json's "
                f"{key} is {getattr(network, key)}"
            )
    if len(vocabulary) > network.vocab_size:
        raise ModelError(
            f"{path}: has {len(vocabulary)} tokens; config.json's vocab_size is "
            f"{network.vocab_size}"
        )
    _check_merges(folder / "merges.txt", vocabulary)


def _check_merges(path: Path, vocabulary: dict[str, Any]) -> None:
    """Check that every token of several characters is made by a merge, or is one of the marks.

    A file that was cut lacks merges: then the same text would become other tokens than those that
    the model was trained on.
    """
    # As the tokenizer reads it: with any line end, and without the first and the last line.
    lines = _LINE_END.split(read_text(path, _VOCABULARY_BYTES))
    first, last = lines[0].strip(), lines[-1].strip()
    if first and not first.startswith("#version"):
        raise ModelError(
            f"{path}, line 1: is {first[:60]!r}, and the tokenizer skips this line: it must be "
            "'#version: 0.2'; were lines cut off?"
        )
    if last:
        raise ModelError(
            f"{path}, line {len(lines)}: {last[:60]!r} has no line end, and the tokenizer skips "
            "what comes after the last one; is the file cut?"
        )
    line_of: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines[1:], 2):
        pieces = tuple(line.split())
        if not pieces:
            continue
        if len(pieces) != 2:
            raise ModelError(
                f"{path}, line {number}: not two tokens to merge: {line[:60]!r}; is the file cut "
                "or damaged?"
            )
        if pieces in line_of:
            raise ModelError(
                f"{path}, line {number}: {line[:60]!r} is also line {line_of[pieces]}, and the "
                "tokenizer would forget that one"
            )
        line_of[pieces] = number
    made = {"".join(pieces) for pieces in line_of}
    lost = [t for t in vocabulary if len(t) > 1 and t not in made and not _is_mark(t)]
    if lost:
        raise ModelError(
            f"{path}: no merge makes {len(lost)} of vocab.json's {len(vocabulary)} tokens, e.g. "
            f"{lost[0]!r}; is the file cut, or another model's?"
        )


def _is_mark(token: str) -> bool:
    """Whether a token stands for no text: ``<mask>``, ``[SEP]``, BART's ``madeupword0001``."""
    return (token[0], token[-1]) in {("<", ">"), ("[", "]")} or token.startswith("madeupword")
