"""The commands that make and complete case files: import and suggest."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.base.console import output, say
from audit.base.errors import nearest
from audit.base.files import as_typed, counted, shown_path, to_json, write_atomically
from audit.base.names import slug
from audit.commands import rows as given
from audit.commands.shared import JSON, RUN

if TYPE_CHECKING:
    from audit.sources.importing import Imported
    from audit.sources.rows import Refused

_SHOWN = 20
"""Refused rows that are printed; all of them are in a file."""

_FEW = 5
"""Renamed ids, and rows with line breaks, that are printed."""

_LABELS = 10
"""Different unknown labels that are printed; more are hardly labels."""

_STEP = 1_000
"""Rows after which it is told how many are read."""


def import_(
    source: Annotated[Path, given.SOURCE],
    out: Annotated[
        Path, typer.Option(parser=output, metavar="FILE", help="The case file to write (.yaml).")
    ],
    columns: Annotated[list[str] | None, given.COLUMNS] = None,
    labels: Annotated[list[str] | None, given.LABELS] = None,
    label: Annotated[str, given.LABEL] = "",
    images: Annotated[Path | None, given.IMAGES] = None,
    regions: Annotated[str, given.REGIONS] = "",
    boxes: Annotated[str, given.BOXES] = "",
    split: Annotated[str, given.SPLIT] = "",
    template: Annotated[str, given.TEMPLATE] = "",
    delimiter: Annotated[str, given.DELIMITER] = "",
    encoding: Annotated[str, given.ENCODING] = "",
    limit: Annotated[int | None, given.LIMIT] = None,
    sample: Annotated[int | None, given.SAMPLE] = None,
    seed: Annotated[int, given.SEED] = 0,
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tags",
            metavar="COLUMN,…",
            help="Columns whose values become tags, by which the gate slices; may be repeated.",
        ),
    ] = None,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Copy the pictures into images/ beside the file, equal ones once."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make a case file of a table, a data set or a folder of pictures; needs no model.

    Rows that cannot be cases are listed with their reasons and left out. Exit code 2 if no row can.

    Example: audit import pairs.csv --out cases/pairs.yaml --sample 200
    """
    from audit.cases.ids import files_beside, ids_of  # noqa: PLC0415
    from audit.sources.columns import in_a_list  # noqa: PLC0415
    from audit.sources.importing import import_cases, refuse_too_many  # noqa: PLC0415
    from audit.sources.reading import open_source  # noqa: PLC0415

    options = given.options_of(
        columns=columns, labels=labels, label=label, images=images, regions=regions, boxes=boxes,
        split=split, template=template, delimiter=delimiter, encoding=encoding, limit=limit,
        sample=sample, seed=seed,
    )  # fmt: skip
    if out.suffix not in (".yaml", ".yml"):
        raise typer.BadParameter(f"--out: a case file ends in .yaml, but this is {out.name!r}")
    if out.is_dir():
        raise typer.BadParameter(f"--out: {out} is a folder")
    if (out.exists() or out.is_symlink()) and not force:
        raise typer.BadParameter(f"--out: {out} exists; --force replaces it")
    found = open_source(source, options)
    tagged = given.listed(tags)
    for name in tagged:
        if name not in found.slicing:
            raise typer.BadParameter(
                f"--tags: {name!r} is no column to slice by; "
                f"{nearest(name, map(in_a_list, found.slicing))}"
            )
    for note in found.notes:
        say(note, error=True)
    if limit is None and sample is None:
        refuse_too_many(found.rows(), out)
    taken, unread = ids_of(files_beside(out))
    for each in unread:
        say(f"audit: note: {as_typed(each)} cannot be read: which ids it has is not known",
            error=True)  # fmt: skip
    about = f"Made by `audit import` from {shown_path(source.name or source.resolve().name)}."
    done = import_cases(_told(found.rows(taken)), out, about=about, copy=copy, tags=tagged)
    told = _write_refused(out, done.refused)
    if as_json:
        told_all = asdict(done) | {"labels": dict(done.labels), "notes": found.notes}
        sys.stdout.write(to_json(told_all | {"out": str(out) if done.cases else None}))
    else:
        _say_refused(done.refused, told)
        _say_labels(done.refused, options.labels)
        _say_done(done, out, taken)
        _say_tags(done)
    if not done.cases:
        why = "none of the rows can be a case" if done.rows else "it has no rows"
        say(f"audit: error: {source}: {why}; nothing is written to {out}", error=True)
        raise typer.Exit(2)


def _told(rows: Iterable[Any]) -> Iterator[Any]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % _STEP == 0:
            say(f"{counted(number, 'row')} read", error=True)


def _write_refused(out: Path, refused: Sequence[Refused]) -> Path:
    """Write the list of refused rows beside the case file, or remove an older one."""
    path = out.with_suffix(".refused.txt")
    if refused:
        lines = "".join(f"{each.where}: {each.reason}\n" for each in refused)
        write_atomically(path, lines.encode("utf-8", "backslashreplace"), durable=False)
    else:
        path.unlink(missing_ok=True)
    return path


def _say_refused(refused: Sequence[Refused], path: Path) -> None:
    for each in refused[:_SHOWN]:
        say(f"refused: {each.where}: {each.reason}", error=True)
    if len(refused) > _SHOWN:
        say(f"refused: … and {len(refused) - _SHOWN:,} more", error=True)
    if refused:
        say(f"{counted(len(refused), 'row')} refused, all listed in {path}", error=True)


def _say_labels(refused: Sequence[Refused], labels: Mapping[str, str]) -> None:
    """Say which labels are not known, and the option that would take them."""
    from audit.sources.columns import labels_to_name  # noqa: PLC0415

    unknown = Counter(each.label for each in refused if each.label)
    if not unknown:
        return
    counts = ", ".join(f"{name[:40]!r} {count:,}" for name, count in unknown.most_common(_LABELS))
    if len(unknown) > _LABELS:
        more = f"{counts} and {len(unknown) - _LABELS:,} more"
        say(f"labels that are not known: {more}; is this the column of labels?", error=True)
        return
    option = shlex.quote(labels_to_name(sorted(unknown), labels))
    say(f"labels that are not known: {counts}; to take them: --labels {option}", error=True)


def _say_done(done: Imported, out: Path, taken: Mapping[str, Path]) -> None:
    if not done.cases:
        return
    labels = ", ".join(f"{label} {count:,}" for label, count in sorted(done.labels.items()))
    pictures = counted(done.pictures, "picture")
    say(f"{out}: {counted(done.cases, 'case')} with {pictures}, of {counted(done.rows, 'row')}")
    say(f"expected labels: {labels}")
    if done.joined:
        rows = ", ".join(done.joined[:_FEW])
        more = ", …" if len(done.joined) > _FEW else ""
        say(f"line breaks or tabs in texts, now spaces: {len(done.joined):,} ({rows}{more})")
    if done.renamed:
        say(f"ids made legal or unique: {len(done.renamed):,}")
    for each in done.renamed[:_FEW]:
        other = taken.get(slug(each.legal)) if each.id != each.legal else None
        why = f", since {as_typed(other)} has {each.legal!r}" if other else ""
        say(f"  {each.where}: {each.written!r} is {each.id!r}{why}")
    if len(done.renamed) > _FEW:
        say(f"  … and {len(done.renamed) - _FEW:,} more, all of them in --json")


def _say_tags(done: Imported) -> None:
    """Say which columns gave no tags, and which tags stand for several values."""
    if not done.cases:
        return
    for name in done.untagged:
        why = "it is empty, or holds lists or mappings"
        say(f"audit: note: --tags {name}: no case has a tag of it: {why}", error=True)
    several = {name: values for name, values in done.tags.items() if len(values) > 1}
    for name, values in list(several.items())[:_FEW]:
        shown = ", ".join(f"{value[:40]!r}" for value in list(values)[:_FEW])
        more = ", …" if len(values) > _FEW else ""
        say(f"audit: note: the tag {name} stands for {shown}{more}", error=True)
    if len(several) > _FEW:
        say(f"audit: note: … and {len(several) - _FEW:,} more tags for several", error=True)


def suggest(
    run: Annotated[Path, RUN],
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="CASE", help="Cases to suggest limits for; default: all."),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Add the limits to the project's case files, and keep these."),
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Suggest limits for the cases of a run that declare none; needs no model.

    Prints YAML to paste, or writes it into the case files with --write.

    Example: audit suggest RUN

    Example: audit suggest RUN --write
    """
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.runfolder import Run  # noqa: PLC0415
    from audit.gate.suggesting import MARGIN_TOLD, suggest_all, to_paste, write_into  # noqa: PLC0415

    stored = Run(run)
    found = suggest_all(stored, cases or ())
    written = write_into(found.limits, stored, project_at()) if write else {}
    if as_json:
        limits = {
            each.outcome.case: {**each.limits.keys, "reasons": list(each.reasons)}
            for each in found.limits
        }
        sys.stdout.write(
            to_json(
                {"limits": limits, "none": found.none, "margin": MARGIN_TOLD, "written": written}
            )
        )
        return
    if not write:
        for each in found.limits:
            say(to_paste(each))
    for name, why in found.none.items():
        say(f"no limits: {name}: {why}", error=True)
    for file, count in written.items():
        say(f"{file}: limits added to {counted(count, 'case')}")
    say(
        f"limits for {counted(len(found.limits), 'case')}, none for {len(found.none):,}", error=True
    )
    if found.limits:
        say(f"margin: {MARGIN_TOLD}", error=True)
