"""Tells the stack from the weights: whether two records are of the same weights, and what differs.

A record is what a run or a baseline says about its origin: ``model`` (see ``Fingerprint``) and
``stack`` (see :mod:`audit.models.kit.stack`). Records of earlier versions have no ``stack``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from audit.base.settings import UNKNOWN

Origin = Mapping[str, Any]
"""What a run or a baseline says about its origin: ``model`` and ``stack``."""

Weights = Literal["", "same", "other"]
"""Whether a case was compared with a baseline of the same weights; empty if not compared."""

_PARTS = ("weights", "configuration", "tokenizer", "preprocessing")
_OF_ANSWERS = frozenset({"label", "probability", "unsaid"})
"""Figures that are not of a map."""

_SHOWN = 8
_LONGEST = 60  # characters of one value; a record may come from anywhere


def same_weights(now: Origin, then: Origin) -> bool:
    """Whether both are of the same weights, configuration, tokenizer and preprocessing.

    What then moves is the doing of whatever else computes. A record without a digest of its
    weights is of other weights.
    """
    first, second = now.get("model", {}), then.get("model", {})
    known = bool(first.get("weights"))
    return known and all(first.get(part, "") == second.get(part, "") for part in _PARTS)


def asked_otherwise(now: Origin, then: Origin) -> bool:
    """Whether models were asked by different asking files, so that probabilities are of other
    questions or answers; False if one of the records does not say how it was asked.

    >>> asked_otherwise({"model": {"asking": "a"}}, {"model": {"asking": "b"}})
    True
    >>> asked_otherwise({"model": {"asking": "a"}}, {"model": {}})
    False
    """
    first, second = (each.get("model", {}).get("asking", "") for each in (now, then))
    return bool(first and second) and first != second


def are_unseen(origin: Origin) -> bool:
    """Whether nobody can see the weights of a record: they are behind a server."""
    return bool(origin.get("model", {}).get("dtype") == UNKNOWN)


def device_class(device: str) -> str:
    """``cpu`` or ``cuda``, without the number of the device."""
    return device.partition(":")[0]


def differences(
    now: Origin,
    then: Origin,
    measured: Mapping[str, frozenset[str]] | None = None,
    moved: Collection[str] = (),
) -> str:
    """What differs between two records of the same weights, as a clause.

    Args:
        measured: by name, the values between which figures were measured to move no further than
            the noise floor. What differs between these cannot be why a figure moved further.
        moved: the metrics that moved, ``label``, ``probability`` and ``unsaid`` among them. A
            package that none of them is computed with is not told; without any, all are.

    >>> then = {"model": {"packages": {"torch": "2.11.0"}}, "stack": {"threads": "2"}}
    >>> now = {"model": {"packages": {"torch": "2.12.0"}}, "stack": {"threads": "8"}}
    >>> differences(now, then)
    'what differs: torch 2.11.0 → 2.12.0, threads 2 → 8'
    >>> differences(now, then, {"threads": frozenset({"2", "8"})})
    'what differs: torch 2.11.0 → 2.12.0 (and threads 2 → 8, measured as harmless)'
    >>> differences(
    ...     {"stack": {"POT": "0.9.6"}}, {"stack": {"POT": "0.9.5"}}, moved={"probability"}
    ... )
    'nothing that is recorded differs'
    >>> differences(then, then)
    'nothing that is recorded differs'
    """
    first, second = _told(then), _told(now)
    found: list[str] = []
    harmless: list[str] = []
    for name, value in first.items():
        if name in second and second[name] != value and _matters(name, moved):
            known = (measured or {}).get(name, frozenset())
            mine = harmless if {value, second[name]} <= known else found
            mine.append(f"{name} {_short(value)} → {_short(second[name])}")
    clause = f"what differs: {_listed(found)}" if found else "nothing that is recorded differs"
    if harmless:
        beside = "and" if found else "but"
        clause += f" ({beside} {_listed(harmless)}, measured as harmless)"
    if then.get("stack"):
        return clause
    return f"{clause} (the baseline's threads, processor and options are not recorded)"


def _matters(name: str, moved: Collection[str]) -> bool:
    """Whether something of the stack can be why these metrics moved."""
    if name == "POT":  # it computes the earth mover's distance, and nothing else
        return not moved or "emd" in moved
    if name == "scipy":  # it smooths maps and measures them
        return not moved or not _OF_ANSWERS.issuperset(moved)
    return True


def _listed(found: Sequence[str]) -> str:
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return ", ".join([*found[:_SHOWN], *more])


def _told(origin: Origin) -> dict[str, str]:
    """Everything that decides what is computed besides the weights, by name."""
    model = origin.get("model", {})
    found = {
        **model.get("packages", {}),
        "device": device_class(model.get("device", "")),
        "precision": model.get("dtype", ""),
        "engine": model.get("engine", ""),
        **origin.get("stack", {}),
    }
    return {str(name): str(value) for name, value in found.items() if value}


def _short(value: str) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 1]}…"
