"""What happened in a run and what to do, in plain words: one sentence a cause, worst first.

Figures and p-values are for the tables; here are the reasons that a reviewer acts on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from audit.base.languages import Message, message, plural
from audit.cases.expectations import LABEL
from audit.gate.outcomes import Outcome, State
from audit.metrics.keys import FigureKey
from audit.report.phrases import stored
from audit.report.wording import ADVICE, LOOKS, NAMED_THINGS, SENTENCES, SET_OFF, TITLES

Tone = Literal["bad", "warn", "good"]

MOVED = 0.1
"""From this share of the map on, attention that moved to a region or away from it is told."""

_NAMED = 3  # cases that a sentence links to; of others it gives the number


@dataclass(frozen=True)
class Cause:
    """A reason why a run ended as it did.

    Attributes:
        sentence: what happened; a value between stars is set off.
        advice: what to do.
        cases: the cases that it is about.
    """

    sentence: Message
    advice: str
    cases: Sequence[str] = ()
    tone: Tone = "bad"

    @property
    def named(self) -> Sequence[str]:
        """The first of its cases; a sentence about one or two names these."""
        return self.cases[:_NAMED]


@dataclass(frozen=True)
class Story:
    """What a run's gallery says first: the verdict in a few words, and the causes."""

    title: Message
    tone: Tone
    causes: Sequence[Cause]


def story(
    outcomes: Sequence[Outcome],
    suite: Mapping[str, Any] | None,
    session: Mapping[str, Any] | None,
) -> Story:
    """What happened in a run.

    Args:
        suite, session: the verdict over all cases and the end of the session, as in
            ``results.json``; None where there is none.
    """
    failed = [outcome for outcome in outcomes if outcome.failed]
    causes = [
        *_unfinished(session),
        *_about_cases(outcomes, failed),
        *_about_all(outcomes, suite or {}),
    ]
    if not failed and not any(cause.tone == "bad" for cause in causes):
        causes.insert(0, _passed(outcomes))
    known = [o.case for o in outcomes if o.known]
    causes += _told("known", known, tone="warn")
    return Story(*_title(outcomes, failed, suite or {}, session or {}), causes)


def _title(
    outcomes: Sequence[Outcome],
    failed: Sequence[Outcome],
    suite: Mapping[str, Any],
    session: Mapping[str, Any],
) -> tuple[Message, Tone]:
    cases = _cases(len(outcomes))
    if failed:
        return _titled("cases", failed=f"{len(failed):,}", CASES=cases), "bad"
    if suite.get("failed"):
        return _titled("together"), "bad"
    if session and not session["passed"]:
        reasons = session["sentence"].removeprefix("failed: ")
        return _titled("session", REASONS=stored(reasons)), "bad"
    if suite.get("verdict") == "cannot tell":
        return _titled("unsure"), "warn"
    passed = sum(not outcome.state.failed for outcome in outcomes)
    if passed < len(outcomes):
        return _titled("passed but known", passed=f"{passed:,}", CASES=cases), "good"
    return _titled("passed", CASES=cases), "good"


def _titled(key: str, **values: str | Message) -> Message:
    return message(TITLES[key], **values)


def _sentence(key: str, **values: str | Message) -> Message:
    return message(SENTENCES[key], **values)


def _cases(number: int) -> Message:
    return plural("{number} case", "{number} cases", number)


def _answers(number: int) -> Message:
    return plural("{number} answer", "{number} answers", number)


def _told(
    key: str,
    cases: Sequence[str],
    values: Mapping[str, object] = MappingProxyType({}),
    *,
    sentence: str = "",
    advice: str = "",
    tone: Tone = "bad",
) -> list[Cause]:
    """The cause of that key about these cases; none if there are none."""
    if not cases:
        return []
    text = message(sentence or SENTENCES[key], CASES=_cases(len(cases)), **values)
    return [Cause(text, ADVICE[advice or key], cases, tone)]


def _unfinished(session: Mapping[str, Any] | None) -> list[Cause]:
    if not session or session["passed"]:
        return []
    whole = session.get("audited", 0) + session.get("skipped", 0) >= session.get("selected", 0)
    if whole:
        return []
    sentence = session["sentence"].removeprefix("failed: ")
    text = _sentence("unfinished", SENTENCE=stored(sentence))
    return [Cause(text, ADVICE["unfinished"])]


def _about_cases(outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> list[Cause]:
    """The causes that are found in single cases; each failing case has one at least."""
    left = {o.case: o for o in failed}

    def take(found: Iterable[Outcome]) -> list[str]:
        names = [o.case for o in found]
        for name in names:
            left.pop(name, None)
        return names

    causes = [
        *_told("error", take(o for o in failed if o.state is State.ERROR)),
        *_told("undefined", take(o for o in failed if o.state is State.UNDEFINED)),
        *_wrong(outcomes, failed, take),
    ]
    causes += _looks(outcomes, [o for o in failed if o.case in left], take)
    broken = [o for o in left.values() if o.state is State.BROKEN]
    missed = Counter(v.expectation for o in broken for v in o.verdicts if not v.passed)
    what = missed.most_common(1)[0][0] if missed else ""
    causes += _told("broken", take(broken), {"what": stored(what)})
    for key, state in (
        ("drifted", State.DRIFTED),
        ("stack", State.STACK),
        ("crept", State.CREPT),
        ("stale", State.STALE),
        ("new", State.NEW),
    ):
        causes += _told(key, take([o for o in left.values() if o.state is state]), tone="warn")
    improved = [o.case for o in outcomes if o.state is State.IMPROVED]
    return [*causes, *_told("improved", improved, tone="good")]


Take = Callable[[Iterable[Outcome]], list[str]]


def _right(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """How many answers are right, and how many cases say which is."""
    asked = [o for o in outcomes if o.expected and not o.variant_of]
    return sum(o.label == o.expected for o in asked), len(asked)


def _wrong(outcomes: Sequence[Outcome], failed: Sequence[Outcome], take: Take) -> list[Cause]:
    wrong = [o for o in failed if o.expected and o.label not in ("", o.expected)]
    single = [o for o in wrong if not o.variant_of]
    lost = [o for o in single if _was_right(o)]
    critical = [o.case for o in lost if o.critical]
    variants = [
        o
        for o in failed
        if o.variant_of and any(v.expectation == LABEL and not v.passed for v in o.verdicts)
    ]
    values = {
        "ANSWERS": _answers(len(single)),
        "all": f"{_right(outcomes)[1]:,}",
        "lost": f"{len(lost):,}",
    }
    key = "wrong" if any(o.drift for o in single) else "wrong anew"
    return [
        *_told("critical", critical),
        *_told(key, take(single), values, advice="wrong"),
        *_told("variants", take(variants), {"ANSWERS": _answers(len(variants))}),
    ]


def _was_right(outcome: Outcome) -> bool:
    return bool(outcome.drift) and outcome.drift[0].baseline == outcome.expected


@dataclass(frozen=True)
class _Move:
    """Where attention went in one case: to a region, and away from those that should have it."""

    outcome: Outcome
    to: str
    now: float
    was: float
    away: tuple[str, ...]
    left: float
    had: float


class Mass(NamedTuple):
    """A region's share of a case's own map, now and in the baseline."""

    now: float
    was: float
    moved: bool


def masses(outcome: Outcome) -> dict[str, Mass]:
    """The regions of a case that were compared with its baseline."""
    own = outcome.metrics.get(outcome.default_map, {})
    found = {}
    for row in outcome.drift:
        key, now = FigureKey.known(row.figure), own.get(row.figure)
        if key is None or key.metric != "mass" or key.region is None or not isinstance(now, float):
            continue
        if row.baseline != "undefined":
            found[key.region] = Mass(now, now - row.change, row.verdict != "within")
    return found


def _move(outcome: Outcome) -> _Move | None:
    """What moved in a case by so much that it is worth a sentence."""
    found = masses(outcome)
    asked = [r for r in found if outcome.wanted.get(r, "higher") == "higher"]
    named = asked or [r for r in found if outcome.wanted.get(r) != "lower"]
    gains = {
        region: now - was
        for region, (now, was, moved) in found.items()
        if moved and now - was >= MOVED and outcome.wanted.get(region) != "higher"
    }
    to = max(gains, key=lambda region: gains[region], default="")
    named = [region for region in named if region != to]
    # Regions may overlap, and all of a map is 1.
    left = min(1.0, sum(found[region].now for region in named))
    had = min(1.0, sum(found[region].was for region in named))
    lost = bool(named) and had - left >= MOVED
    if not to and not lost:
        return None
    now, was, _ = found[to] if to else Mass(0.0, 0.0, False)
    return _Move(outcome, to, now, was, tuple(named) if lost else (), left, had)


def _looks(outcomes: Sequence[Outcome], failed: Sequence[Outcome], take: Take) -> list[Cause]:
    """Where attention went, by the region that it went to, most cases first."""
    groups: dict[str, list[_Move]] = defaultdict(list)
    for outcome in failed:
        move = _move(outcome) if outcome.drift else None
        if move is not None:
            groups[move.to].append(move)
    causes: list[Cause] = []
    right, of = _right(outcomes)
    for to, moves in sorted(groups.items(), key=lambda item: -len(item[1])):
        away = [move for move in moves if move.away]
        values: dict[str, object] = {
            "to": to,
            "now": share_told(fmean(move.now for move in moves)),
            "was": share_told(fmean(move.was for move in moves)),
            "right": f"{right:,}",
            "all": f"{of:,}",
        }
        kind = "to"
        if away:
            left, had = fmean(move.left for move in away), fmean(move.had for move in away)
            names = {move.away for move in away}
            regions = next(iter(names))
            one = len(names) == len(regions) == 1
            what = message(SET_OFF, name=regions[0]) if one else message(NAMED_THINGS)
            values |= {"AWAY": what, "left": share_told(left), "had": share_told(had)}
            verb = "not from" if left < had / 4 else "less from"
            kind = f"to, {verb}" if to else verb
            if len(away) < len(moves):  # never without a region that it went to
                kind = f"{kind} some"
                values["some"] = f"{len(away):,}"
        broken = any(move.outcome.state is State.BROKEN for move in moves)
        lead = not causes and right == of > 0
        causes += _told(
            "drifted",
            take(move.outcome for move in moves),
            values,
            sentence=LOOKS[kind][0 if lead else 1],
            advice="wrong reason" if broken else "drifted",
            tone="bad" if broken else "warn",
        )
    return causes


def share_told(value: float) -> str:
    """A share in per cent.

    >>> share_told(0.5), share_told(0.024), share_told(0.001)
    ('50 %', '2 %', '0.1 %')
    """
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 1 or percent < 0.05 else f"{percent:.1f} %"


def _about_all(outcomes: Sequence[Outcome], suite: Mapping[str, Any]) -> list[Cause]:
    """What only all cases together show."""
    cases, drifted = suite.get("cases", len(outcomes)), len(suite.get("drifted", ()))
    causes: list[Cause] = []
    add = partial(_together, causes)
    # Where most cases moved, the sentences about them have said it.
    if suite.get("failed") and 2 * drifted < cases:
        bad = [s for s in suite.get("shifts", ()) if s.get("verdict") == "worse"]
        bad = bad or [s for s in suite.get("shifts", ()) if s.get("verdict") == "shifted"]
        fallen = [part for part in suite.get("slices", ()) if part.get("failed")]
        if bad:
            add("suite", ", ".join(str(s.get("metric", "")) for s in bad[:_NAMED]))
        elif fallen:
            add("slices", stored(", ".join(str(part["name"]) for part in fallen[:_NAMED])))
        together = suite.get("omnibus") or {}
        if together.get("failed"):
            add("omnibus", "")
        causes += _told("undeclared", list(suite.get("undeclared", ())), tone="warn")
    if suite.get("verdict") == "cannot tell":
        number = suite.get("images", len({o.image_digest for o in outcomes}))
        pictures = plural("{number} picture", "{number} pictures", number)
        sentence = _sentence("too few", PICTURES=pictures)
        causes.append(Cause(sentence, ADVICE["too few"], tone="warn"))
    return causes


def _together(causes: list[Cause], key: str, what: str | Message) -> None:
    causes.append(Cause(_sentence(key, what=what), ADVICE["suite"]))


def _passed(outcomes: Sequence[Outcome]) -> Cause:
    right, of = _right(outcomes)
    key = "same" if any(o.drift for o in outcomes) else "holds"
    variants = [o for o in outcomes if o.variant_of]
    values = {"right": f"{right:,}", "all": f"{of:,}"}
    if variants:
        key += ", variants"
        held = sum(not o.state.failed for o in variants)
        values |= {"held": f"{held:,}", "variants": f"{len(variants):,}"}
    sentence = _sentence(key, **values)
    return Cause(sentence, ADVICE["same"], tone="good")
