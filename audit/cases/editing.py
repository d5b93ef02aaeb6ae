"""Add limits to a person's case file, and leave its comments, order and quotes as they are."""

from __future__ import annotations

import copy
import io
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.base.errors import CaseError
from audit.base.files import write_atomically
from audit.base.yamlfile import Document, read
from audit.cases.writing import TURNS, unturned


@dataclass(frozen=True)
class Limits:
    """What to add to a case that has neither.

    Attributes:
        probability: the lowest probability of its label; None for no limit.
        attention: expectations as in a case file.
    """

    probability: float | None = None
    attention: Sequence[Mapping[str, str | float]] = ()

    @property
    def keys(self) -> dict[str, Any]:
        """The keys and values that they add to ``expect``."""
        probability = {} if self.probability is None else {"min": self.probability}
        attention = [dict(each) for each in self.attention]
        found = {"probability": probability, "attention": attention}
        return {key: value for key, value in found.items() if value}


def with_limits(path: Path, limits: Mapping[str, Limits]) -> str:
    """The text of a case file with limits added.

    Args:
        limits: by the id of a case.

    Raises:
        CaseError: the file cannot be read; or cases share a part of it (an anchor, ``<<``), so that
            other cases would change too.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415  most commands write no case files
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    document = read(path)  # the strict reader first: what it takes is safe to read again
    text = path.read_bytes().decode("utf-8-sig")
    lines = text.replace("\r\n", "\n")
    start = _START.match(lines)
    head = start[0] if start else ""  # ruamel drops what comes before the document
    body = lines[len(head) :]
    try:
        yaml = YAML()
        yaml.preserve_quotes, yaml.width = True, 1_000_000
        yaml.indent(**_indents(document, lines))
        written = yaml.load(body)
        for case in written["cases"]:
            if case["id"] in limits:
                _add(case["expect"], limits[case["id"]].keys)
        buffer = io.StringIO()
        yaml.dump(written, buffer)
    except (YAMLError, ValueError) as error:
        raise CaseError(f"{path}: cannot be edited: {str(error).splitlines()[0]}") from None
    found = head + buffer.getvalue()
    if not TURNS.search(text):
        found = unturned(found)
    _refuse_other_changes(path, document.value, found, limits)
    if _comments(lines) - _comments(found):
        raise CaseError(f"{path}: cannot be edited without losing comments; write the limits in it")
    return found.replace("\n", "\r\n") if "\r\n" in text else found


_START = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*---[ \t]*(?:#[^\n]*)?\n")


def _comments(text: str) -> Counter[str]:
    """What may be comments: the ends of lines from a ``#`` on, with how often each occurs."""
    return Counter(re.findall(r"(?:^|[ \t])(#.*?)[ \t]*$", text, re.MULTILINE))


def _indents(document: Document, text: str) -> dict[str, int]:
    """How far the file indents mappings and lists, by the first case that shows it."""
    found = {"mapping": 2, "sequence": 2, "offset": 0}
    line, column = document.values["cases", 0]
    before = text.split("\n")[line - 1][: column - 1]
    if before.strip() == "-":  # else the list is written in brackets
        found.update(sequence=column - 1, offset=before.index("-"))
    for index in range(len(document.value["cases"])):
        expect = document.keys.get(("cases", index, "expect"))
        label = document.keys.get(("cases", index, "expect", "label"))
        if expect and label and label[0] > expect[0] and label[1] > expect[1]:
            found["mapping"] = label[1] - expect[1]
            break
    return found


def _add(expect: Any, keys: Mapping[str, Any]) -> None:
    """Add keys after the label of ``expect``, which ruamel has read."""
    from ruamel.yaml.comments import CommentedSeq  # noqa: PLC0415
    from ruamel.yaml.tokens import CommentToken  # noqa: PLC0415

    if "probability" in keys:
        expect["probability"] = _flow(keys["probability"])
    if "attention" in keys:
        expect["attention"] = CommentedSeq(_flow(each) for each in keys["attention"])
    held = expect.ca.items.get("label")
    token = held[2] if held else None
    if token is None or expect.fa.flow_style():
        return
    # ruamel keeps what follows a value, up to the next one, with that value. A comment in the
    # label's line stays there; the rest goes behind what was added.
    first, _, rest = token.value.partition("\n")
    if first:
        held[2] = CommentToken(f"{first}\n", token.start_mark, None)
    else:
        del expect.ca.items["label"]
    if rest or not first:
        moved = CommentToken(f"\n{rest}", token.start_mark, None)
        if "attention" in keys:
            last = len(expect["attention"]) - 1
            expect["attention"].ca.items[last] = [moved, None, None, None]
        else:
            expect.ca.items["probability"] = [None, None, moved, None]


def _flow(keys: Mapping[str, Any]) -> Any:
    from ruamel.yaml.comments import CommentedMap  # noqa: PLC0415

    found = CommentedMap(keys)
    found.fa.set_flow_style()
    return found


def _refuse_other_changes(
    path: Path, before: Any, found: str, limits: Mapping[str, Limits]
) -> None:
    """Refuse a text that says more than the file and the limits do.

    Raises:
        CaseError: it does, or it cannot be read any more.
    """
    wanted = copy.deepcopy(before)
    for case in wanted["cases"]:
        if case["id"] in limits:
            case["expect"] = {**case["expect"], **limits[case["id"]].keys}
    with tempfile.TemporaryDirectory(prefix="audit-edit-") as folder:
        there = Path(folder) / "cases.yaml"
        write_atomically(there, found.encode(), durable=False)
        try:
            after = read(there).value
        except CaseError as error:  # such as a file that is too large by now
            reason = str(error).replace(f"{there}:", "").strip()
            raise CaseError(f"{path}: with the limits it could not be read: {reason}") from None
    if after != wanted:
        raise CaseError(
            f"{path}: cannot be edited: its cases share parts (anchors or <<), so others would "
            "change too; write the limits yourself"
        )
