"""Audits a change by pytest in a process of its own, in a copy of the project, as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit.base.errors import RunError
from audit.base.files import counted
from audit.cases.loading import Case
from audit.gate.headsfile import heads_path
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import Run
from audit.gate.tolerances import noise_path
from audit.gate.waived import waived_path
from audit.studies.power.changes import Session
from audit.studies.power.copies import copy_cases


@dataclass(frozen=True)
class Project:
    """What is copied and audited.

    Attributes:
        source: of the model.
        accepted: the folder of its baselines.
        noise: the folder of baselines that has the noise floor, the chosen heads and what is set
            aside.
        options: of the model's own kind.
    """

    source: str
    cases: Sequence[Case]
    accepted: Path
    noise: Path
    options: Mapping[str, str] = field(default_factory=dict)


def audited_by_pytest(
    session: Session, project: Project, folder: Path
) -> tuple[list[Outcome], bool]:
    """Copy the project into ``folder``, and audit it there.

    Returns:
        The outcomes, and whether the session failed.

    Raises:
        RunError: pytest did not audit every case.
    """
    named = copy_cases(project.cases, folder, session.redraw)
    (folder / "pytest.ini").write_text("[pytest]\naudit_cases = */*.yaml\n")
    shutil.copytree(project.accepted, folder / "accepted")
    for place in (noise_path, heads_path, waived_path):
        if place(project.noise).exists():
            target = place(folder / "accepted")
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(place(project.noise), target)
    command = [
        sys.executable, "-m", "pytest", *map(str, named), "-q", *session.arguments,
        "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", str(folder / "pytest.ini"),
        "--audit-model", project.source, "--audit-run-dir", str(folder / "run"),
        "--audit-baselines", str(folder / "accepted"), "--audit-device", "cpu",
        *(part for name, value in project.options.items() for part in (f"--audit-{name}", value)),
    ]  # fmt: skip
    # In the same working directory, because the model's source may be a path.
    done = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, **session.environment},
    )  # fmt: skip
    found = Run(folder / "run").outcomes() if (folder / "run").exists() else []
    if len(found) != len(project.cases) or done.returncode not in (0, 1):
        raise RunError(
            f"pytest audited {len(found)} of {counted(len(project.cases), 'case')} and ended with "
            f"{done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return found, done.returncode == 1
