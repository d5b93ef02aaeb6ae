"""Compares two runs or two folders of baselines, case by case and as a whole; needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.base.errors import RunError
from audit.base.files import counted
from audit.base.names import made_from
from audit.base.settings import Limits
from audit.gate.changes import Change, declared_metrics
from audit.gate.drift import better_of
from audit.gate.omnibus import judge_moves
from audit.gate.stack import are_unseen, asked_otherwise, differences
from audit.gate.suite import Judgement, Suite, judge_suite
from audit.gate.tolerances import PROBABILITY, Noise
from audit.gate.verdict import level_of
from audit.metrics.keys import FigureKey
from audit.metrics.registry import Better
from audit.studies.pairs import Pair, paired
from audit.studies.sides import Side, Subject


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
    def asked_otherwise(self) -> list[str]:
        """The cases in which both sides were asked by different asking files."""
        return sorted(
            pair.after.case
            for pair in self.pairs
            if asked_otherwise(pair.after.origin, pair.before.origin)
        )

    @property
    def corrected(self) -> list[str]:
        """The cases whose expected label changed; both sides are held to that of the second."""
        return sorted(p.after.case for p in self.pairs if p.before.expected != p.after.expected)

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
        """The verdict over all cases, how else the models were asked, and what differs if the
        weights are the same.
        """
        said, same = self.suite.sentence, [pair for pair in self.pairs if pair.same]
        if others := len(self.asked_otherwise):
            whole = others == len(self.pairs)
            which = "both sides" if whole else f"in {counted(others, 'case')} both sides"
            said += (
                f"; {which} were asked by different asking files, so probabilities are of other "
                "questions or answers"
            )
        if corrected := len(self.corrected):
            said += (
                f"; {counted(corrected, 'case')} expected another label before, and both sides "
                "are held to that of the second"
            )
        if not same:
            sides = {are_unseen(s.origin) for pair in self.pairs for s in (pair.before, pair.after)}
            return f"{said}; {_UNSEEN}" if True in sides and not self.stated else said
        how = "said to be " if self.stated else ""
        whose = f"the weights of {counted(len(same), 'case')} are {how}the same"
        # Baselines of one folder may have been accepted in different sessions: tell of a moved one.
        told = next((pair for pair in same if pair.beyond), same[0])
        number = len(self.moved_by_stack)
        moved = f"{number or 'none'} of them moved"
        if len(same) == 1:
            moved = "and it moved" if number else "and it did not move"
        moved += f" by more than {_held_to(same)}"
        metrics = {metric for pair in same for metric in pair.metrics_beyond}
        differ = differences(told.after.origin, told.before.origin, told.measured, metrics)
        return f"{said}; {whose}, {moved}; {differ}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "before": self.before.title,
            "after": self.after.title,
            "cases": [pair.to_dict() for pair in self.pairs],
            "beyond_tolerance": self.beyond,
            "moved_by_stack": self.moved_by_stack,
            "asked_otherwise": self.asked_otherwise,
            "expected_otherwise": self.corrected,
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
            pairs.append(paired(ours, theirs, noise, stated))
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
    if after.expected:  # a variant may leave open which label is right
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
        # As in a session: who corrects an expected label has not changed the model.
        (before.label == after.expected, after.label == after.expected),
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
