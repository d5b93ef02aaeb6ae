"""Gathers what a page of evidence states about a run, as plain data, from files alone.

The run says what was measured. The project's own files say what was set before: case files with
their last commit, the noise floor, and baselines with who accepted them and why.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from audit.base.errors import RunError
from audit.base.files import digest_file, inside
from audit.base.records import ModelRecord
from audit.cases.project import Project
from audit.gate.accepted import held
from audit.gate.claims import baselines_of
from audit.gate.decisions import read_log
from audit.gate.ending import named
from audit.gate.noisefile import ENOUGH, NoiseRecord, noise_path, read_noise
from audit.gate.outcomes import Outcome, labels_told, totals
from audit.gate.rundigest import digests_of, whole_digest
from audit.gate.runfolder import Run
from audit.gate.stack import device_class
from audit.studies.power.stored import read_power

FORMAT = 1

Statement = dict[str, Any]


def state_of(
    run: Run, project: Project, *, baselines: Path | None = None, power: Path | None = None
) -> Statement:
    """Everything that the page says.

    Args:
        baselines: the folder of accepted baselines; default: the one that the run names, if it is
            the project's.
        power: the work folder of ``audit power``, if it was measured.

    Raises:
        RunError: the run is damaged or not finished, or the measurement of power is damaged.
        BaselineError: the measured noise, or the log of decisions, is damaged.
    """
    digests = digests_of(run.folder)
    about, outcomes = run.about(), run.settled().outcomes()
    folder, without = _folder(run, project, baselines)
    noise = None if folder is None else read_noise(folder)
    found = None if power is None else read_power(power)
    if found is not None:
        found["same_model"] = found["model"] == about.get("model", {}).get("digest", "")
    return {
        "format": FORMAT,
        "audit": version(),
        "made": _now(),
        "run": {
            "id": about.get("id", ""),
            "started": about.get("started", ""),
            "machine": about.get("machine", ""),
            "digest": whole_digest(digests),
            "files": digests,
        },
        **_measured(run, outcomes),
        "files": _case_files(outcomes, project.root, about.get("started", "")),
        "noise": _noise(noise, folder, about.get("model", {})),
        "power": found,
        "accepted": _accepted(outcomes, folder),
        "decisions": [] if folder is None else _decisions(folder, {o.case for o in outcomes}),
        "baselines": {"folder": about.get("baselines", ""), "missing": without},
    }


def measured(run: Run) -> Statement:
    """What the page says that is in the run alone, so that anybody who has the run can check it.

    Raises:
        RunError: the run is damaged or not finished.
    """
    return _measured(run, run.settled().outcomes())


def _measured(run: Run, outcomes: Sequence[Outcome]) -> Statement:
    about, results = run.about(), run.results()
    return {
        "session": results.get("session")
        or {"passed": None, "sentence": "the run does not say how its session ended"},
        "model": {**ModelRecord().model_dump(), **about.get("model", {})},
        "labels": about.get("labels", []),
        "waived": about.get("waived", ""),
        "stack": about.get("stack", {}),
        "shards": _shards(about.get("shards", [])),
        "totals": list(totals(outcomes).items()),
        "told": labels_told(outcomes),
        "pictures": len({o.source_image for o in outcomes}),
        "suite": _suite(results.get("suite")),
        "slices": _slices(outcomes, results.get("suite")),
        "cases": [_case(outcome) for outcome in outcomes],
    }


def _shards(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each shard of a merged run with what may differ between machines; none of another run."""
    stacks = [shard.get("stack", {}) for shard in found]
    differ = sorted(
        name
        for name in {name for stack in stacks for name in stack}
        if len({stack.get(name) for stack in stacks}) > 1
    )
    shown = [*dict.fromkeys(["processor", "instruction set", "threads", *differ])]
    return [
        {
            "id": shard.get("id", ""),
            "started": shard.get("started", ""),
            "cases": shard.get("cases", 0),
            "machine": shard.get("machine", ""),
            "stack": {name: stack.get(name, "") for name in shown},
        }
        for shard, stack in zip(found, stacks, strict=True)
    ]


def version() -> str:
    """The version of audit that is installed, which is the one whose words a page has."""
    return metadata.version("ofa-audit")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _folder(run: Run, project: Project, given: Path | None) -> tuple[Path | None, str]:
    """The folder of baselines, or the reason why there is none to look into."""
    try:
        folder = given or baselines_of(run, project.root, project.accepted)
    except RunError as error:
        return None, str(error)
    return (folder, "") if folder.is_dir() else (None, f"there is no folder {folder}")


def _case(outcome: Outcome) -> dict[str, Any]:
    limits = [
        {
            "expectation": v.expectation, "limit": v.limit, "observed": v.observed,
            "passed": v.passed,
        }
        for v in outcome.verdicts
    ]  # fmt: skip
    return {
        "case": outcome.case,
        "place": f"{outcome.file}:{outcome.line}",
        "digest": outcome.case_digest,
        "picture": outcome.image_digest,
        "text": outcome.text,
        "expected": outcome.expected,
        "label": outcome.label,
        "probability": round(outcome.probabilities.get(outcome.label, 0.0), 4),
        "state": outcome.state.value,
        "failed": outcome.failed,
        "sentence": outcome.sentence,
        "critical": outcome.critical,
        "xfail": outcome.xfail,
        "limits": limits,
        "baseline": outcome.baseline_digest,
    }


def _slices(outcomes: Sequence[Outcome], suite: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Every tag and expected label, with the suite-level verdict if there is one."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        names = [f"tag {tag}" for tag in outcome.tags]
        for name in [*names, *([f"expected {outcome.expected}"] if outcome.expected else [])]:
            groups[name].append(outcome)
    verdicts = {
        name: part.get("verdict", "")
        for part in (suite or {}).get("slices", [])
        for name in part["name"].split(", ")
    }
    rows = []
    for name, those in sorted(groups.items()):
        definite = [o for o in those if o.expected]
        rows.append(
            {
                "name": name,
                "cases": len(those),
                "pictures": len({o.source_image for o in those}),
                "definite": len(definite),
                "right": sum(o.label == o.expected for o in definite),
                "kept": sum(all(v.passed for v in o.verdicts) for o in those if o.label),
                "failed": sum(o.failed for o in those),
                "verdict": verdicts.get(name, ""),
            }
        )
    return rows


def _suite(suite: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if suite is None:
        return None
    limits = suite.get("limits")
    return {
        "verdict": suite.get("verdict") or ("failed" if suite["failed"] else "passed"),
        "sentence": suite["sentence"],
        "limits": limits if isinstance(limits, dict) else {},
    }


def _noise(
    noise: NoiseRecord | None, folder: Path | None, model: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The measured floors of the run's precision and device, or over all conditions."""
    if noise is None or folder is None:
        return None
    mine = (model.get("dtype", ""), device_class(model.get("device", "")))
    kind = next((k for k in noise.kinds if (k.dtype, k.device) == mine), None)
    floors = noise.floors if kind is None else kind.floors
    return {
        "digest": digest_file(noise_path(folder)),
        "date": noise.date,
        "cases": noise.cases,
        "conditions": [condition.title for condition in noise.conditions],
        "multiple": noise.multiple,
        "enough": ENOUGH,
        "kind": "all conditions" if kind is None else f"{kind.dtype} on {kind.device}",
        "flips": len(noise.flips),
        "floors": [
            {"map": of, "metric": metric, "floor": row.floor, "deviations": row.deviations}
            for of, metrics in sorted(floors.items())
            for metric, row in sorted(metrics.items())
        ],
    }


def _accepted(outcomes: Iterable[Outcome], folder: Path | None) -> list[dict[str, Any]]:
    """Baselines that the run was compared with, one row for all that were accepted together."""
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for outcome in outcomes:
        if folder is None or not outcome.baseline_digest:
            continue
        there = held(folder, outcome.case)
        if there.baseline is None:
            said = {"reason": there.damage or "the baseline is gone"}
        else:
            said = dict(there.baseline.provenance)
        same = "yes" if there.digest == outcome.baseline_digest else "no, another one since"
        keys = [str(said.get(key, "")) for key in ("date", "accepted_by", "reason", "run")]
        rows[(*keys, same)].append(outcome.case)
    names = ("date", "by", "reason", "run", "same")
    return [
        {**dict(zip(names, key, strict=True)), "cases": len(cases), "some": named(cases, 5)}
        for key, cases in sorted(rows.items())
    ]


def _decisions(folder: Path, cases: Collection[str]) -> list[dict[str, Any]]:
    """What reviewers decided about these cases, in the order of the log."""
    return [
        {
            "case": entry.case,
            "decision": entry.decision,
            "time": entry.time.isoformat(timespec="seconds"),
            "reviewer": entry.reviewer,
            "reason": entry.reason,
            "run": entry.run,
        }
        for entry in read_log(folder)
        if entry.case in cases
    ]


def _case_files(outcomes: Iterable[Outcome], root: Path, started: str) -> list[dict[str, Any]]:
    """The case files as they are now, and when each was last changed, as far as git knows."""
    counts: dict[str, int] = defaultdict(int)
    judged_by: dict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        counts[outcome.file] += 1
        judged_by[outcome.file] |= {outcome.case_file_digest} - {""}
    rows = []
    for file, number in sorted(counts.items()):
        path = inside(root, file)
        row: dict[str, Any] = {
            "file": file,
            "cases": number,
            "digest": "",
            "commit": "",
            "date": "",
        }
        if path is None or not path.is_file():
            rows.append({**row, "before": "the file is not here"})
            continue
        row |= {"digest": digest_file(path), **_last_commit(path)}
        if judged_by[file] - {row["digest"]}:  # perhaps its limits were others, too
            rows.append({**row, "before": "not known: the run was judged by another file"})
            continue
        rows.append({**row, "before": _before(row, started)})
    return rows


def _before(row: Mapping[str, Any], started: str) -> str:
    """Whether the limits of a file were set before the run, in words."""
    if not row["commit"]:
        return "not known: not in git, or changed since its last commit"
    try:
        return (
            "yes" if datetime.fromisoformat(row["date"]) < datetime.fromisoformat(started) else "no"
        )
    except (TypeError, ValueError):
        return "not known: the run does not say when it began"


def _last_commit(path: Path) -> dict[str, str]:
    """The last commit that changed a file, and its date; empty if the file differs from it."""
    git = shutil.which("git")
    none = {"commit": "", "date": ""}
    if git is None:
        return none
    of_file = [git, "-C", str(path.parent), "--literal-pathspecs"]
    changed = _told([*of_file, "status", "--porcelain", "--", path.name])
    logged = _told([*of_file, "log", "-1", "--format=%H %cI", "--", path.name])
    if changed is None or changed or not logged:
        return none
    commit, _, date = logged.partition(" ")
    return {"commit": commit, "date": date}


def _told(command: Sequence[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
