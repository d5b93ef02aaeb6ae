"""The part of `audit compare` that is about two bulk folders; it needs the extra `data`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import typer

from audit.base.console import say
from audit.base.extras import require
from audit.base.files import counted, to_json
from audit.base.settings import Limits


def compare_folders(
    before: Path,
    after: Path,
    limits: Limits,
    shown: tuple[int, int, tuple[str, ...]],
    out: Path,
    *,
    stated: bool,
    as_json: bool,
) -> NoReturn:
    """Compare two bulk folders, write the page, print the verdict, and exit with its code.

    Args:
        shown: how many of the worst rows and of a sample, and the columns to slice by.
    """
    require("data", "audit compare of bulk folders")
    from audit.report.bulk_comparison_page import write_bulk_comparison  # noqa: PLC0415
    from audit.studies.bulk.comparison import Wanted, compare_bulk  # noqa: PLC0415

    worst, sample, slices = shown
    wanted = Wanted(worst, sample, slices=slices)
    with tempfile.TemporaryDirectory(prefix="audit-compare-") as work:
        found = compare_bulk((before, after), limits, wanted, Path(work), stated=stated)
    page = write_bulk_comparison(out, found)
    if as_json:
        sys.stdout.write(to_json({**found.to_dict(), "page": str(page)}))
    else:
        say(f"{found.headline}: {found.sentence}")
        for part in found.suite.worst_slices(5):
            say(f"  {part.of('row')}{', FAILED' if part.failed else ''}")
        for (was, now), rows in sorted(found.flips.items(), key=lambda each: -each[1])[:5]:
            say(f"  {was} → {now}: {counted(rows, 'row')}")
        for reason, rows in found.left_out.counts.items():
            say(f"  not compared: {counted(rows, 'row')}, {reason}")
        for line in found.noise:
            say(f"  {line}")
        say(f"page: {page}")
    raise typer.Exit(1 if found.failed else 0)
