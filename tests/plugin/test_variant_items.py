"""Variants of cases are pytest items of their own."""

from __future__ import annotations

import json

import pytest

VARIED = """\
cases:
  - id: birds
    image: images/a.png
    text: there are two birds
    tags: [guide]
    expect: {label: yes}
    variants:
      - {mirror: true}
      - {paraphrase: the birds are hungry, name: hungry}
      - {blank: true, label: other, xfail: the toy does not look}
  - {id: no-cat, image: images/a.png, text: a cat is sleeping, expect: {label: no}}
"""


@pytest.fixture
def varied(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with variants, one of which does not hold and one of which is known to fail."""
    for path in (project.path / "cases").glob("*.yaml"):
        path.unlink()
    (project.path / "cases" / "varied.yaml").write_text(VARIED)
    monkeypatch.setenv("TOY_LOG", str(project.path / "asked"))
    project.runpytest("cases", "--audit-update=new").assert_outcomes(passed=3, failed=1, xfailed=1)
    (project.path / "asked").unlink()
    return project


def asked(project: pytest.Pytester) -> int:
    return sum(map(int, (project.path / "asked").read_text().split()))


def test_variants_are_listed_after_their_case(varied: pytest.Pytester) -> None:
    listed = varied.runpytest("cases", "--collect-only", "-q").stdout.lines
    assert listed[:5] == [
        "cases/varied.yaml::birds", "cases/varied.yaml::birds[mirror]",
        "cases/varied.yaml::birds[hungry]", "cases/varied.yaml::birds[blank]",
        "cases/varied.yaml::no-cat",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected", "questions"),
    [
        (["cases"], {"passed": 3, "failed": 1, "xfailed": 1}, 5),
        (["cases/varied.yaml::birds[mirror]"], {"passed": 1}, 2),
        # As with pytest's parameters, the plain name means all of them.
        (["cases/varied.yaml::birds"], {"passed": 2, "failed": 1, "xfailed": 1}, 4),
        (["cases", "-k", "mirror"], {"passed": 1, "deselected": 4}, 2),
        (["cases", "-k", "birds and not blank"], {"passed": 2, "failed": 1, "deselected": 2}, 3),
        (["cases", "-m", "variant"], {"passed": 1, "failed": 1, "xfailed": 1, "deselected": 2}, 4),
        (["cases", "-m", "paraphrase", "--strict-markers"], {"failed": 1, "deselected": 4}, 2),
        (["cases", "-m", "not variant"], {"passed": 2, "deselected": 3}, 2),
        (
            ["cases", "-m", "guide"],
            {"passed": 2, "failed": 1, "xfailed": 1, "deselected": 1},
            4,
        ),
        (["cases", "--lf"], {"failed": 1}, 2),
        (["cases", "-k", "mirror or hungry", "--audit-batch-size=1"],
         {"passed": 1, "failed": 1, "deselected": 3}, 3),
        (["cases", "-n1"], {"passed": 3, "failed": 1, "xfailed": 1}, None),
    ],
)  # fmt: skip
def test_variants_are_selected_like_any_item_and_no_question_is_asked_twice(
    varied: pytest.Pytester, arguments: list[str], expected: dict[str, int], questions: int | None
) -> None:
    varied.runpytest(*arguments).assert_outcomes(**expected)
    if questions is not None:
        assert asked(varied) == questions


def test_a_relation_that_does_not_hold_is_told_in_a_sentence_and_a_table(
    varied: pytest.Pytester,
) -> None:
    found = varied.runpytest("cases", "-k", "hungry")
    found.stdout.fnmatch_lines(
        [
            "*contract broken: the label is maybe, and must be yes, as for the case",
            "cases/varied.yaml:9: 'the birds are hungry'",
            "label*maybe (0.9)*yes, as for the case*FAILED",
            "labels: of variants 0 of 1 as they must be",
        ]
    )


def test_results_and_junit_name_variants_and_their_case(varied: pytest.Pytester) -> None:
    varied.runpytest("cases", "--junitxml=junit.xml", "-o", "junit_family=xunit1")
    results = json.loads((varied.path / "run" / "results.json").read_text())
    found = {o["case"]: (o["variant_of"], o["made"], o["expected"]) for o in results["outcomes"]}
    assert found == {
        "birds": ("", "", "yes"),
        "birds[mirror]": ("birds", "mirror", "yes"),
        "birds[hungry]": ("birds", "paraphrase the birds are hungry", "yes"),
        "birds[blank]": ("birds", "blank", ""),
        "no-cat": ("", "", "no"),
    }
    assert 'name="birds[mirror]"' in (varied.path / "junit.xml").read_text()
    assert {path.name for path in (varied.path / "baselines").glob("*.json")} == {
        "birds.json", "birds+mirror.json", "birds+hungry.json", "birds+blank.json", "no-cat.json",
    }  # fmt: skip


def test_a_changed_case_makes_its_variants_stale(varied: pytest.Pytester) -> None:
    path = varied.path / "cases" / "varied.yaml"
    path.write_text(path.read_text().replace("there are two birds", "there are three birds"))
    found = varied.runpytest("cases", "-k", "birds and not hungry and not blank")
    found.assert_outcomes(failed=2, deselected=3)
    assert found.stdout.str().count("stale: the case is not the one its baseline was") == 2
    changed = varied.runpytest("cases", "--audit-update=changed", "-m", "mirror")
    changed.assert_outcomes(passed=1, deselected=4)
    varied.runpytest("cases", "-m", "mirror").assert_outcomes(passed=1, deselected=4)


def test_names_with_capitals_and_underscores_are_collected(project: pytest.Pytester) -> None:
    (project.path / "cases" / "others.yaml").write_text(
        "cases:\n  - {id: Two_Birds, image: images/a.png, text: birds, expect: {label: yes},\n"
        "     variants: [{mirror: true}]}\n"
    )
    found = project.runpytest("cases/others.yaml", "--audit-update=new")
    found.assert_outcomes(passed=2)
