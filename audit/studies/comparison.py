"""Compares two runs or two folders of baselines, case by case and as a whole; needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.base.errors import RunError, Undefined
from audit.base.files import counted, rounded
from audit.base.geometry import same_view
from audit.base.names import made_from
from audit.base.settings import Limits
from audit.gate.changes import Change, declared_metrics, declares
from audit.gate.drift import better_of
from audit.gate.omnibus import Move, judge_moves
from audit.gate.stack import are_unseen, differences, same_weights
from audit.gate.suite import Judgement, Suite, judge_suite
from audit.gate.tolerances import PROBABILITY, Noise, Tolerances, floor_of
from audit.gate.verdict import level_of
from audit.metrics.distances import centre_shift, emd, js
from audit.metrics.keys import FigureKey
from audit.metrics.registry import Better
from audit.studies.sides import Side, Subject

DISTANCES = {"js": js, "emd": emd, "centre_shift": centre_shift}

_MANY_CELLS = 64 * 64
"""On finer grids the earth mover's distance would take minutes and gigabytes."""

_ROUNDING = 2e-6  # figures of baselines are stored with six decimals


@dataclass(frozen=True)
class Pair:
    """One case on both sides.

    Attributes:
        probability: of the expected label, on each side; of the first side's label, if none is
            expected.
        changes: by figure, the value on each side.
        distances: between the two maps, or the reason why there is none.
        tolerances: from the noise floor of either side's baselines, or else the defaults; for the
            same weights, the floor of their precision and devices.
        same: whether both sides are of the same weights, or are said to be.
        measured: what the noise floors of such a pair were measured over; see :class:`Level`.
    """

    before: Subject
    after: Subject
    probability: tuple[float, float]
    changes: dict[FigureKey, tuple[float | str, float | str]]
    distances: dict[str, float | str]
    tolerances: Tolerances
    same: bool = False
    measured: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def floored(self) -> int:
        """How many of its moves are held to a measured noise floor."""
        floors = self.tolerances.floors
        return sum(floor_of(floors, m.method, m.metric) is not None for m in self.moves)

    @property
    def same_view(self) -> bool:
        """Whether both maps cover the same part of the picture, so that they can be compared."""
        return same_view(self.before.view, self.after.view)

    @property
    def beyond(self) -> bool:
        """Whether the label flipped, or a figure changed by more than its tolerance."""
        first, second = self.probability
        return (
            self.before.label != self.after.label
            or abs(second - first) > self.tolerances.probability() + _ROUNDING
            or any(self._left(key, *values) for key, values in self.changes.items())
        )

    @property
    def said(self) -> frozenset[str] | None:
        """The expectations of the case; None if neither side knows them."""
        return self.after.said if self.after.said is not None else self.before.said

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Figures that left their tolerance for the better though nothing was asked of them."""
        return tuple(
            str(key)
            for key, (was, now) in self.changes.items()
            if self._left(key, was, now)
            and isinstance(was, float) and isinstance(now, float)
            and key.row.better == ("higher" if now > was else "lower")
            and self.said is not None and not declares(self.said, str(key))
        )  # fmt: skip

    def _left(self, key: FigureKey, before: float | str, after: float | str) -> bool:
        if isinstance(before, str) or isinstance(after, str):
            return isinstance(before, str) != isinstance(after, str)
        allowed = self.tolerances.figure(self.after.method, key)
        return abs(after - before) > allowed + _ROUNDING

    @property
    def moves(self) -> list[Move]:
        """What moved, for the verdict on all moves together."""
        method, tolerances = self.after.method, self.tolerances

        def move(of: str, metric: str, first: float, second: float, allowed: float) -> Move:
            by = rounded(second - rounded(first))  # as baselines are stored
            return Move(of, metric, by, allowed if self.same else None)

        return [
            move(PROBABILITY, PROBABILITY, *self.probability, tolerances.probability()),
            *(
                move(method, key.metric, first, second, tolerances.figure(method, key))
                for key, (first, second) in self.changes.items()
                if not isinstance(first, str) and not isinstance(second, str)
            ),
        ]

    @property
    def undefined(self) -> str:
        """Which distances have no value, and why; empty if all have one."""
        reasons: dict[str, list[str]] = {}
        for name, value in self.distances.items():
            if isinstance(value, str):
                reasons.setdefault(value, []).append(name)
        return "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())

    @property
    def moved(self) -> float:
        """How far the map moved, for sorting; a missing map counts as the largest move."""
        found = self.distances["js"]
        return found if isinstance(found, float) else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "case": self.after.case,
            "text": self.after.text,
            "expected": self.after.expected,
            "weights": "same" if self.same else "other",
            "labels": [self.before.label, self.after.label],
            "probability": list(self.probability),
            "metrics": {str(k): [_plain(v) for v in pair] for k, pair in self.changes.items()},
            "distances": {k: _plain(v) for k, v in self.distances.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """Both sides, the pairs of cases with the largest move first, and the verdict over all.

    Attributes:
        left_out: cases that are not compared, each with the reason.
        stated: whether somebody says that weights which nobody can see are those of the other side.
    """

    before: Side
    after: Side
    pairs: list[Pair]
    left_out: dict[str, str]
    suite: Suite
    stated: bool = False

    @property
    def beyond(self) -> list[str]:
        """The cases that moved by more than a tolerance."""
        return sorted(pair.after.case for pair in self.pairs if pair.beyond)

    @property
    def moved_by_stack(self) -> list[str]:
        """The cases that moved although the weights are the same."""
        return sorted(pair.after.case for pair in self.pairs if pair.same and pair.beyond)

    @property
    def failed(self) -> bool:
        """Whether the second side is worse, or the same weights gave other figures.

        Also if nobody can tell, because the pictures are too few, and single cases left their
        tolerances: a session would fail these, and nothing else judges them here.
        """
        unsure = self.suite.verdict is Judgement.UNSURE and bool(self.beyond)
        return self.suite.failed or bool(self.moved_by_stack) or unsure

    @property
    def headline(self) -> str:
        """The verdict in a word or two."""
        if self.moved_by_stack:
            return "moved by the stack"
        if self.suite.failed:
            return "worse" if self.suite.worse else "changed"
        if self.suite.verdict is Judgement.UNSURE:
            return Judgement.UNSURE.value
        return "changed, not clearly worse" if self.beyond else "no regression"

    @property
    def sentence(self) -> str:
        """The verdict over all cases, and what differs if the weights are the same."""
        said, same = self.suite.sentence, [pair for pair in self.pairs if pair.same]
        if not same:
            sides = {are_unseen(s.origin) for pair in self.pairs for s in (pair.before, pair.after)}
            return f"{said}; {_UNSEEN}" if True in sides else said
        how = "said to be " if self.stated else ""
        whose = f"the weights of {counted(len(same), 'case')} are {how}the same"
        # Baselines of one folder may have been accepted in different sessions: tell of a moved one.
        told = next((pair for pair in same if pair.beyond), same[0])
        number = len(self.moved_by_stack)
        moved = f"{number or 'none'} of them moved"
        if len(same) == 1:
            moved = "and it moved" if number else "and it did not move"
        moved += f" by more than {_held_to(same)}"
        differ = differences(told.after.origin, told.before.origin, told.measured)
        return f"{said}; {whose}, {moved}; {differ}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "before": self.before.title,
            "after": self.after.title,
            "cases": [pair.to_dict() for pair in self.pairs],
            "beyond_tolerance": self.beyond,
            "moved_by_stack": self.moved_by_stack,
            "sentence": self.sentence,
            "left_out": self.left_out,
            "suite": self.suite.to_dict(),
        }


def _held_to(same: Sequence[Pair]) -> str:
    """What figures of the same weights are held to: their noise, if that was measured."""
    floored, of = sum(pair.floored for pair in same), sum(len(pair.moves) for pair in same)
    its = "its" if len(same) == 1 else "their"
    if floored == of:
        return f"{its} noise"
    if not floored:
        return "the default tolerances (no noise floor was measured)"
    without = f"{of - floored} of {counted(of, 'figure')} without a measured noise floor"
    return f"{its} tolerances ({without})"


_UNSEEN = (
    "whether the weights behind a server are the same cannot be seen: if you know that they are, "
    "--same-weights says so, and what moves is then the stack's doing"
)


def _plain(value: float | str) -> Any:
    return {"undefined": value} if isinstance(value, str) else value


def compare(before: Side, after: Side, limits: Limits, *, stated: bool = False) -> Comparison:
    """Compare the cases that both sides share.

    Args:
        stated: whether weights that nobody can see, behind a server, are those of the other side.

    Raises:
        RunError: they share none, or the weights are stated to be the same, but can be seen.
    """
    left_out = {case: _unanswered(case, before, after) for case in (*before.failed, *after.failed)}
    noise = before.noise if before.noise != Noise() else after.noise
    pairs = []
    for case in sorted({*before.subjects, *after.subjects} - set(left_out)):
        ours, theirs = before.subjects.get(case), after.subjects.get(case)
        if ours is None or theirs is None:
            left_out[case] = f"only in {(before if theirs is None else after).title}"
        elif not ours.digests & theirs.digests:
            left_out[case] = _changed(ours, theirs)
        else:
            pairs.append(_pair(ours, theirs, noise, stated))
    if not pairs:
        raise RunError(
            f"{before.title} and {after.title} share no case that can be compared{_told(left_out)}"
        )
    pairs.sort(key=lambda pair: (-pair.moved, pair.after.case))
    pictures = {pair.after.case: pair.after.image for pair in pairs}
    level = level_of(noise, pairs[0].after.origin, pairs[0].before.origin)
    moves = [move for pair in pairs for move in pair.moves]
    together = judge_moves(moves, level, limits.omnibus, other=not all(p.same for p in pairs))
    suite = judge_suite([_change(pair, pictures) for pair in pairs], limits, together)
    return Comparison(before, after, pairs, left_out, suite, stated)


def _unanswered(case: str, before: Side, after: Side) -> str:
    """That a case has no answer, and the error of each side that has one."""
    errors = {side.title: side.errors[case] for side in (before, after) if case in side.errors}
    told = "; ".join(f"{title}: {error}" for title, error in errors.items())
    return f"has no answer on one side{f' ({told})' if told else ''}"


def _told(left_out: Mapping[str, str], most: int = 5) -> str:
    """Why cases are left out, the first of them one by one."""
    if not left_out:
        return ""
    some = [f"{case} {reason}" for case, reason in left_out.items()][:most]
    more = [f"and {len(left_out) - most} more"] if len(left_out) > most else []
    return f": {'; '.join([*some, *more])}"


def _changed(before: Subject, after: Subject) -> str:
    """Why two subjects are not of the same case."""
    reason = "the case itself changed between the two"
    known = before.former_digest and after.former_digest
    if before.image != after.image and before.text == after.text and not known:
        reason += (
            ", or one of them is of an older version, which knew a picture by its file's bytes; to "
            "compare them, audit the case anew there"
        )
    return reason


def _pair(before: Subject, after: Subject, noise: Noise, stated: bool) -> Pair:
    if stated and not (are_unseen(before.origin) or are_unseen(after.origin)):
        raise RunError(
            f"{after.case}: --same-weights is for weights that cannot be seen, behind a server; "
            "here it is known whether they are the same"
        )
    same = stated or same_weights(after.origin, before.origin)
    tolerances, level = noise.tolerances({}), level_of(noise, after.origin, before.origin)
    if same:
        tolerances = noise.held({}, level)
    shared = {name: FigureKey.known(name) for name in after.figures if name in before.figures}
    if _other_maps(before, after) or (same and not _same_grid(before, after)):
        shared = {}  # figures of other maps, and of the same weights on another grid, say nothing
    if are_unseen(before.origin) or are_unseen(after.origin):  # a server shows no attention
        shared = {n: key for n, key in shared.items() if key and key.row.kind != "trace"}
    label = before.expected or before.label
    first, second = (float(s.probabilities.get(label, 0.0)) for s in (before, after))
    return Pair(
        before,
        after,
        (first, second),
        {key: (before.figures[name], after.figures[name]) for name, key in shared.items() if key},
        {name: _distance(function, before, after) for name, function in DISTANCES.items()},
        tolerances,
        same,
        level.measured if level else {},
    )


def _other_maps(before: Subject, after: Subject) -> bool:
    """Whether the two have maps of different methods, because their models have other defaults."""
    return before.method != after.method


def _same_grid(before: Subject, after: Subject) -> bool:
    return before.map is None or after.map is None or before.map.shape == after.map.shape


def _distance(function: Any, before: Subject, after: Subject) -> float | str:
    if before.map is None or after.map is None:
        return "one side has no map"
    if _other_maps(before, after):
        return "the maps are of different methods"
    if not same_view(before.view, after.view):
        return "the maps cover different parts of the picture"
    if function is emd and before.map.size > _MANY_CELLS:
        return "the grid is too fine"
    try:
        return float(function(before.map, after.map))
    except Undefined as reason:
        return str(reason)


def _sign(key: FigureKey, wanted: Mapping[str, Better]) -> int:
    """1 if the metric's own direction counts, -1 in a region to avoid, 0 if neither is better."""
    own, better = key.row.better, better_of(key, wanted)
    if own in ("neither", better):
        return 1
    return 0 if better == "neither" else -1


def _change(pair: Pair, pictures: Mapping[str, str]) -> Change:
    """A pair for the suite-level gate; a variant belongs to the picture of its case."""
    before, after, said = pair.before, pair.after, pair.said
    by_metric: dict[str, list[float]] = {}
    tolerances = {PROBABILITY: pair.tolerances.probability()}
    wanted = after.wanted or before.wanted
    changes = {}
    if before.expected:  # a variant may leave open which label is right
        changes[PROBABILITY] = pair.probability[1] - pair.probability[0]
    for key, (first, second) in pair.changes.items():
        sign = _sign(key, wanted)
        if sign and isinstance(first, float) and isinstance(second, float):
            by_metric.setdefault(key.metric, []).append(sign * (second - first))
            tolerances[key.metric] = pair.tolerances.figure(after.method, key)
    return Change(
        after.case,
        pictures.get(made_from(after.case), after.image),
        before.critical or after.critical,
        (before.label, after.label),
        (before.label == before.expected, after.label == after.expected),
        {
            **changes,
            **{metric: sum(values) / len(values) for metric, values in by_metric.items()},
        },
        tolerances,
        after.expected,
        tuple(dict.fromkeys(after.tags or before.tags)),
        # Of two folders of baselines nobody knows what was asked, so every direction counts.
        frozenset(tolerances)
        if said is None
        else declared_metrics(after.expected, after.figures, said),
        pair.beyond,
        pair.undeclared,
    )
