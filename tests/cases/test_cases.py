"""Case files: what they may say, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from audit.base import yamlfile
from audit.base.errors import CaseError
from audit.base.geometry import Box
from audit.base.images import open_image
from audit.cases.expectations import judge
from audit.cases.loading import Case, Pictures, check_labels, check_unique, load_cases
from audit.cases.schema import schema
from audit.metrics.registry import METRICS

PLAIN = """\
cases:
  - id: birds
    image: a.png
    text: there are two birds
    regions: {birds: [[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]}
    expect:
      label: yes
      probability: {min: 0.6}
      attention:
        - {metric: mass, region: birds, min: 0.4}
        - {metric: entropy, max: 0.9, map: {layers: "last:2", heads: [1, 3]}}
"""

OPTIONS = """\
cases:
  - id: birds
    image: a.png
    text: there are two birds
    regions: {birds: [[0.1, 0.2, 0.3, 0.4]]}
    map: {layers: last}
    expect:
      label: yes
      attention:
        - {metric: pointing, region: birds, min: 1, tolerance: 1}
        - {metric: iou, region: birds, min: 0.2, threshold: mass:0.50}
        - {metric: focus_area, max: 0.5, share: 0.8, map: {method: relevance}}
        - {metric: js, min: 0.1, against: {method: blank, layers: last}}
        - {metric: pointing, region: birds, min: 1, tolerance: 0}
        - {metric: deletion_margin, min: 0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (80, 40)).save(tmp_path / "a.png")
    return tmp_path


def load(folder: Path, text: str, pictures: Pictures | None = None) -> list[Case]:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_cases(path, pictures)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(CaseError) as caught:
        load(folder, text)
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_a_case_is_read_with_yaml_1_2_booleans_and_both_units_of_boxes(folder: Path) -> None:
    (case,) = load(folder, PLAIN)
    assert case.expect.label == "yes"
    assert case.regions["birds"] == (Box(0.1, 0.2, 0.3, 0.4), Box(0.25, 0.25, 0.5, 0.75))
    assert (case.line, case.label_at) == (2, (7, 14))
    assert [m.key for m in case.maps] == [
        "cross_attention",
        "cross_attention layers=last:2 heads=1,3",
    ]


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "N"])
def test_words_that_yaml_1_1_takes_for_booleans_stay_texts(folder: Path, word: str) -> None:
    (case,) = load(folder, PLAIN.replace("label: yes", f"label: {word}"))
    assert case.expect.label == word


def test_defaults_are_used_by_cases_that_say_nothing_themselves(folder: Path) -> None:
    defaults = "defaults: {map: {layers: last}, tags: [guide], drift: {mass: 0.1, gini: 0.2}}\n"
    (case,) = load(folder, defaults + PLAIN + "    tags: [own]\n    drift: {mass: 0.3}\n")
    assert case.map.layers == "last"
    assert case.tags == ("guide", "own")
    assert case.drift == {"mass": 0.3, "gini": 0.2}


REFUSED = [
    ("metric: entropy", "metrik: entropy", "x.yaml:11:12: cases[0].expect.attention[1].metrik: unknown key; did you mean 'metric'?"),
    ("text:", "txt:", "x.yaml:4:5: cases[0].txt: unknown key; did you mean 'text'?"),
    ("label: yes", "lable: yes", "x.yaml:6:5: cases[0].expect.label: this key is required"),
    ("metric: mass", "metric: mas", "x.yaml:10:12: cases[0].expect.attention[0].metric: 'mas' is not a metric; did you mean 'mass'?"),
    ("region: birds", "region: bird", "x.yaml:10:26: cases[0].expect.attention[0].region: 'bird' is not a region of this case; did you mean 'birds'?"),
    ("region: birds, ", "", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'mass' needs a region"),
    ("metric: entropy,", "metric: entropy, region: birds,", "x.yaml:11:11: cases[0].expect.attention[1]: the metric 'entropy' takes no region"),
    ("min: 0.4", "min: 1.4", "x.yaml:10:11: cases[0].expect.attention[0]: min 1.4 can never pass: mass is at most 1"),
    ("min: 0.4", "min: 0.4, max: 0.3", "x.yaml:10:11: cases[0].expect.attention[0]: min 0.4 is greater than max 0.3: nothing can pass"),
    (", min: 0.4", "", "x.yaml:10:11: cases[0].expect.attention[0]: give min, max or both"),
    ("min: 0.4", "min: .nan", "x.yaml:10:41: cases[0].expect.attention[0].min: Input should be a finite number"),
    ("0.3, 0.4]", "1.3, 0.4]", "x.yaml:5:23: cases[0].regions.birds[0]: the box [0.1, 0.2, 1.3, 0.4] lies outside the image: fractions are between 0.0 and 1.0"),
    ("40, 30]", "90, 30]", "x.yaml:5:45: cases[0].regions.birds[1]: the box [20, 10, 90, 30] lies outside the image of 80 x 40 pixels"),
    ("20, 10, 40, 30", "0, 0, 1, 1", "x.yaml:5:45: cases[0].regions.birds[1]: the box [0, 0, 1, 1] is ambiguous: write 0.0 and 1.0 for fractions of the image"),
    ("20, 10, 40, 30", "0.2, 10, 40, 30", "x.yaml:5:45: cases[0].regions.birds[1]: the box [0.2, 10, 40, 30] mixes pixels (integers) and fractions (decimals); use one"),
    ("last:2", "lst", "x.yaml:11:45: cases[0].expect.attention[1].map.layers: not a choice of layers: all, last, last:N, or a list of distinct numbers from 1"),
    ("[1, 3]", "[0]", "x.yaml:11:63: cases[0].expect.attention[1].map.heads: not a choice of heads: mean, max, weighted, or a list of distinct numbers from 1"),
    ("entropy,", "entropy, tolerance: 1,", "x.yaml:11:11: cases[0].expect.attention[1]: the metric 'entropy' takes no 'tolerance'; it takes min, max, map"),
    ("metric: mass", "metric: mass, tolerance: 0", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'mass' takes no 'tolerance'; it takes region, min, max, map"),
    ("metric: mass", "metric: iou, share: 0.5", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'iou' takes no 'share'; it takes region, threshold, min, max, map"),
    ("metric: mass", "metric: mass, against: {method: blank}", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'mass' takes no 'against'; it takes region, min, max, map"),
    ("metric: entropy", "metric: js", "x.yaml:11:11: cases[0].expect.attention[1]: the metric 'js' needs a map to compare with: against: {method: ...}"),
    ("metric: entropy", "metric: js, against: blnk", "x.yaml:11:24: cases[0].expect.attention[1].against: a map is written as {method: NAME}; did you mean 'blank'?"),
    ("metric: entropy", "metric: js, against: {method: blnk}", "x.yaml:11:34: cases[0].expect.attention[1].against.method: 'blnk' is not known; did you mean 'blank'?"),
    ("metric: entropy", "metric: js, against: {methd: blank}", "x.yaml:11:34: cases[0].expect.attention[1].against.methd: unknown key; did you mean 'method'?"),
    ("metric: entropy", "metric: js, against: {method: blank, word: birds}", "x.yaml:11:24: cases[0].expect.attention[1].against: the method blank takes no 'word'; it takes layers, heads, temperature, smooth"),
    ("metric: entropy", "metric: js, against: {layers: last:2, heads: [1, 3]}", "x.yaml:11:24: cases[0].expect.attention[1].against: this is the measured map itself; compare it with another"),
    ("max: 0.9", "max: 0.9, agains: {method: blank}", "x.yaml:11:39: cases[0].expect.attention[1].agains: unknown key; did you mean 'against'?"),
    ("metric: mass", "metric: pointing, tolerance: 1.5", "x.yaml:10:30: cases[0].expect.attention[0].tolerance: not a tolerance: a whole number of cells, from 0"),
    ("metric: mass", "metric: pointing, tolerance: -1", "x.yaml:10:30: cases[0].expect.attention[0].tolerance: not a tolerance: a whole number of cells, from 0"),
    ("metric: mass", "metric: pointing, tolerance: true", "x.yaml:10:30: cases[0].expect.attention[0].tolerance: not a tolerance: a whole number of cells, from 0"),
    ("metric: mass", "metric: iou, threshold: quantil:0.9", "x.yaml:10:25: cases[0].expect.attention[0].threshold: 'quantil:0.9' is not a threshold: write a rule and a number between 0 and 1, as in mass:0.5; did you mean 'quantile'?"),
    ("metric: mass", "metric: iou, threshold: 0.5", "x.yaml:10:25: cases[0].expect.attention[0].threshold: '0.5' is not a threshold: write a rule and a number between 0 and 1, as in mass:0.5; choose from: mass, max_share, quantile"),
    ("metric: mass", "metric: iou, threshold: max_share:1.0", "x.yaml:10:25: cases[0].expect.attention[0].threshold: 'max_share:1.0' is not a threshold: write a rule and a number between 0 and 1, as in max_share:0.5"),
    ("metric: entropy", "metric: focus_area, share: 80", "x.yaml:11:32: cases[0].expect.attention[1].share: not a share: a number between 0 and 1, and neither of them"),
    ("metric: entropy, max: 0.9", "metric: deletion_margin, min: 1.5", "x.yaml:11:11: cases[0].expect.attention[1]: min 1.5 can never pass: deletion_margin is at most 1"),
    ("metric: entropy, max: 0.9", "metric: pearson, against: {method: blank}, max: -1.5", "x.yaml:11:11: cases[0].expect.attention[1]: max -1.5 can never pass: pearson is at least -1"),
    ("{layers: \"last:2\", heads: [1, 3]}", "{method: encoder_attention}", "x.yaml:11:39: cases[0].expect.attention[1].map: the method encoder_attention needs a word of the hypothesis"),
    ("{layers: \"last:2\", heads: [1, 3]}", "{method: rollout, residual: 2}", "x.yaml:11:62: cases[0].expect.attention[1].map.residual: not a share of the residual connection: measured, or a number from 0 to 1"),
    ("{layers: \"last:2\", heads: [1, 3]}", "relevanc", "x.yaml:11:39: cases[0].expect.attention[1].map: a map is written as {method: NAME}; did you mean 'relevance'?"),
    ("{birds: [[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]}", "{birds: [[1, 1, 9, 9]], heads: [[a, 1, 9, 9]]}", "x.yaml:5:47: cases[0].regions.heads[0][0]: Input should be a valid integer"),
    ("map: {layers: \"last:2\", heads: [1, 3]}", "map: {method: encoder_attention, word: bird}", "x.yaml:11:72: cases[0].expect.attention[1].map.word: 'bird' is not in the text; did you mean 'birds'?"),
    ("text: there are two birds", "text: [a]", "x.yaml:4:5: cases[0].text: text is needed here; put it in quotes if it looks like something else"),
    ("      label: yes", "      label: true", "x.yaml:7:7: cases[0].expect.label: text is needed here; put it in quotes if it looks like something else"),
    ("id: birds", "id: a/b", "x.yaml:2:5: cases[0].id: an id has letters, digits, '.', '_' and '-', and begins with a letter or digit"),
    ("id: birds", "id: birds\n    id: cats", "x.yaml:3:5: not YAML: the key 'id' occurs twice (first in line 2)"),
    ("label: yes", "label: [yes", "x.yaml:8:18: not YAML: expected ',' or ']', but got ':'"),
]  # fmt: skip


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 200_000])
def test_endless_nesting_is_an_error_and_not_the_end_of_the_process(
    folder: Path, text: str
) -> None:
    (problem,) = problems(folder, text)
    assert "not YAML: maximum recursion depth exceeded" in problem


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.none() | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXTS.filter(bool), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_VALUES, st.booleans())
def test_both_parsers_read_the_same_values_at_the_same_places(value: object, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    python, native = (
        yamlfile._parsed(Path("x.yaml"), loader(text))
        for loader in (yamlfile._Loader, yamlfile._FastLoader)
    )
    assert native == python


def test_the_shipped_case_files_have_the_same_places_in_both_parsers() -> None:
    for path in (Path(__file__).parents[2] / "cases").glob("*.yaml"):
        text = path.read_text()
        native = yamlfile._parsed(path, yamlfile._FastLoader(text))
        assert native == yamlfile._parsed(path, yamlfile._Loader(text))


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
def test_a_mistake_is_told_with_file_line_column_key_and_the_nearest_choice(
    folder: Path, old: str, new: str, said: str
) -> None:
    assert old in PLAIN
    assert said in problems(folder, PLAIN.replace(old, new, 1))


def test_options_name_the_figure_and_the_maps_that_are_needed(folder: Path) -> None:
    (case,) = load(folder, OPTIONS)
    assert [e.key for e in case.expect.attention] == [
        "pointing[birds] tolerance=1",
        "iou[birds] threshold=mass:0.5",
        "focus_area share=0.8",
        "js against=(blank layers=last)",
        "pointing[birds]",
        "deletion_margin",
    ]
    assert [e.options for e in case.expect.attention[:4]] == [
        {"tolerance": 1},
        {"threshold": "mass:0.5"},
        {"share": 0.8},
        {},
    ]
    assert [e.on_request for e in case.expect.attention] == [True, True, True, True, False, True]
    assert [m.key for m in case.maps] == [
        "cross_attention layers=last",
        "relevance",
        "blank layers=last",
    ]


def test_a_verdict_says_which_options_it_is_about(folder: Path) -> None:
    (case,) = load(folder, OPTIONS)
    own, other = case.map.key, "relevance"
    values = {own: {e.key: 0.4 for e in case.expect.attention}, other: {"focus_area share=0.8": 1}}
    values[own]["pointing[birds]"] = "the region is empty"
    verdicts = judge(case.expect, "yes", {"yes": 1.0}, case.map, values)
    assert [(v.expectation, v.passed) for v in verdicts[1:]] == [
        ("pointing of birds (tolerance 1)", False),
        ("iou of birds (threshold mass:0.5)", True),
        ("focus_area (share 0.8) (relevance)", False),
        ("js against blank layers=last", True),
        ("pointing of birds", False),
        ("deletion_margin", True),
    ]
    assert verdicts[5].reason == "pointing of birds is undefined: the region is empty"


def test_a_missing_picture_names_the_nearest_one(folder: Path) -> None:
    (line,) = problems(folder, PLAIN.replace("a.png", "aa.png"))
    assert line.startswith("x.yaml:3:5: cases[0].image: ")
    assert line.endswith("aa.png: no such picture; did you mean 'a.png'?")


def test_all_problems_of_a_file_are_told_at_once(folder: Path) -> None:
    text = PLAIN.replace("region: birds", "region: x").replace("a.png", "b.png")
    assert [line.split(": ")[1] for line in problems(folder, text)] == [
        "cases[0].image",
        "cases[0].expect.attention[0].region",
    ]


def test_a_case_that_cannot_be_read_hides_no_mistake_of_another(folder: Path) -> None:
    broken = PLAIN.replace("label: yes", "lable: yes")
    other = PLAIN.removeprefix("cases:\n").replace("id: birds", "id: b").replace("a.png", "b.png")
    assert [line.split(": ")[1] for line in problems(folder, broken + other)] == [
        "cases[0].expect.label",
        "cases[0].expect.lable",
        "cases[1].image",
    ]
    both = problems(folder, "defaults: {tags: 1}\n" + PLAIN.replace("a.png", "b.png"))
    assert [line.split(": ")[1] for line in both] == ["defaults.tags"]


def test_ids_that_differ_only_in_case_or_punctuation_are_refused(folder: Path) -> None:
    again = PLAIN.removeprefix("cases:\n").replace("id: birds", "id: Birds")
    assert "x.yaml:12:5: cases[1].id: the id 'Birds' occurs twice (first in line 2)" in problems(
        folder, PLAIN + again
    )
    (one,) = load(folder, PLAIN)
    other = folder / "y.yaml"
    other.write_text(PLAIN.replace("id: birds", "id: BIRDS"))
    with pytest.raises(
        CaseError, match=r"y\.yaml:2: the id 'BIRDS' occurs twice, as 'birds' in .*x"
    ):
        check_unique([one, *load_cases(other)])


def test_ids_of_earlier_files_are_remembered_from_call_to_call(folder: Path) -> None:
    seen: dict[str, Case] = {}
    check_unique(load(folder, PLAIN), seen)
    check_unique(load(folder, PLAIN.replace("id: birds", "id: cats")), seen)
    other = folder / "y.yaml"
    other.write_text(PLAIN)
    with pytest.raises(CaseError, match=r"y\.yaml:2: the id 'birds' occurs twice"):
        check_unique(load_cases(other), seen)


def test_a_picture_of_several_files_is_opened_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counting(path: Path) -> Image.Image:
        opened.append(path.name)
        return open_image(path)

    monkeypatch.setattr("audit.cases.loading.open_image", counting)
    pictures: Pictures = {}
    (first,) = load(folder, PLAIN, pictures)
    (second,) = load(folder, PLAIN, pictures)
    assert opened == ["a.png"]
    assert (first.image_size, first.digest) == (second.image_size, second.digest)


def test_labels_are_checked_against_the_models(folder: Path) -> None:
    cases = load(folder, PLAIN.replace("label: yes", "label: yess"))
    with pytest.raises(
        CaseError, match=r"x\.yaml:7:14: expect\.label: .*'yess'; did you mean 'yes'"
    ):
        check_labels(cases, ("no", "yes", "maybe"))
    check_labels(load(folder, PLAIN), ("no", "yes", "maybe"))


def test_files_that_are_no_cases_are_refused(folder: Path) -> None:
    assert problems(folder, "")[0].startswith("x.yaml:1:1: the file is empty")
    path = folder / "x.yaml"
    path.write_bytes(b"cases: \xff")
    with pytest.raises(CaseError, match="not UTF-8"):
        load_cases(path)
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n"
        for p, n in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert problems(folder, bomb)[0].endswith("aliases expand without end")
    assert problems(folder, "a: !!python/object/apply:os.system [ls]")


def test_the_digest_changes_with_what_is_asked_and_not_with_limits(folder: Path) -> None:
    def digest(text: str) -> str:
        return load(folder, text)[0].digest

    base = digest(PLAIN)
    for old, new in (("two birds", "birds"), ("0.1, 0.2", "0.1, 0.1"), ("last:2", "last:1")):
        assert digest(PLAIN.replace(old, new)) != base
    assert digest(PLAIN + "    premise: there are birds\n") != base
    assert digest(PLAIN.replace("metric: mass", "metric: rank")) == base
    assert digest(PLAIN.replace("metric: mass", "metric: pointing, tolerance: 1")) != base
    assert digest(PLAIN.replace("metric: mass, region: birds", "metric: deletion")) != base
    moved = OPTIONS.replace("min: 0.2", "min: 0.3"), OPTIONS.replace("tolerance: 1", "tolerance: 2")
    assert [digest(text) == digest(OPTIONS) for text in moved] == [True, False]
    assert digest(PLAIN.replace("min: 0.4", "min: 0.5") + "    tags: [a]\n") == base
    Image.new("RGB", (80, 40), "red").save(folder / "a.png")
    assert digest(PLAIN) != base


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.one_of(st.text(), st.text(alphabet="cases:- id{}[]&*!\n\"'0.9")))
def test_any_text_gives_cases_or_a_case_error(folder: Path, text: str) -> None:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    said, found = str(path), None
    try:
        found = load_cases(path)
    except CaseError as error:
        said = str(error)
    assert found or found is None
    assert str(path) in said


def test_the_schema_describes_every_key() -> None:
    whole = schema()
    for name, definition in {**whole["$defs"], "file": whole}.items():
        for key, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"


@pytest.mark.parametrize("text", [PLAIN, OPTIONS])
def test_the_schema_is_valid_and_accepts_what_loads(text: str) -> None:
    Draft202012Validator.check_schema(schema())
    written = yaml.safe_load(text.replace("label: yes", "label: 'yes'"))
    assert list(Draft202012Validator(schema()).iter_errors(written)) == []


@pytest.mark.parametrize(
    ("expectation", "valid"),
    [
        ({"metric": "mass", "region": "a"}, True),
        ({"metric": "mas", "region": "a"}, False),
        ({"metric": "mass"}, False),
        ({"metric": "entropy", "region": "a"}, False),
        ({"metric": "entropy", "tolerance": 1}, False),
        ({"metric": "pointing", "region": "a", "tolerance": 1}, True),
        ({"metric": "pointing", "region": "a", "tolerance": -1}, False),
        ({"metric": "iou", "region": "a", "threshold": "quantile:0.9"}, True),
        ({"metric": "iou", "region": "a", "threshold": "quantile:1.0"}, False),
        ({"metric": "focus_area", "share": 0.8}, True),
        ({"metric": "focus_area", "share": 1}, False),
        ({"metric": "js"}, False),
        ({"metric": "js", "against": {"method": "blank"}}, True),
        ({"metric": "mass", "region": "a", "against": {"method": "blank"}}, False),
    ],
)
def test_the_schema_knows_what_each_metric_takes_as_the_loader_does(
    folder: Path, expectation: dict, valid: bool
) -> None:
    case = {
        "id": "a",
        "image": "a.png",
        "text": "birds",
        "regions": {"a": [[1, 1, 9, 9]]},
        "expect": {"label": "yes", "attention": [{"min": 0.5, **expectation}]},
    }
    assert Draft202012Validator(schema()).is_valid({"cases": [case]}) == valid
    if valid:
        load(folder, yaml.safe_dump({"cases": [case]}))
    else:
        assert problems(folder, yaml.safe_dump({"cases": [case]}))


def test_the_schema_says_of_each_metric_what_the_registry_says() -> None:
    choices = schema()["$defs"]["AttentionExpectation"]["properties"]["metric"]["oneOf"]
    told = {choice["const"]: choice["description"] for choice in choices}
    assert set(told) == set(METRICS)
    assert told["auc"].endswith(
        "0 to 1; better: higher; of a uniform map: 0.5; undefined when: the region is empty or "
        "covers the whole picture."
    )
