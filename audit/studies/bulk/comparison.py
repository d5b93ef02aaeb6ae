"""Compares two bulk folders: every pair of rows counts, and few are kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from audit.base.errors import BulkError
from audit.base.files import counted, shown_path
from audit.base.settings import Limits
from audit.bulk.format import ACCOUNT, KEPT, Batches, BulkFolder, BulkRecord
from audit.gate.stack import are_unseen, differences, same_weights
from audit.gate.suite import Cases, Judgement, Part, Suite, judge_parts
from audit.studies.bulk.choosing import Chosen, Shown, shown_of
from audit.studies.bulk.measured import (
    Metrics,
    Slicing,
    count_flips,
    metrics_of,
    rights_of,
    same_kept,
    slicings_of,
)
from audit.studies.bulk.pairing import LeftOut, Pairs, hashed, paired, parts_for, split
from audit.studies.bulk.sums import Piece, Running

_OF_ROWS = ("id", "asked", "picture", "picture.digest", "expected", "label", "tags")
_NAMED = 20  # ids of flipped rows


@dataclass(frozen=True)
class Wanted:
    """What is shown and how rows are sliced.

    Attributes:
        worst, sample: how many pairs are shown.
        slices: the kept columns to slice by; those with few values if empty.
    """

    worst: int = 50
    sample: int = 20
    seed: int = 0
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class BulkComparison:
    """Both sides, the verdict over all pairs, and the pairs that are shown.

    Attributes:
        titles: the folders.
        flips: how many labels changed, by the label before and after.
        left_out: rows that are not compared.
        unsliced: columns with too many values for slices.
        worst, sample: the pairs that got worst, and a sample of all.
    """

    titles: tuple[str, str]
    records: tuple[BulkRecord, BulkRecord]
    batches: tuple[Batches | None, Batches | None]
    metrics: Metrics
    suite: Suite
    flips: dict[tuple[str, str], int]
    left_out: LeftOut
    unsliced: list[str]
    worst: list[Shown]
    sample: list[Shown]
    stated: bool = False

    @property
    def origins(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where the answers of both sides come from."""
        before, after = (
            {"model": record.model.model_dump(), "stack": record.stack} for record in self.records
        )
        return before, after

    @property
    def same(self) -> bool:
        """Whether both sides are of the same weights, or are said to be."""
        before, after = self.origins
        return self.stated or same_weights(after, before)

    @property
    def failed(self) -> bool:
        """Whether the second side is worse or changed, or nobody can tell and labels were lost."""
        unsure = self.suite.verdict is Judgement.UNSURE and self.suite.labels.lost > 0
        return self.suite.failed or unsure

    @property
    def headline(self) -> str:
        """The verdict in a word or two."""
        if self.suite.failed:
            if self.same:
                return "moved by the stack"
            return "worse" if self.suite.worse else "changed"
        if self.suite.verdict is Judgement.UNSURE:
            return Judgement.UNSURE.value
        return "changed, not clearly worse" if self.flips else "no regression"

    @property
    def sentence(self) -> str:
        """The verdict over all pairs, and what differs if the weights are the same."""
        before, after = self.origins
        told = [self.suite.sentence]
        if self.same:
            how = "said to be " if self.stated else ""
            told.append(f"the weights are {how}the same; {differences(after, before)}")
        elif are_unseen(before) or are_unseen(after):
            told.append(
                "whether the weights behind a server are the same cannot be seen: if you know "
                "that they are, --same-weights says so"
            )
        if self.metrics.note:
            told.append(self.metrics.note)
        return "; ".join(told)

    @property
    def noise(self) -> list[str]:
        """What other rows in a batch do to answers, as each side measured it."""
        return [
            f"{title}: of {counted(each.rows, 'row')} asked alone and in a batch, "
            f"{counted(each.flipped, 'label')} differed"
            + (
                f", probabilities by up to {each.moved['probability']:.2g}"
                if "probability" in each.moved
                else ""
            )
            for title, each in zip(self.titles, self.batches, strict=True)
            if each is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "before": self.titles[0],
            "after": self.titles[1],
            "headline": self.headline,
            "sentence": self.sentence,
            "weights": "same" if self.same else "other",
            "pairs": self.suite.cases,
            "flips": [
                {"before": was, "after": now, "rows": rows}
                for (was, now), rows in sorted(self.flips.items())
            ],
            "left_out": {
                reason: {"rows": rows, "some": self.left_out.ids[reason]}
                for reason, rows in self.left_out.counts.items()
            },
            "without_slices": self.unsliced,
            "noise_of_batches": self.noise,
            "suite": self.suite.to_dict(),
            "worst": [shown.after["id"] for shown in self.worst],
            "sample": [shown.after["id"] for shown in self.sample],
        }


def compare_bulk(
    folders: tuple[Path, Path],
    limits: Limits,
    wanted: Wanted,
    work: Path,
    *,
    stated: bool = False,
) -> BulkComparison:
    """Compare the rows that both folders have, by id; memory does not grow with them.

    Args:
        work: a folder for the parts into which both sides are split, removed as they are done.
        stated: whether weights that nobody can see, behind a server, are those of the other side.

    Raises:
        BulkError: a folder cannot be read, its audit did not end, or no row is in both; or a
            column to slice by is not there.
    """
    sides = (BulkFolder(folders[0]), BulkFolder(folders[1]))
    records = (sides[0].record(), sides[1].record())
    batches = (sides[0].batches(), sides[1].batches())
    accounts = [side.account() for side in sides]
    titles = (str(folders[0]), str(folders[1]))
    metrics = metrics_of(*records, batches)
    slicings, unsliced = slicings_of(sides[1], same_kept(*records), wanted.slices)
    kept = [slicing.column for slicing in slicings if slicing.column.startswith(KEPT)]
    parts = parts_for(max(account.written + account.failed for account in accounts))
    places = (work / "before", work / "after")
    for side, account, place in zip(sides, accounts, places, strict=True):
        there = split(side, [*_OF_ROWS, *metrics.read, *kept], parts, place)
        if there != (told := account.written + account.failed):
            raise BulkError(
                f"{shown_path(side.folder)}: {counted(there, 'row')} in its files, but "
                f"{ACCOUNT} tells of {told:,}: run `audit bulk` again, it continues"
            )
    found = _Found(metrics, slicings, wanted)
    left_out = LeftOut()
    for pairs in paired(places, parts, titles, left_out):
        found.add(pairs)
    if not found.whole.rows[0]:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in left_out.counts.items())
        raise BulkError(f"{titles[0]} and {titles[1]} share no row that can be compared: {reasons}")
    ids = list(dict.fromkeys([*found.chosen.worst.ids, *found.chosen.sample.ids]))
    columns = [*_OF_ROWS, "text", "premise", *metrics.read]
    shown = shown_of(sides, ids, columns)
    return BulkComparison(
        titles, records, batches, metrics, found.suite(limits), dict(found.flips), left_out,
        unsliced, [shown[name] for name in found.chosen.worst.ids],
        [shown[name] for name in found.chosen.sample.ids], stated,
    )  # fmt: skip


class _Found:
    """What all pairs come to so far."""

    def __init__(self, metrics: Metrics, slicings: Sequence[Slicing], wanted: Wanted) -> None:
        self.metrics, self.slicings = metrics, slicings
        self.whole = Running(1, metrics.columns)
        self.slices = [Running(len(each.values), metrics.columns) for each in slicings]
        self.flips: Counter[tuple[str, str]] = Counter()
        self.cases = Cases([], [], {})
        self.chosen = Chosen(wanted.worst, wanted.sample, wanted.seed)

    def add(self, pairs: Pairs) -> None:
        before, after = pairs
        if not before.num_rows:
            return
        right, definite = rights_of(before, after)
        pictures = pc.index_in(after["picture"], value_set=pc.unique(after["picture"]))
        marks = hashed(after["id"])
        changes = self.metrics.changes(before, after)
        piece = Piece(pictures.to_numpy().astype(np.int64), changes, right, definite, marks)
        self.whole.add(piece, np.zeros(before.num_rows, dtype=np.int64))
        for slicing, running in zip(self.slicings, self.slices, strict=True):
            rows, codes = slicing.codes(after)
            running.add(piece.of(rows), codes)
        self.flips.update(count_flips(before, after))
        self._name(pairs, right)
        lost = right[:, 0].astype(np.float64) - right[:, 1]
        # Lost labels first, then the largest fall of the expected label's probability.
        self.chosen.see(after["id"], 2 * lost - np.nan_to_num(changes[:, 0]), marks)

    def _name(self, pairs: Pairs, right: Any) -> None:
        """Keep the first of the rows whose label changed."""
        lost, gained = right[:, 0] & ~right[:, 1], ~right[:, 0] & right[:, 1]
        for chosen, names in ((lost, self.cases.lost), (gained, self.cases.gained)):
            some = np.flatnonzero(chosen)[: _NAMED - len(names)]
            names.extend(pairs.after["id"].take(some).to_pylist())
        left = _NAMED - len(self.cases.flipped)
        flipped = pc.not_equal(pairs.before["label"], pairs.after["label"]).to_numpy()
        for row in np.flatnonzero(flipped)[:left].tolist():
            labels = pairs.before["label"][row].as_py(), pairs.after["label"][row].as_py()
            self.cases.flipped[pairs.after["id"][row].as_py()] = labels

    def suite(self, limits: Limits) -> Suite:
        """The verdict over all pairs."""
        (whole,) = self.whole.parts([""], self.whole.measured)
        return judge_parts(whole, self._slices(), self.cases, limits, noun="row")

    def _slices(self) -> list[Part]:
        """Every slice that is not the whole; those with the same rows are one."""
        merged: dict[tuple[int, int], list[Part]] = defaultdict(list)
        for slicing, running in zip(self.slicings, self.slices, strict=True):
            parts = running.parts(slicing.names, self.whole.measured)
            for part, mark in zip(parts, running.marks.tolist(), strict=True):
                if 0 < part.cases < int(self.whole.rows[0]):
                    merged[part.cases, mark].append(part)
        return [Part(", ".join(p.name for p in same), *_rest(same[0])) for same in merged.values()]


def _rest(part: Part) -> tuple[Any, ...]:
    return part.cases, part.right, part.definite, part.lost, part.gained, part.sums
