"""Which column of a source has which role, and which label a written one stands for."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from audit.base.errors import SourceError, nearest
from audit.sources.rows import Options
from audit.sources.table import Table

ROLES = {
    "image": "the picture: a path, or the picture itself",
    "text": "the sentence about the picture",
    "label": "the label that the model must give",
    "id": "a name for the row",
    "premise": "a text premise, besides the picture",
    "regions": 'boxes by name, as JSON: {"bird": [120, 40, 320, 200]}',
}
"""What a column can be, with what it holds."""

_KNOWN: Mapping[str, Sequence[str]] = {
    "image": (
        "image",
        "picture",
        "file_name",
        "filename",
        "image_path",
        "image_file",
        "img",
        "flickr30k_id",
        "flickr30kid",
    ),
    "text": ("text", "hypothesis", "sentence", "caption", "statement"),
    "label": ("label", "gold_label", "expected"),
    "id": ("id", "case", "case_id"),
    "regions": ("regions",),
    "premise": ("premise",),
}
"""Names of columns that are known to have a role; upper and lower case make no difference."""

_SNLI_VE = {"image": "Flickr30K_ID", "text": "sentence2", "label": "gold_label", "id": "pairID"}
"""SNLI-VE's names (Xie et al., 2019). ``sentence1`` is the caption that the picture replaces."""

MEANINGS = {
    **{same: same for same in ("yes", "no", "maybe")},
    **{"entailment": "yes", "contradiction": "no", "neutral": "maybe"},
}
"""Labels that need no ``--labels``: those of the cases, and those of SNLI."""


def roles_of(table: Table, options: Options) -> dict[str, str]:
    """The column of each role: as asked for, as the kind of source has it, or by a known name.

    Raises:
        SourceError: a column is asked for that is not there, or labels in two ways; or pictures,
            texts or labels are needed and no column, or several, may have them.
    """
    columns = list(table.columns)
    if options.label and "label" in options.columns:
        raise SourceError(
            f"--label {options.label} and --columns label={options.columns['label']} exclude each "
            "other: one label for all rows, or those of a column"
        )
    if options.label and options.labels:
        raise SourceError("--label and --labels exclude each other: with --label no label is read")
    for role, column in options.columns.items():
        if role not in ROLES:
            raise SourceError(f"--columns: {role!r} is not a role; {nearest(role, ROLES)}")
        if column not in columns:
            raise SourceError(
                f"{table.path}: it has no column {column!r}; {nearest(column, columns)}"
            )
    known = dict(table.roles)
    if not known and {"Flickr30K_ID", "sentence2"} <= set(columns):
        known = {role: column for role, column in _SNLI_VE.items() if column in columns}
    found: dict[str, str] = {}
    for role in ROLES:
        if role in options.columns:
            found[role] = options.columns[role]
        elif role in known:
            found[role] = known[role]
        elif not table.roles and (named := _named(role, table, options)):
            found[role] = named
    if options.label and "label" not in options.columns:
        found.pop("label", None)
    _refuse_missing(found, table, options)
    return found


def unread_labels(table: Table) -> list[str]:
    """The columns that would have the labels, if there were not one label for all rows."""
    return [column for column in table.columns if column.lower() in _KNOWN["label"]]


def _named(role: str, table: Table, options: Options) -> str:
    """The column with a known name of the role that no other role has; empty if there is none.

    Raises:
        SourceError: there are several.
    """
    taken = set(options.columns.values())
    fitting = [c for c in table.columns if c.lower() in _KNOWN[role] and c not in taken]
    if len(fitting) > 1 and not (role == "label" and options.label):
        raise SourceError(
            f"{table.path}: {' and '.join(fitting)} may both be the {role}: name one, "
            f"--columns {role}={fitting[0]}"
        )
    return fitting[0] if fitting else ""


def _refuse_missing(found: Mapping[str, str], table: Table, options: Options) -> None:
    there = ", ".join(map(in_a_list, table.columns))
    hint = _other_delimiter(table)
    for role in ("image", "text"):
        if role not in found:
            raise SourceError(
                f"{table.path}: which column has {ROLES[role]}? Name it: --columns "
                f"{role}=COLUMN (there are: {there}){hint}"
            )
    known = "label" in found or options.label or table.true
    if options.label_needed and not known:
        raise SourceError(
            f"{table.path}: which column has {ROLES['label']}? Name it: --columns label=COLUMN "
            f"(there are: {there}); or, if it is the same in every row: --label yes{hint}"
        )


def in_a_list(name: str) -> str:
    """A column's name as it is written in a list: in quotes if it has a comma in it.

    >>> in_a_list("size, cm")
    '"size, cm"'
    """
    return f'"{name}"' if "," in name else name


def _other_delimiter(table: Table) -> str:
    """A hint if the names of the columns look as if another character separated them."""
    if not table.encoded:
        return ""
    names = "".join(table.columns)
    found = [written for other, written in _DELIMITERS if names.count(other) >= len(table.columns)]
    return f"; if another character separates the columns: --delimiter {found[0]}" if found else ""


_DELIMITERS = ((";", "';'"), ("\t", "tab"), (",", "','"))
"""What may separate columns, and how it is written in a shell."""


class UnknownLabel(ValueError):
    """It is not known which label a written one stands for.

    Attributes:
        written: the label as the source writes it, without the spaces around it.
    """

    def __init__(self, written: str, message: str) -> None:
        super().__init__(message)
        self.written = written


def label_for(written: str, labels: Mapping[str, str]) -> str:
    """The label that a written one stands for; spaces around it make no difference.

    A whole number with a point is the number without it, which tables make of whole numbers if
    some cells of the column are empty.

    Args:
        labels: see :attr:`audit.sources.rows.Options.labels`.

    Raises:
        UnknownLabel: it is not known which; the message names the nearest that is.
        ValueError: there is none.

    >>> label_for("entailment ", {}), label_for("1.0", {"1": "yes", "0": "no"})
    ('yes', 'yes')
    """
    known = {**{label: label for label in labels.values()}, **labels} if labels else MEANINGS
    if written in known:
        return known[written]
    written = written.strip()
    if written in known:
        return known[written]
    whole = _WHOLE.fullmatch(written)
    if whole and whole[1] in known:
        return known[whole[1]]
    if not written:
        raise ValueError("the label is empty")
    if written == "-":
        raise ValueError("the label is '-': its annotators did not agree")
    shown = written if len(written) <= 40 else f"{written[:39]}…"
    close = _but_for_capitals(written, known)
    if close:
        hint = f"did you mean {close!r}?"
    else:  # numbers that look alike are other labels
        hint = f"choose from: {', '.join(sorted(known))}" if whole else nearest(shown, known)
    raise UnknownLabel(written, f"the label {shown!r} is not known; {hint}")


_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0+)?")


def _but_for_capitals(written: str, known: Iterable[str]) -> str:
    """The known label that differs in capitals only; empty if there is none."""
    return next((label for label in known if label.casefold() == written.casefold()), "")


def labels_to_name(unknown: Iterable[str], labels: Mapping[str, str]) -> str:
    """What ``--labels`` would say to take labels that are not known, besides those that are.

    Labels that differ from a known one in capitals only have its meaning; ``…`` stands for the
    others.

    >>> labels_to_name(["Yes", "0"], {})
    'Yes=yes,0=…,entailment=yes,contradiction=no,neutral=maybe'
    """
    known = labels or MEANINGS
    meanings = {**{meaning: meaning for meaning in known.values()}, **known}
    all_of = {
        written: meanings.get(_but_for_capitals(written, meanings), "…") for written in unknown
    }
    all_of.update({written: meaning for written, meaning in known.items() if written != meaning})
    for meaning in known.values():
        if meaning not in all_of.values():
            all_of[meaning] = meaning
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(f"{a}={b}" for a, b in all_of.items())
    return line.getvalue()
