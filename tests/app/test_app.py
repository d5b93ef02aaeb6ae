"""The page without a browser: questions, cases that are written, errors."""

from __future__ import annotations

import base64
import io
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import audit.base.images
from audit.app.casefile import MOST_BOXES, Drawn, case_yaml, drawn, suggested_id
from audit.app.desk import Answer, Desk, Picture, Question, example, message, spec_of, uploaded
from audit.app.markup import alert, figures, verdict, where_to_put
from audit.base.errors import AuditError, CaseError, ImageError, ModelError, TextError
from audit.base.texts import readable
from audit.cases.loading import load_cases
from audit.cases.schema import schema
from audit.gate.outcomes import State
from audit.maps.methods import METHODS
from audit.maps.spec import MapSpec
from audit.runs.runner import audit_cases
from tests.toy_model import ToyModel

EVIL = "<script>document.title='owned'</script>"

BIRD: dict[str, Any] = {"name": "bird", "wanted": "look", "box": [0.25, 0.25, 0.5, 0.5]}
"""The cell in which the toy model looks: it has 0.8 of the map there."""


def picture(folder: Path, name: str = "a.png", **options: Any) -> Picture:
    path = folder / name
    Image.new("RGB", (160, 120), "red").save(path, **options)
    return uploaded(path)


def question(of: Picture | None, **changes: Any) -> Question:
    asked = Question(of, "there are two birds", "", "toy", "answer_attention", {}, "", True, False)
    return replace(asked, **changes)


def desk() -> Desk:
    return Desk(("toy", "other"), lambda _: ToyModel())


@pytest.fixture(scope="module")
def answer() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        yield desk().ask(question(picture(Path(folder))))


def loaded(text: str, answer: Answer) -> Any:
    """The case that ``text`` holds, put where the page says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.yaml"
        path.write_bytes(text.encode())
        target = Path(folder) / answer.picture.written
        target.parent.mkdir(parents=True)
        target.write_bytes(answer.picture.path.read_bytes())
        jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(text))
        (case,) = load_cases(path)
        return case


def test_a_case_has_the_question_the_boxes_in_pixels_and_limits_below_what_was_shown(
    answer: Answer,
) -> None:
    text = case_yaml(answer, "two-birds", "yes", drawn([BIRD], (160, 120)))
    assert text == (
        "# yaml-language-server: $schema=schema.json\n"
        "cases:\n"
        "  - id: two-birds\n"
        "    image: images/a.png\n"
        "    text: there are two birds\n"
        "    regions:\n"
        "      bird: [[40, 30, 80, 60]]\n"
        "    expect:\n"
        '      label: "yes"\n'
        "      probability: {min: 0.8}\n"  # 0.9 · 0.9 = 0.81
        "      attention:\n"
        "        - {metric: mass, region: bird, min: 0.7}\n"  # 0.9 · 0.8 = 0.72
    )
    assert loaded(text, answer).regions["bird"] == ((0.25, 0.25, 0.5, 0.5),)


def test_the_model_passes_the_case_that_was_written_from_its_answer(
    answer: Answer, tmp_path: Path
) -> None:
    picture(tmp_path)
    path = tmp_path / "case.yaml"
    text = case_yaml(answer, "two-birds", "yes", drawn([BIRD], (160, 120)))
    path.write_text(text.replace("images/", ""))
    (found,) = audit_cases(load_cases(path), ToyModel())
    assert found.outcome.state is State.PASSED, found.outcome.sentence


def askable(text: str) -> bool:
    try:
        return bool(readable(text))
    except TextError:
        return False


_TEXTS = st.text(min_size=1).filter(askable)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    text=_TEXTS, premise=st.none() | _TEXTS,
    region=st.from_regex(r"[A-Za-z0-9鸟][A-Za-z0-9 .,:'&+/()鸟_-]{0,20}[a-z0-9)]", fullmatch=True)
    .filter(lambda name: "::" not in name),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
)  # fmt: skip
def test_any_text_comes_back_from_the_written_case_in_one_line(
    answer: Answer, text: str, premise: str | None, region: str, name: str
) -> None:
    asked = replace(answer, text=text, premise=premise)
    case = loaded(case_yaml(asked, name, "yes", [Drawn(region, "look", (0, 0, 80, 60))]), asked)
    one_line = None if premise is None else readable(premise)
    assert (case.id, case.text, case.premise) == (name, readable(text), one_line)
    assert list(case.regions) == [region]


@pytest.mark.parametrize(
    "text",
    [
        "yes", "No", "null", "~", "1e3", "08", "1:30", "2026-01-01", "true", "- birds", "a: b",
        "a #b", "'single' \"double\"", "two\nlines\r\n", " spaces ", "\ttab", "{birds: [1]}",
        "ünïcode 鸟 🐦", "\u202eright to left\u2066", "\ufeffmark", "\x85next\u2028line",
        "%tag", "!!python/object", "&a *a", "---", "...", "a\\b", "${1}`",
    ],
)  # fmt: skip
def test_a_text_that_yaml_could_mistake_stays_the_text(answer: Answer, text: str) -> None:
    asked = replace(answer, text=text, premise=text)
    written = case_yaml(asked, "case", "yes", [Drawn("birds", "look", (0, 0, 80, 60))])
    case = loaded(written, asked)
    assert (case.text, case.premise) == (readable(text), readable(text))
    # Readers of YAML 1.1 see the same, and nothing turns the order of what is displayed.
    (read,) = yaml.safe_load(written)["cases"]
    assert (read["text"], read["premise"]) == (text, text)
    assert not set(written) & set("\u202e\u2066\u200f")


@pytest.mark.parametrize("name", ["yes", "null", "1e3", "08", "1:30", "true", "a: b", "鸟"])
def test_a_region_whose_name_yaml_could_mistake_keeps_its_name(answer: Answer, name: str) -> None:
    written = case_yaml(answer, "case", "yes", [Drawn(name, "look", (0, 0, 80, 60))])
    assert list(loaded(written, answer).regions) == [name]


@pytest.mark.parametrize("name", ["1e3", "123", "true", "null", "yes", "0.5", "a.b-c_d"])
def test_an_id_that_looks_like_something_else_stays_text(answer: Answer, name: str) -> None:
    assert loaded(case_yaml(answer, name, "yes", []), answer).id == name


def test_the_map_that_was_asked_for_is_the_cases_map(answer: Answer) -> None:
    spec = MapSpec(layers=[1, 2], heads="max", temperature=0.5)
    asked = replace(answer, found=replace(answer.found, spec=spec))
    written = case_yaml(asked, "case", "yes", [])
    said = "map: {method: answer_attention, layers: [1, 2], heads: max, temperature: 0.5}"
    assert said in written
    assert loaded(written, asked).map == spec
    word = MapSpec(method="word_attention", word="two birds")
    asked = replace(answer, found=replace(answer.found, spec=word))
    assert loaded(case_yaml(asked, "case", "yes", []), asked).map == word


def test_another_expected_label_has_no_limit_on_its_probability(answer: Answer) -> None:
    case = loaded(case_yaml(answer, "case", "maybe", []), answer)
    assert (case.expect.label, case.expect.probability) == ("maybe", None)


def test_a_region_must_have_more_than_an_even_map_or_at_most_that(answer: Answer) -> None:
    # The right half has a share of 8/15 · 0.2 of the toy's map and half of an even one.
    half = {"box": [0.5, 0.0, 1.0, 1.0]}
    look = [{**half, "name": "right", "wanted": "look"}]
    assert "region: right, min: 0.5}" in case_yaml(answer, "a", "yes", drawn(look, (160, 120)))
    avoid = [{**half, "name": "right", "wanted": "avoid"}]
    assert "region: right, max: 0.5}" in case_yaml(answer, "a", "yes", drawn(avoid, (160, 120)))


def test_boxes_of_one_name_are_one_region(answer: Answer) -> None:
    boxes = drawn([BIRD, {**BIRD, "box": [0.5, 0.5, 0.75, 0.75]}], (160, 120))
    case = loaded(case_yaml(answer, "case", "yes", boxes), answer)
    assert len(case.regions["bird"]) == 2
    assert len(case.expect.attention) == 1


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a\nb", "x" * 101])
def test_an_id_that_no_case_may_have_is_told_in_the_loaders_words(
    answer: Answer, name: str
) -> None:
    with pytest.raises(CaseError, match=r"^id: ") as caught:
        case_yaml(answer, name, "yes", [])
    assert tempfile.gettempdir() not in str(caught.value)


@given(
    size=st.tuples(st.integers(2, 5000), st.integers(2, 5000)),
    box=st.lists(st.floats(-1, 2), min_size=4, max_size=4),
)
def test_a_box_lies_inside_the_picture_and_is_never_empty(
    size: tuple[int, int], box: list[float]
) -> None:
    left, top, right, bottom = box
    ordered = [min(left, right), min(top, bottom), max(left, right), max(top, bottom)]
    (found,) = drawn([{**BIRD, "box": ordered}], size)
    assert 0 <= found.box[0] < found.box[2] <= size[0]
    assert 0 <= found.box[1] < found.box[3] <= size[1]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("text", "cannot be read"),
        ([BIRD] * (MOST_BOXES + 1), "at most 50"),
        ([{**BIRD, "name": " "}], "box 1 has no name"),
        ([BIRD, {**BIRD, "box": [0, 0, 1]}], "box 2 cannot be read"),
        ([{**BIRD, "box": [0, 0, float("nan"), 1]}], "box 1 cannot be read"),
        ([{**BIRD, "wanted": "maybe"}], "box 1 cannot be read"),
        ([None], "box 1 cannot be read"),
        ([BIRD, {**BIRD, "wanted": "avoid"}], "use two names"),
    ],
)
def test_boxes_that_the_page_could_not_have_drawn_are_refused(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        drawn(value, (160, 120))


def test_boxes_count_the_pixels_of_the_turned_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held upright: 160 x 120 in the file, shown 120 wide and 160 high
    turned = picture(tmp_path, "turned.jpg", exif=exif)
    assert turned.size == (120, 160)
    preview = Image.open(io.BytesIO(base64.b64decode(turned.preview.partition(",")[2])))
    assert preview.size == (120, 160)
    asked = desk().ask(question(turned))
    assert asked.found.image.size == (120, 160)
    case = loaded(case_yaml(asked, "case", "yes", drawn([BIRD], turned.size)), asked)
    assert case.image_size == (120, 160)
    assert case.regions["bird"] == ((0.25, 0.25, 0.5, 0.5),)


def test_a_page_holds_on_to_no_picture_when_all_is_drawn(answer: Answer) -> None:
    kept = answer.kept()
    assert max(kept.found.image.size) <= 16
    assert case_yaml(kept, "a", "yes", []) == case_yaml(answer, "a", "yes", [])


@pytest.mark.parametrize("name", ["a: b #c.PNG", "ünï 鸟.png", "...png.png", "x" * 200 + ".png"])
def test_the_name_of_an_uploaded_picture_is_fit_for_a_case(tmp_path: Path, name: str) -> None:
    asked = desk().ask(question(picture(tmp_path, name)))
    assert loaded(case_yaml(asked, "case", "yes", []), asked).image_size == (160, 120)
    assert asked.picture.written.startswith("images/")
    assert len(asked.picture.written) < 100


def test_an_id_is_suggested_from_the_hypothesis() -> None:
    assert suggested_id("Two birds, aren't there?") == "two-birds-aren-t-there"
    assert suggested_id("鸟") == "case"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"picture": None}, "there is no picture yet"),
        ({"text": " \n"}, "the hypothesis is empty"),
        ({"premise": " "}, "the premise is empty but for white space"),
        ({"text": "two\x00birds"}, "the hypothesis has a control character (U+0000)"),
        ({"text": "a" * 2001}, "the hypothesis has 2,001 characters, more than 2,000"),
        ({"premise": "a" * 2001}, "the premise has 2,001 characters"),
        ({"method": "rolout"}, "did you mean 'rollout'?"),
        ({"keys": {"layers": "9"}}, "the model has 2"),
        ({"keys": {"layers": "lots"}}, "layers: needs all, last, last:N, or numbers from 1"),
        ({"method": "word_attention"}, "needs a word of the hypothesis"),
        ({"more": "temperature=0"}, "temperature: needs a number above 0, but has 0"),
        ({"more": "temprature=1"}, "did you mean 'temperature'?"),
        ({"method": "cross_attention", "keys": {"layers": "9"}}, "the model has 2"),
        ({"more": "seed=1"}, "the method answer_attention takes no 'seed'"),
        ({"more": "'"}, "is not a map: No closing quotation"),
        ({"model": "/etc"}, "/etc: not offered here; choose from toy, other"),
    ],
)
def test_a_question_that_cannot_be_asked_is_a_message(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises((AuditError, ValueError)) as caught:
        desk().ask(question(picture(tmp_path), **changes) if "picture" not in changes
                   else question(None))  # fmt: skip
    assert said in message(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_fields_and_typed_keys_make_the_map_that_the_command_line_would(method: str) -> None:
    given = {"layers": "1, 2", "heads": "max", "word": "two birds"}
    spec = spec_of(question(None, method=method, keys=given, more="smooth=1"))
    taken = [f"{k}='{v}'" for k, v in given.items() if k in METHODS[method].keys]
    assert spec == MapSpec.parse(" ".join([method, *taken, "smooth=1"]))
    assert spec.smooth == 1


def test_only_the_last_model_is_kept(tmp_path: Path) -> None:
    loads: list[str] = []

    def load(source: str) -> ToyModel:
        loads.append(source)
        return ToyModel()

    asked = Desk(("toy", "other"), load)
    of = picture(tmp_path)
    for model in ("toy", "toy", "other", "toy"):
        asked.ask(question(of, model=model))
    assert loads == ["toy", "other", "toy"]


def test_a_model_that_does_not_load_is_a_message_and_the_next_question_is_answered(
    tmp_path: Path,
) -> None:
    asked = Desk(("nowhere/at/all", "toy"), _missing_or_toy)
    of = picture(tmp_path)
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        asked.ask(question(of, model="nowhere/at/all"))
    assert asked.ask(question(of)).found.trace.label == "yes"


def _missing_or_toy(source: str) -> Any:
    from audit.models.registry import load_model

    return ToyModel() if source == "toy" else load_model(source, "cpu")


def test_a_bad_picture_is_told_by_its_name_and_not_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(ImageError) as caught:
        uploaded(path)
    assert message(caught.value, path).startswith("notes.png: not a picture, or damaged")
    monkeypatch.setattr(audit.base.images, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError) as caught:
        picture(tmp_path)
    told = message(caught.value, tmp_path / "a.png")
    assert told == "a.png: 160 x 120 pixels, more than the limit of 1,000"


def test_an_unexpected_error_is_logged_and_told_in_a_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        told = message(RuntimeError("secret /place"))
    assert told == "something went wrong; the log of audit serve says what"
    assert "secret /place" in caplog.text


def test_an_example_brings_the_picture_and_its_place_beside_the_case(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    (folder / "images").mkdir(parents=True)
    picture(folder / "images")
    (folder / "mine.yaml").write_text(
        "cases: [{id: a, image: images/a.png, text: birds, expect: {label: yes}}]"
    )
    (case,) = load_cases(folder / "mine.yaml")
    of = example(case)
    assert (of.written, of.folder, of.size) == ("images/a.png", str(folder), (160, 120))
    assert f"{folder}/birds.yaml" in where_to_put(of, "birds")
    assert "picture" not in where_to_put(of, "birds")


def test_no_text_becomes_markup(answer: Answer) -> None:
    asked = replace(answer, text=EVIL, premise=EVIL)
    of = replace(answer.picture, folder=EVIL, written=EVIL)
    pieces = (alert(EVIL), verdict(asked), figures({EVIL: EVIL}), where_to_put(of, EVIL))
    for piece in pieces:
        assert "<script" not in piece
        assert "&lt;script&gt;" in piece


def test_what_has_no_value_says_why() -> None:
    assert "undefined: the map has one cell" in figures({"entropy": "the map has one cell"})
