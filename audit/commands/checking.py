"""The command that checks case files, quick enough for each commit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit.base.console import say
from audit.base.errors import CaseError, ModelError
from audit.base.files import as_typed, counted, to_json
from audit.commands.shared import JSON, MODEL

if TYPE_CHECKING:
    from audit.cases.project import Project
    from audit.models.protocol import Known


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Case files; default: those that pytest collects."),
    ] = None,
    model: Annotated[
        str, typer.Option(help=f"Whose labels and maps count; default: the project's. {MODEL}")
    ] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Check case files and their pictures: every mistake with its file, line and key.

    It loads no model and imports no torch.

    Example: audit check

    Example: audit check cases/birds.yaml
    """
    from audit.cases.checking import check_files  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415

    project = project_at()
    known, note = _known(model or str(project.keys.get("audit_model") or "reference"))
    found = check_files(files or _all_files(project), known)
    if as_json:
        about = {
            "cases": found.cases,
            "files": [as_typed(path) for path in found.files],
            "without_cases": [as_typed(path) for path in found.others],
            "problems": found.problems,
            "note": note,
        }
        sys.stdout.write(to_json(about))
    else:
        if found.problems:
            from audit.cases.phrases import chosen_language, told  # noqa: PLC0415

            language = chosen_language()
            for problem in found.problems:
                say(told(problem, language), error=True)
        for path in found.others:
            say(f"{as_typed(path)}: left out, it has no key 'cases'")
        if note:
            say(f"note: {note}")
        held = f"{counted(found.cases, 'case')} in {counted(len(found.files), 'file')}"
        say(
            f"{held}: {counted(len(found.problems), 'mistake') if found.problems else 'no mistake'}"
        )
    if found.problems:
        raise typer.Exit(1)


def _all_files(project: Project) -> list[Path]:
    """The project's case files.

    Raises:
        CaseError: there is none.
    """
    from audit.cases.discovery import find_files  # noqa: PLC0415

    patterns = project.patterns()
    found = find_files(patterns)
    if not found:
        written = ", ".join(pattern.written for pattern in patterns)
        without = sorted(str(path) for pattern in patterns for path in pattern.find())
        but = f"; without the key 'cases': {', '.join(without[:3])}" if without else ""
        raise CaseError(f"no case file matches {written} in {project.root.resolve()}{but}")
    return found


def _known(source: str) -> tuple[Known, str]:
    """What is known of a model before it is loaded, and what then is not checked, in words."""
    from audit.models.protocol import Known  # noqa: PLC0415
    from audit.models.registry import known  # noqa: PLC0415

    try:
        found = known(source)
    except ModelError as error:
        return Known(), f"labels and maps were not checked: {error}"
    missing = [
        name for name, those in (("labels", found.labels), ("maps", found.methods)) if those is None
    ]
    told = f"{' and '.join(missing)} of {source} are known once it is loaded, and were not checked"
    return found, told if missing else ""
