"""Puts the runs of one session's shards together: the cases of all, judged as one run."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.base.errors import RunError
from audit.base.files import (
    counted,
    digest,
    inside,
    read_bytes,
    shown_path,
    write_atomically,
)
from audit.base.records import MEGABYTE
from audit.gate.baselines import digest_of
from audit.gate.ending import SUITE_FAILED, Ending, named, short_of
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import Run
from audit.gate.stack import device_class

HARDWARE = ("processor", "instruction set", "threads", "GPU")
"""What the machines of a pipeline may have in different kinds, though their software is the same.

Figures move with it by no more than the noise that ``audit noise`` measures.
"""

_OPTIONS = {
    "batch_size": "--audit-batch-size",
    "suite_alpha": "--audit-suite-alpha",
    "suite_effect": "--audit-suite-effect",
    "omnibus_limit": "--audit-omnibus-limit",
}
_LARGEST = 256 * MEGABYTE  # of a picture; a run keeps none wider or higher than 1024 pixels


@dataclass(frozen=True)
class Shard:
    """One of the runs, read.

    Attributes:
        ended: how its session ended, as in ``results.json``; None if it did not.
    """

    run: Run
    about: Mapping[str, Any]
    outcomes: list[Outcome]
    ended: Mapping[str, Any] | None

    @property
    def title(self) -> str:
        """Its folder, for messages."""
        return shown_path(self.run.folder)

    @property
    def options(self) -> Mapping[str, Any]:
        """How its session asked and judged."""
        found: Mapping[str, Any] = self.about["options"]
        return found


def read_shards(folders: Sequence[Path], *, machines: bool = False) -> list[Shard]:
    """Read runs that are to be put together, and refuse those that do not belong together.

    Args:
        machines: whether their machines may differ in :data:`HARDWARE`.

    Raises:
        RunError: one of them cannot be read, accepted baselines, or is of another model, stack,
            baselines or options than the first; or two have the same case.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise RunError("one run is named twice: name each shard once")
    shards = [_read(folder) for folder in folders]
    for shard in shards[1:]:
        _refuse_other(shards[0], shard, machines)
    _refuse_twice(shards)
    return shards


def _refuse_twice(shards: Sequence[Shard]) -> None:
    """Refuse shards that have a case in common: which of the two outcomes counts, nobody knows."""
    seen: dict[str, Shard] = {}
    for shard in shards:
        twice = [outcome.case for outcome in shard.outcomes if outcome.case in seen]
        if twice:
            both = f"{seen[twice[0]].title} and {shard.title}"
            raise RunError(
                f"{both} are no shards of one session: {counted(len(twice), 'case')} in both "
                f"({named(twice)})"
            )
        seen |= {outcome.case: shard for outcome in shard.outcomes}


def _read(folder: Path) -> Shard:
    run = Run(folder)
    about = run.about()
    where = shown_path(folder)
    if about.get("options") is None:
        raise RunError(
            f"{where}: is of an earlier version, which did not record its options and baselines: "
            "audit it anew"
        )
    if about.get("update"):
        raise RunError(
            f"{where}: accepted baselines (--audit-update), so it was not judged by them; audit "
            "without, and accept from the run that is put together"
        )
    settled = run.settled()
    ended = run.results().get("session") if (folder / "results.json").exists() else None
    return Shard(settled, about, settled.outcomes(), ended)


def _refuse_other(first: Shard, other: Shard, machines: bool) -> None:
    """Refuse a shard that was made otherwise, and name what differs."""
    found = _differences(first.about, other.about, machines)
    if not found:
        return
    hint = ""
    if set(found) <= set(HARDWARE):
        hint = "; if only the machines differ, --other-machines puts them together all the same"
    told = ", ".join(
        f"{name} {was or 'none'} and {now or 'none'}" for name, (was, now) in found.items()
    )
    raise RunError(f"{first.title} and {other.title} are no shards of one session: {told}{hint}")


def _differences(
    one: Mapping[str, Any], other: Mapping[str, Any], machines: bool
) -> dict[str, tuple[str, str]]:
    """What differs between two ``run.json``, by name."""
    first, second = _told(one), _told(other)
    names = [name for name in {**first, **second} if not (machines and name in HARDWARE)]
    return {
        name: (_short(first.get(name, "")), _short(second.get(name, "")))
        for name in names
        if first.get(name, "") != second.get(name, "")
    }


def _told(about: Mapping[str, Any]) -> dict[str, str]:
    """Everything in which shards must agree, by the name under which a message tells it."""
    model = about.get("model", {})
    parts = ("name", "source", "revision", "weights", "configuration", "tokenizer")
    more = ("preprocessing", "dtype", "engine", "asking")
    options = about["options"]
    found = {
        **{part if part != "name" else "model": model.get(part, "") for part in (*parts, *more)},
        "device": device_class(model.get("device", "")),
        **model.get("packages", {}),
        **about.get("stack", {}),
        "labels": ", ".join(about.get("labels", [])),
        "baselines": about.get("baselines", ""),
        "digest of the baselines": about.get("baselines_digest", ""),
        "limits set aside": about.get("waived", ""),
        **{told: options[name] for name, told in _OPTIONS.items()},
    }
    return {str(name): str(value) for name, value in found.items()}


def _short(text: str) -> str:
    return shown_path(text if len(text) <= 40 else f"{text[:12]}…")


def baselines_for(shard: Shard, root: Path, given: Path | None) -> Path:
    """The folder of baselines that the shards were compared with; its noise judges them together.

    Args:
        root: of the project, to which the folder that a run names is relative.
        given: the folder that the user names instead.

    Raises:
        RunError: there is no such folder, or it holds other baselines.
    """
    named_there = str(shard.about.get("baselines", ""))
    wanted = str(shard.about.get("baselines_digest", ""))
    folder = given or inside(root, named_there)
    if not wanted:
        return folder or root / "baselines"
    if folder is None or digest_of(folder) != wanted:
        raise RunError(
            f"{shown_path(folder or named_there)}: these are not the baselines that the shards "
            "were compared with: check out the same commit, or name them with --baselines"
        )
    return folder


def put_together(shards: Sequence[Shard], out: Path) -> Run:
    """Write the shards as one run, into a new folder, whole or not at all.

    Raises:
        RunError: ``out`` is not a new or empty folder, or something in a shard is damaged.
    """
    with _new_folder(out) as folder:
        run = Run(folder)
        run.start(_about(shards))
        for shard in shards:
            for outcome in shard.outcomes:
                case = outcome.case
                run.add(outcome, shard.run.maps(case), shard.run.strips(case))
                for digest_of_picture in {outcome.image_digest, outcome.variant_of_image} - {""}:
                    _copy_picture(shard.run, run, digest_of_picture)
    return Run(out)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that gets its name once it is whole."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{shown_path(out)}: is there already: name a new folder for the run")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name[:100]}.{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_picture(shard: Run, run: Run, digest_of_picture: str) -> None:
    target = run.image_path(digest_of_picture)
    if not target.exists() and shard.image(digest_of_picture) is not None:
        data = read_bytes(shard.image_path(digest_of_picture), _LARGEST, follow=False)
        write_atomically(target, data, durable=False)


def _about(shards: Sequence[Shard]) -> dict[str, Any]:
    """The ``run.json`` of all: what they share, and each shard's own in ``shards``."""
    first = shards[0].about
    stacks = [shard.about.get("stack", {}) for shard in shards]
    devices = {shard.about.get("model", {}).get("device", "") for shard in shards}
    model = {**first.get("model", {})}
    if len(devices) > 1:
        model["device"] = device_class(model.get("device", ""))
    identities = sorted(str(shard.about.get("id", "")) for shard in shards)
    shared = {key: value for key, value in first.items() if key != "shards"}
    return {
        **shared,
        "id": digest(*identities)[:16],
        "model": model,
        "stack": {
            name: value
            for name, value in stacks[0].items()
            if all(stack.get(name) == value for stack in stacks)
        },
        "started": min((str(shard.about.get("started", "")) for shard in shards), key=_moment),
        "options": {
            **shards[0].options,
            "min_cases": max(shard.options["min_cases"] for shard in shards),
        },
        "shards": [
            {
                "id": shard.about.get("id", ""),
                "started": shard.about.get("started", ""),
                "machine": shard.about.get("machine", ""),
                "cases": len(shard.outcomes),
                "stack": shard.about.get("stack", {}),
            }
            for shard in shards
        ],
    }


def _moment(written: str) -> tuple[bool, datetime | str]:
    """Orders times that machines in other zones wrote; those that are none come last."""
    try:
        return False, datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError):
        return True, written


def ending_of(shards: Sequence[Shard], *, suite_failed: bool, fewest: int) -> Ending:
    """How the session ended that the shards are parts of.

    What a shard's own gate over all its cases said, or its own number of cases, does not count.

    Args:
        suite_failed: whether the gate over all cases of all shards failed.
        fewest: fewer audited cases fail the session.
    """
    outcomes = [outcome for shard in shards for outcome in shard.outcomes]
    ends = [_ended(shard) for shard in shards]
    reasons = [
        f"{shard.title}: {reason}"
        for shard, ended in zip(shards, ends, strict=True)
        for reason in ended.reasons
    ]
    audited = sum(ended.audited for ended in ends)
    short = short_of(audited, fewest)
    reasons += [short] if short else []
    reasons += [SUITE_FAILED] if suite_failed else []
    return Ending(
        0,
        sum(ended.selected for ended in ends),
        audited,
        sum(outcome.failed for outcome in outcomes),
        tuple(reasons),
        sum(ended.skipped for ended in ends),
    )


def _ended(shard: Shard) -> Ending:
    """How a shard ended, with the reasons that hold whatever the other shards say."""
    cases, ended = len(shard.outcomes), shard.ended
    if ended is None:
        return Ending(0, cases, cases, reasons=("the session did not end",))
    audited, selected = (int(ended.get(key, cases)) for key in ("audited", "selected"))
    skipped, failed = int(ended.get("skipped", 0)), int(ended.get("failed", 0))
    said = [str(reason) for reason in ended.get("reasons", [])]
    own = {SUITE_FAILED, short_of(audited, shard.options["min_cases"])}
    reasons = [reason for reason in said if reason not in own]
    if audited != cases:
        reasons.append(f"{counted(audited, 'case')} audited, but outcomes of {cases} are stored")
    whole = audited + skipped >= selected
    if not (ended["passed"] or reasons or failed or own & set(said)) and whole:
        reasons.append(str(ended["sentence"]))
    return Ending(0, selected, audited, failed, tuple(reasons), skipped)
