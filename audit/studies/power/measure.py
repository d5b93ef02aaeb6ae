"""Plants each change in a copy of the model, audits it against the intact one, and counts catches.

Three gates judge the same outcomes. *Full*: all that fails a pytest session (contracts, drift, the
suite-level gate). *Labels*: a label is not the expected one. *Probabilities*: the same, or the
probability of an accepted label left its tolerance.

A change is *measurable* if a label changed, a figure became undefined or defined, a figure of some
case moved by more than its noise floor, or one without a measured floor left its tolerance.
Otherwise it looks no different from the intact model with other threads or in bfloat16.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from audit.base.console import Progress
from audit.base.errors import RunError, nearest
from audit.base.files import digest, make_output, to_json, write_json
from audit.base.settings import Limits
from audit.cases.loading import Case
from audit.gate import baselines
from audit.gate.changes import changes_of
from audit.gate.drift import drifting, figure_key
from audit.gate.outcomes import Outcome, Run, State
from audit.gate.suite import judge_suite
from audit.gate.tolerances import (
    ENOUGH,
    MULTIPLE,
    NOISE_FORMAT,
    PROBABILITY,
    Floors,
    floor_of,
    noise_path,
)
from audit.gate.verdict import Policy
from audit.maps.spec import method_of
from audit.metrics.registry import REGISTRY_VERSION
from audit.models.kit.hardware import threads_set
from audit.models.ofa.adapter import OFAVisualEntailment
from audit.models.ofa.loaders import resolve
from audit.models.protocol import Model
from audit.runs.runner import audit_cases
from audit.studies.power.changes import Change, all_changes

GATES = ("full", "labels", "probabilities")


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        source: the intact model.
        folder: for the results, one file for each change, so that a measurement can continue.
        floors: noise floors of the model, which set the tolerances.
        only: ids of changes; none means all.
    """

    source: str
    cases: Sequence[Case]
    folder: Path
    floors: Floors
    seed: int = 1
    only: tuple[str, ...] = ()


def measure_power(asked: Asked, progress: Progress) -> dict[str, Any]:
    """Measure every change that has no result yet; return all results, in order.

    Raises:
        RunError: the folder holds another measurement; a change in ``only`` needs pytest-xdist,
            which is not installed; or the intact model fails a case, so that changes to it mean
            nothing.
        ValueError: there is no change with such an id.
        ModelError: the model cannot be loaded.
    """
    intact = OFAVisualEntailment(resolve(asked.source), "cpu")
    layers = [len(getattr(intact.torch_model, part).layers) for part in ("encoder", "decoder")]
    known = {change.id: change for change in all_changes(*layers)}
    _check_only(asked.only, known)
    about = _begin(asked, intact)
    accepted = asked.folder / "baselines"
    baselines.recover(accepted)
    if any(not (accepted / f"{case.id}.json").exists() for case in asked.cases):
        _accept(intact, asked, accepted)
    chosen = [c for c in known.values() if not asked.only or c.id in asked.only]
    del intact
    results = []
    for change in progress(chosen, len(chosen), "changes"):
        path = asked.folder / "changes" / f"{change.id}.json"
        if path.exists():
            results.append(json.loads(path.read_text(encoding="utf-8")))
        elif change.setting.workers and not _has_xdist():
            # Not stored, so that it is measured once xdist is installed.
            results.append({**_described(change), "skipped": _WITHOUT_XDIST})
        else:
            write_json(path, _measured(change, asked, accepted))
            results.append(json.loads(path.read_text(encoding="utf-8")))
    return {**about, "changes": results}


def _check_only(only: Sequence[str], known: Mapping[str, Change]) -> None:
    for name in only:
        if name not in known:
            raise ValueError(f"--only: there is no change {name!r}; {nearest(name, known)}")
        if known[name].setting.workers and not _has_xdist():
            raise RunError(f"--only {name}: {_WITHOUT_XDIST}")


def _begin(asked: Asked, intact: Model) -> dict[str, Any]:
    about = {
        "model": intact.fingerprint.to_dict(),
        "cases": len(asked.cases),
        "images": len({case.image_digest for case in asked.cases}),
        "seed": asked.seed,
        "multiple": MULTIPLE,
        "key": digest(
            intact.fingerprint.digest, str(asked.seed), str(REGISTRY_VERSION), str(MULTIPLE),
            to_json(asked.floors), *sorted(case.digest for case in asked.cases),
        ),
    }  # fmt: skip
    make_output(asked.folder)
    path = asked.folder / "about.json"
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")).get("key") != about["key"]:
            raise RunError(
                f"{asked.folder} holds a measurement of another model, other cases, other "
                "tolerances or another seed: give another folder, or delete it"
            )
    else:
        write_json(path, about)
    return about


def _accept(intact: Model, asked: Asked, folder: Path) -> None:
    """Accept the intact model's outcomes as baselines."""
    policy = Policy(folder, "all", {"model": intact.fingerprint.to_dict()})
    with tempfile.TemporaryDirectory(prefix="audit-power-") as staged:
        for found in audit_cases(asked.cases, intact, policy=policy):
            outcome = found.outcome
            if outcome.failed:
                raise RunError(f"the intact model fails {outcome.case}: {outcome.sentence}")
            if found.proposal is not None:
                found.proposal.write(Path(staged))
        baselines.promote(Path(staged), folder)


def _measured(change: Change, asked: Asked, accepted: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="audit-power-") as temporary:
        folder = Path(temporary)
        if change.setting.workers:
            found = _in_workers(change, asked, accepted, folder)
        else:
            found = _in_process(change, asked, accepted, folder)
    return {**_described(change), **judged(found, asked.floors)}


def _described(change: Change) -> dict[str, Any]:
    return {"id": change.id, "family": change.family, "about": change.about}


_WITHOUT_XDIST = "pytest-xdist is not installed (pip install pytest-xdist)"


def _has_xdist() -> bool:
    return find_spec("xdist") is not None


def _in_process(change: Change, asked: Asked, accepted: Path, folder: Path) -> list[Outcome]:
    setting, checkpoint = change.setting, resolve(asked.source)
    if setting.rewrite:
        checkpoint = setting.rewrite(checkpoint, folder)
    with threads_set(setting.threads):
        model = change.plant(OFAVisualEntailment(checkpoint, "cpu", setting.dtype), asked.seed)
        cases = setting.order(asked.cases)
        policy = Policy(accepted, floors=asked.floors)
        size = setting.batch_size or len(cases)
        found = audit_cases(cases, model, policy=policy, batch_size=size)
        return [each.outcome for each in found]


def _in_workers(change: Change, asked: Asked, accepted: Path, folder: Path) -> list[Outcome]:
    """Audit by pytest, in a project that has only these case files and baselines."""
    files = sorted({case.file.resolve() for case in asked.cases})
    (folder / "pytest.ini").write_text(
        "[pytest]\naudit_cases = " + " ".join(f"{n}/*.yaml" for n in range(len(files))) + "\n"
    )
    for number, path in enumerate(files):
        # Link the whole folder, so that the relative paths of pictures still work.
        (folder / str(number)).symlink_to(path.parent)
    named = [str(folder / str(n) / path.name) for n, path in enumerate(files)]
    write_json(noise_path(folder / "accepted"), _as_noise(asked.floors))
    for path in accepted.iterdir():
        if path.is_file():
            (folder / "accepted" / path.name).write_bytes(path.read_bytes())
    command = [
        sys.executable, "-m", "pytest", *named, "-q", "-n", str(change.setting.workers),
        "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", str(folder / "pytest.ini"),
        "--audit-model", asked.source, "--audit-run-dir", str(folder / "run"),
        "--audit-baselines", str(folder / "accepted"), "--audit-device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, check=False)
    found = Run(folder / "run").outcomes()
    if len(found) != len(asked.cases):
        raise RunError(f"pytest audited {len(found)} of {len(asked.cases)} cases:\n{done.stdout}")
    return found


def _as_noise(floors: Floors) -> dict[str, Any]:
    return {
        "format": NOISE_FORMAT,
        "floors": {
            method: {m: {"floor": floor, "deviations": ENOUGH} for m, floor in found.items()}
            for method, found in floors.items()
        },
    }


def judged(outcomes: Sequence[Outcome], floors: Floors) -> dict[str, Any]:
    """Which gates catch the outcomes, and which figure moved most."""
    suite = judge_suite(changes_of(outcomes), Limits())
    states = {s.value: sum(o.state is s for o in outcomes) for s in State}
    wrong = [o.case for o in outcomes if o.label != o.expected]
    likely = [o.case for o in outcomes if len(o.drift) > 1 and o.drift[1].verdict == "drifted"]
    moves = [(noises, o.case, name) for o in outcomes for name, noises in _moves(o, floors)]
    left = any(row.verdict in ("drifted", "improved") for o in outcomes for row in o.drift)
    broken = [o.case for o in outcomes if not o.drift]
    redefined = any(
        ("undefined" in (row.baseline, row.observed)) and row.baseline != row.observed
        for o in outcomes
        for row in o.drift
    )
    moved, case, figure = max(moves, default=(0.0, "", ""))
    return {
        "caught": {
            "full": any(o.failed for o in outcomes) or suite.failed,
            "labels": bool(wrong),
            "probabilities": bool(wrong or likely or broken),
        },
        "measurable": bool(left or redefined or broken or moved > 1),
        "states": {state: count for state, count in states.items() if count},
        "wrong_labels": len(wrong),
        "moved_cases": sum(o.state.failed for o in outcomes),
        "suite": suite.failed,
        "largest": {"noises": round(moved, 2), "case": case, "figure": figure},
    }


def _moves(outcome: Outcome, floors: Floors) -> list[tuple[str, float]]:
    """The figures that have a noise floor, and by how many floors each moved."""
    known = {
        str(key): floor_of(floors, method_of(map_key), key.metric)
        for map_key, values in drifting(outcome)
        for key in (figure_key(name, map_key, outcome) for name in values)
    }
    found = []
    for number, row in enumerate(outcome.drift):
        floor = floor_of(floors, PROBABILITY, PROBABILITY) if number == 1 else known.get(row.figure)
        if floor:
            found.append((row.figure, abs(row.change) / floor))
    return found


def by_family(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Counts by family: planted, measurable, and caught by each gate."""
    counts: dict[str, dict[str, int]] = {}
    for result in results:
        if "skipped" in result:
            continue
        row = counts.setdefault(
            result["family"], dict.fromkeys(("planted", "measurable", *GATES), 0)
        )
        row["planted"] += 1
        row["measurable"] += result["measurable"]
        for gate in GATES:
            row[gate] += result["caught"][gate]
    return counts
