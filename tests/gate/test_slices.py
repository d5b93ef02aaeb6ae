"""Slices of a suite: the cases of each tag and expected label."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.base.settings import Limits
from audit.gate.changes import Change
from audit.gate.slices import slices_of
from audit.gate.suite import Judgement, judge_suite


def case(number: int, *tags: str, mass: float = 0.0, expected: str = "yes") -> Change:
    return Change(
        f"c{number}", f"p{number}", False, ("yes", "yes"), (True, True), {"mass": mass},
        {"mass": 0.02}, expected, tags, frozenset({"mass"}),
    )  # fmt: skip


def planted(fallen: float, others: float, cases: int = 60) -> list[Change]:
    """Every fifth case is tagged ``small``; only these move by ``fallen``."""
    scatter = [0.004 * (-1) ** (i // 5) for i in range(cases)]
    return [
        case(i, "small", mass=fallen + scatter[i]) if i % 5 == 0
        else case(i, "large", mass=others + scatter[i])
        for i in range(cases)
    ]  # fmt: skip


def test_there_is_a_slice_for_each_tag_and_expected_label() -> None:
    changes = [case(0, "a", "b"), case(1), case(2, "b"), case(3, "a", expected="no")]
    assert {name: list(rows) for name, rows in slices_of(changes)} == {
        "expected yes": [0, 1, 2], "expected no": [3], "tag a": [0, 3], "tag b": [0, 2],
    }  # fmt: skip


def test_a_slice_that_is_the_whole_suite_or_another_slice_is_not_judged_twice() -> None:
    changes = [case(i, "all", *(["first"] if i < 3 else ["last"])) for i in range(6)]
    changes = [replace(c, expected="yes" if i < 3 else "no") for i, c in enumerate(changes)]
    assert [name for name, _ in slices_of(changes)] == [
        "expected yes, tag first",
        "expected no, tag last",
    ]


def test_a_slice_that_falls_while_the_whole_stands_is_found() -> None:
    """A fifth of the cases moves by 0.8 tolerances, the whole by a fifth of that."""
    suite = judge_suite(planted(-0.016, 0.0), Limits())
    assert [shift.verdict for shift in suite.shifts] == ["steady"]
    assert suite.failed
    assert "tag small (12 cases on 12 pictures): mass moved for the worse by -0.0" in suite.sentence
    small, large = suite.slices
    assert (small.name, small.failed, large.failed) == ("tag small", True, False)
    assert small.largest is not None
    assert small.effect == pytest.approx(0.8)
    assert small.told.startswith(
        "tag small: 12 cases on 12 pictures, labels right 12 before and 12"
    )
    assert not judge_suite(planted(0.0, 0.0), Limits()).failed


def test_labels_lost_in_a_slice_fail_although_others_are_gained() -> None:
    changes = planted(0.0, 0.0, 100)
    for i, change in enumerate(changes):
        if "small" in change.tags:
            changes[i] = replace(change, labels=("yes", "no"), right=(True, False))
        elif i % 5 == 1:
            changes[i] = replace(change, labels=("no", "yes"), right=(False, True))
    suite = judge_suite(changes, Limits())
    assert not suite.labels.worse
    assert suite.failed
    assert "tag small (20 cases on 20 pictures): 20 labels lost, 0 gained (p = " in suite.sentence
    assert suite.slices[0].right == (20, 0)


def test_what_the_whole_suite_shows_is_not_told_again_of_its_slices() -> None:
    suite = judge_suite(planted(-0.03, -0.03), Limits())
    assert all(part.failed for part in suite.slices)
    assert "tag" not in suite.sentence


def test_a_suite_of_one_slice_has_no_slices() -> None:
    suite = judge_suite([case(i, "all") for i in range(9)], Limits())
    assert suite.slices == []
    assert suite.verdict is Judgement.PASSED


def test_a_slice_may_lack_a_metric_that_the_whole_has() -> None:
    changes = planted(0.0, 0.0)
    for i in range(0, 60, 5):
        changes[i] = replace(changes[i], changes={}, tolerances={})
    suite = judge_suite(changes, Limits())
    (empty,) = [part for part in suite.slices if part.name == "tag small"]
    assert empty.largest is None
    assert empty.told.endswith("labels right 12 before and 12 now")


def test_a_slice_of_variants_says_nothing_of_labels_that_none_of_them_has() -> None:
    """A variant may leave open which label is right; what must hold is relative to its case."""
    changes = planted(0.0, 0.0)
    for i in range(0, 60, 5):
        right = (False, False)
        changes[i] = replace(changes[i], expected="", right=right)
    suite = judge_suite(changes, Limits())
    (relative,) = [part for part in suite.slices if part.name == "tag small"]
    assert relative.definite == 0
    assert "labels" not in relative.told
    changes[0] = replace(changes[0], expected="yes", right=(True, True))
    (mixed,) = [p for p in judge_suite(changes, Limits()).slices if p.name == "tag small"]
    assert "labels right 1 before and 1 now (of 1)" in mixed.told
