"""What follows for each label from the likeliest tokens that a server lists, and no more.

A server lists some tokens with their log-probabilities, never all. An answer that is a listed token
has its probability; one that is not is spelled with several, and has the sum over all spellings of
the products along them. A token that is not listed has at most the probability of the least that
is, and all of them together have what the list lacks to 1. So each label's mass lies between two
bounds, which are equal if nothing is lacking.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Listing = Mapping[bytes, float]
"""The likeliest next tokens by what they spell, each with its probability."""

Tree = Mapping[bytes, Listing]
"""The listings behind each beginning of an answer; the empty one is the answer's first token."""

Answers = Mapping[str, Sequence[bytes]]
"""By label, the answers that mean it."""

_UNLIKELY, _IMPOSSIBLE = math.log(1e-6), -1000.0
"""Log-probabilities that do not matter, and that no model has of its second token."""

_NO_TEXT = "\ufffd".encode()
"""What servers write for a part of a character, if they give no bytes."""

_MOST = 1.01
"""What a list may sum to, since servers compute it in low precision."""


class Bounds(NamedTuple):
    """The least and the most that something can be."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """How much is not known."""
        return self.high - self.low

    @property
    def middle(self) -> float:
        """The value that is off by the least at most."""
        return (self.low + self.high) / 2


@dataclass
class Masses:
    """What is known of each label.

    Attributes:
        by_label: the bounds of the probability of its answers.
        beginnings: beginnings of answers whose next tokens are not known, with their probability.
    """

    by_label: dict[str, Bounds]
    beginnings: dict[bytes, float] = field(default_factory=dict)

    @property
    def probabilities(self) -> dict[str, Bounds]:
        """The bounds of each label's share of the mass of all labels."""
        found = {}
        for label, own in self.by_label.items():
            others = [each for other, each in self.by_label.items() if other != label]
            least, most = (math.fsum(each[n] for each in others) for n in (0, 1))
            low = own.low / (own.low + most) if own.low else 0.0
            high = own.high / (own.high + least) if own.high else 0.0
            found[label] = Bounds(low, high if own.high + least else 1.0)
        return found

    @property
    def width(self) -> float:
        """How far a label's probability may be from what it is told to be, twice."""
        return max(each.width for each in self.probabilities.values())

    @property
    def decided(self) -> str:
        """The likeliest label; empty if the bounds leave another the chance to be likelier."""
        best = max(self.by_label, key=lambda label: self.by_label[label].middle)
        low = self.by_label[best].low
        others = (each.high for label, each in self.by_label.items() if label != best)
        return best if low > 0 and all(high <= low for high in others) else ""


def listing(tokens: Sequence[tuple[bytes, float]]) -> Listing:
    """The listing of tokens and their log-probabilities; tokens that spell the same are one.

    Raises:
        ValueError: they sum to more than 1, one token is there twice, or they are what a
            temperature of 0 leaves of the model's own.
    """
    found: dict[bytes, float] = {}
    for spelled, log in tokens:
        found[spelled] = found.get(spelled, 0.0) + math.exp(min(log, 0.0))
    total = math.fsum(found.values())
    if total > _MOST:
        raise ValueError(f"log-probabilities whose probabilities sum to {total:.3f}")
    # Two tokens may spell the same, but are not as likely to six digits; parts of characters are.
    twice = [
        spelled for (spelled, log), count in Counter(tokens).items()
        if count > 1 and spelled and _NO_TEXT not in spelled and log > _UNLIKELY
    ]  # fmt: skip
    if twice:
        raise ValueError(f"a list that has the token {twice[0].decode(errors='replace')!r} twice")
    logs = sorted(log for _, log in tokens)
    if len(logs) > 1 and logs[-2] < _IMPOSSIBLE:
        raise ValueError(
            "log-probabilities of 0 for one token and nothing for all others: not the model's own, "
            "but what is left of them at temperature 0"
        )
    return found


def difference(one: Listing, other: Listing) -> float:
    """By how much two listings of the same place differ: half the sum of all differences."""
    return math.fsum(abs(one.get(t, 0.0) - other.get(t, 0.0)) for t in {*one, *other}) / 2


def masses(tree: Tree, answers: Answers) -> Masses:
    """The bounds of each label.

    An answer that is one listed token is that token. Only others are looked for along several
    tokens, since a tokenizer does not spell with two what it has one for, and so no model does.

    Raises:
        ValueError: an answer of one label begins, token by token, with one of another.
    """
    low: dict[str, list[float]] = {label: [] for label in answers}
    high: dict[str, list[float]] = {label: [] for label in answers}
    beginnings: dict[bytes, float] = {}
    owner = {answer: label for label, given in answers.items() for answer in given}

    def spread(begun: bytes, probability: float, asked: Sequence[bytes]) -> None:
        tokens = tree[begun]
        rest = max(1.0 - math.fsum(tokens.values()), 0.0)
        least = min(tokens.values())
        missing = []
        for answer in asked:
            found = tokens.get(answer[len(begun) :])
            if found is None:
                missing.append(answer)
            else:
                low[owner[answer]].append(probability * found)
                high[owner[answer]].append(probability * found)
        for token, own in tokens.items():
            longer = begun + token
            through = [answer for answer in missing if token and answer.startswith(longer)]
            if longer in owner:
                mixed = [answer for answer in through if owner[answer] != owner[longer]]
                if mixed:
                    raise ValueError(
                        f"to the model, the answer {mixed[0].decode()!r} of {owner[mixed[0]]!r} "
                        f"begins as the answer {longer.decode()!r} of {owner[longer]!r} does, so "
                        "what it says would count for both"
                    )
            elif through and longer in tree:
                spread(longer, probability * own, through)
            elif through:
                beginnings[longer] = probability * own
                for label in {owner[answer] for answer in through}:
                    high[label].append(probability * own)
        for label in answers:
            sought = [answer for answer in missing if owner[answer] == label]
            ends = {answer[:n] for answer in sought for n in range(len(begun) + 1, len(answer) + 1)}
            unlisted = sum(end[len(begun) :] not in tokens for end in ends)
            high[label].append(probability * min(rest, unlisted * least))

    spread(b"", 1.0, list(owner))
    by_label = {label: Bounds(math.fsum(low[label]), math.fsum(high[label])) for label in answers}
    return Masses(by_label, beginnings)
