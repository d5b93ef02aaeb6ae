"""The options of commands that read rows from a source, and what they mean."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import typer

from audit.sources.rows import Options

SOURCE = typer.Argument(
    help="CSV, TSV, JSON Lines, JSON, COCO, Parquet, a data set that save_to_disk made, Flickr30k "
    "Entities, or a folder of pictures with captions.",
)
COLUMNS = typer.Option(
    "--columns",
    metavar="ROLE=COLUMN,…",
    help="Which columns to read, by role: image, text, label, id, premise; may be repeated.",
)
LABELS = typer.Option(
    "--labels",
    metavar="WRITTEN=LABEL,…",
    help="Which label each written one stands for; may be repeated. Default: entailment=yes, "
    "contradiction=no, neutral=maybe, and these labels themselves.",
)
LABEL = typer.Option("--label", help="The label that every row expects, instead of a column.")
IMAGES = typer.Option("--images", help="The folder of the pictures; default: the source's.")
REGIONS = typer.Option(
    "--regions", metavar="COLUMN", help='The column of boxes: {"bird": [120, 40, 320, 200]}.'
)
BOXES = typer.Option(
    "--boxes",
    help="How that column writes boxes: xyxy or xywh, in pixels; default: as in case files.",
)
SPLIT = typer.Option("--split", help="The part of a data set that has several.")
TEMPLATE = typer.Option("--template", help="For COCO: what is asked about each category.")
DELIMITER = typer.Option(
    "--delimiter", help="What separates the columns of a CSV: one character, or tab."
)
ENCODING = typer.Option(
    "--encoding", help="For CSV and TSV: how characters are written, if not in UTF-8 (cp1252, …)."
)
LIMIT = typer.Option("--limit", min=1, help="Read only this many rows, the first ones.")
SAMPLE = typer.Option("--sample", min=1, help="Read only this many rows, drawn by --seed.")
SEED = typer.Option("--seed", min=0, help="Seed of --sample.")


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """What ``A=B,C=D`` says; quotes go around a part that has a comma in it.

    >>> pairs(["image=photo,text=sentence", '"label=a, b"'], "--columns")
    {'image': 'photo', 'text': 'sentence', 'label': 'a, b'}

    Raises:
        typer.BadParameter: a part has no ``=`` or no meaning yet, or something is said twice.
    """
    found: dict[str, str] = {}
    for part in listed(given):
        left, equals, right = part.partition("=")
        left, right = left.strip(), right.strip()
        if not (equals and left and right):
            raise typer.BadParameter(f"{option}: {part!r} is not of the form A=B")
        if right == "…":  # as audit prints what it does not know
            raise typer.BadParameter(f"{option}: write what {left!r} stands for instead of …")
        if found.setdefault(left, right) != right:
            raise typer.BadParameter(f"{option}: {left!r} is given twice")
    return found


def listed(given: Sequence[str] | None) -> list[str]:
    """The names in ``A,B``; quotes go around a name that has a comma in it.

    >>> listed(["kind,year", '"a, b"'])
    ['kind', 'year', 'a, b']
    """
    return [name.strip() for row in csv.reader(given or ()) for name in row if name.strip()]


def options_of(
    *,
    columns: Sequence[str] | None,
    labels: Sequence[str] | None,
    label: str,
    images: Path | None,
    regions: str,
    boxes: str,
    split: str,
    template: str,
    delimiter: str,
    encoding: str,
    limit: int | None,
    sample: int | None,
    seed: int,
    label_needed: bool = True,
) -> Options:
    """The options as a source takes them.

    Raises:
        typer.BadParameter: one of them cannot be meant.
    """
    named = pairs(columns, "--columns")
    if regions:
        named["regions"] = regions
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter.encode()) > 1 or delimiter in ("\n", "\r", '"'):
        raise typer.BadParameter(f"--delimiter: {delimiter!r} is not one plain character")
    return Options(
        columns=named,
        labels=pairs(labels, "--labels"),
        label=label,
        label_needed=label_needed,
        images=images,
        split=split,
        template=template or Options.template,
        delimiter=delimiter,
        encoding=encoding,
        boxes=boxes,
        limit=limit,
        sample=sample,
        seed=seed,
    )
