"""What ``audit.explain`` gives to scripts and notebooks, with models whose answers are known."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import audit
from audit.base.errors import MissingExtra, NotGathered
from audit.maps.spec import MapSpec
from audit.metrics import shape
from audit.models.protocol import Query
from tests.toy_model import ToyModel, ToyOfWords

ROOT = Path(__file__).parents[2]
WHITE = Image.new("RGB", (64, 48), "white")
CELL = (1, 1)
"""Where the toy looks, on its grid of 4 x 4."""


class WithoutMaps(ToyModel):
    methods = ()


class Looking(ToyModel):
    """A toy whose probability falls when the cell at which it looks is greyed."""

    def trace(self, queries, need=frozenset()):  # type: ignore[no-untyped-def]
        found = super().trace(queries, need)
        for query, trace in zip(queries, found, strict=True):
            seen = np.asarray(query.image.resize((4, 4), Image.Resampling.BOX))[CELL]
            if not (seen == 255).all():
                trace.probabilities.update(yes=0.5, no=0.45)
        return found


def test_an_explanation_has_label_probabilities_and_maps_as_arrays() -> None:
    found = audit.explain(WHITE, "two birds", ToyOfWords(), maps=["answer_attention", "uniform"])
    assert found.label == "yes"
    assert found.probabilities == {"no": 0.05, "yes": 0.9, "maybe": 0.05}
    assert list(found.maps) == ["answer_attention", "uniform"]
    for p in found.maps.values():
        assert (p.shape, p.dtype) == ((4, 4), np.float64)
        assert p.sum() == pytest.approx(1)
    assert found.map is found.maps["answer_attention"]
    assert np.unravel_index(found.map.argmax(), (4, 4)) == CELL
    assert found.metrics["entropy"] == pytest.approx(shape.entropy(found.map))
    assert found.undefined == {}
    assert repr(found) == "<Explanation “two birds”: yes (90.0%), answer_attention, uniform>"


def test_calls_of_before_work_as_they_did(tmp_path: Path) -> None:
    """The names that the first version of the function had, and what they give."""
    model = ToyOfWords()
    found = audit.explain(
        WHITE, "two birds", model, map="answer_attention", premise="a premise", truncate=True,
        layers=True, words=True, batch_size=2,
    )  # fmt: skip
    assert (found.trace.label, found.spec, found.premise) == ("yes", MapSpec(), "a premise")
    assert found.image.tobytes() == WHITE.tobytes()
    assert found.model is model.fingerprint
    assert [number for number, _ in found.layers] == [1, 2]
    assert [word for word, _ in found.words] == ["two", "birds"]
    said = found.to_dict()
    assert said["map"] == found.map.tolist()
    assert [each["word"] for each in said["words"]] == ["two", "birds"]
    files = found.draw(tmp_path, "white.png", "two birds", animate=True)
    shown = {"heatmap", "page", "layers", "words", "layers gif", "words webp"}
    assert shown <= files.keys()
    assert all(path.exists() for path in files.values())
    plain = audit.explain(WHITE, "two birds", model)
    assert not {"layers", "words"} & plain.to_dict().keys()
    assert set(plain.draw(tmp_path)) == {"heatmap", "page"}


def test_what_is_done_to_arrays_or_picture_afterwards_does_not_change_the_answer() -> None:
    picture = WHITE.copy()
    found = audit.explain(picture, "two birds", ToyOfWords())
    for p in (found.map, *(p for _, p in [*found.layers, *found.words])):
        with pytest.raises(ValueError, match="read-only"):
            p[0, 0] = 9
    found.maps["mine"] = found.map.copy() * 2
    found.probabilities["yes"] = 2.0
    found.metrics.clear()
    picture.paste(0, (0, 0, *picture.size))
    assert repr(found) == "<Explanation “two birds”: yes (90.0%), answer_attention>"
    assert found.image.tobytes() == WHITE.tobytes()
    assert found.metrics["entropy"] == pytest.approx(shape.entropy(found.map))


def test_an_explanation_is_pickled_and_copied_and_equals_itself_alone() -> None:
    found = audit.explain(WHITE, "two birds", ToyOfWords(), maps=["answer_attention", "centre"])
    assert len(found.layers) == 2  # what is kept of it travels, too
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert (other.map == found.map).all()
        assert other.metrics == found.metrics
        assert other._repr_html_() == found._repr_html_()
        assert other != found
    assert found in {found}


def test_a_name_that_an_answer_does_not_hold_gets_the_nearest() -> None:
    found = audit.explain(WHITE, "two birds", ToyModel())
    for held, name, message in (
        (found.metrics, "entrophy", "'entrophy' is not a figure of this map; .* 'entropy'"),
        (found.maps, "answer_atention", "not a map that was asked for; .* 'answer_attention'"),
        (found.probabilities, "Yes", "'Yes' is not an answer; did you mean 'yes'"),
    ):
        with pytest.raises(KeyError, match=message):
            held[name]  # type: ignore[index]


def test_layers_and_words_say_what_they_are() -> None:
    found = audit.explain(WHITE, "two birds", ToyOfWords())
    assert repr(found.layers) == "<Layers 1, 2; layers() draws them>"
    assert repr(found.words) == "<Words two, birds; words() draws them>"


def test_a_map_that_needs_more_than_a_forward_pass_is_gathered() -> None:
    found = audit.explain(WHITE, "two birds", Looking(), map="occlusion window=1", batch_size=3)
    assert np.unravel_index(found.map.argmax(), (4, 4)) == CELL
    assert found.map[CELL] == pytest.approx(1)
    compared = audit.explain(WHITE, "two birds", Looking(), map="answer_attention relative=generic")
    assert compared.map == pytest.approx(np.full((4, 4), 1 / 16))  # the toy looks there anyway


def test_gather_and_read_map_give_the_same_as_explain_step_by_step() -> None:
    wanted = ["answer_attention", "occlusion window=1"]
    model = Looking()
    with pytest.raises(audit.MapError, match=r"holds no occlusion; audit\.gather asks"):
        audit.read_map(model.trace([Query(WHITE, "two birds")])[0], wanted[1])
    (seen,) = audit.gather(model, [audit.Query(WHITE, "two birds")], [wanted])
    found = audit.explain(WHITE, "two birds", model, maps=wanted)
    for key in wanted:
        assert (audit.read_map(seen, key) == found.maps[key]).all()


def test_gather_says_in_what_shape_it_takes_queries_and_maps() -> None:
    query, model = Query(WHITE, "two birds"), ToyModel()
    for queries, specs, message in (
        ([query], ["occlusion"], r"a list of maps for each query: .*\[maps\] \* len\(queries\)"),
        ([query], "occlusion", "a list of maps for each query"),
        (query, [["occlusion"]], r"queries is a list: write \[query\]"),
        ([query, query], [["uniform"]], "there are 2 questions, but maps for 1"),
    ):
        with pytest.raises(ValueError, match=message):
            audit.gather(model, queries, specs)  # type: ignore[arg-type]
    with pytest.raises(audit.ModelError, match=r"what audit\.load_model gives"):
        audit.gather("reference", [query], [["uniform"]])  # type: ignore[arg-type]
    seen = audit.gather(model, [query], [["uniform"]])
    with pytest.raises(ValueError, match="of the type list; take one of them"):
        audit.read_map(seen, "uniform")  # type: ignore[arg-type]


def test_a_query_takes_what_explain_takes_for_a_picture(tmp_path: Path) -> None:
    WHITE.save(tmp_path / "x.png")
    text, path = str(tmp_path / "x.png"), tmp_path / "x.png"
    assert Query(text, "two birds").image == path  # type: ignore[arg-type]
    for given in (path.read_bytes(), np.asarray(WHITE)):
        image = Query(given, "two birds").image  # type: ignore[arg-type]
        assert isinstance(image, Image.Image)
        assert image.tobytes() == WHITE.tobytes()
    with pytest.raises(audit.ImageError, match="not an object of the type int"):
        Query(3, "two birds")  # type: ignore[arg-type]


def test_other_temperatures_smoothings_and_layers_need_no_further_pass() -> None:
    model = ToyModel()
    found = audit.explain(WHITE, "two birds", model)
    asked = model.asked
    sharp = found.read("answer_attention temperature=0.5")
    before = found.map**2  # softmax(2 log p) is p squared, up to its sum
    assert sharp == pytest.approx(before / before.sum())
    assert found.read("answer_attention layers=last smooth=1").max() < found.map.max()
    assert (found.read(MapSpec()) == found.map).all()
    assert model.asked == asked
    with pytest.raises(NotGathered, match=r"name it in explain\(\.\.\., maps=\['occlusion'\]\)"):
        found.read("occlusion")
    with pytest.raises(audit.MapError, match="layer 9 was asked for, but the model has 2"):
        found.read("answer_attention layers=9")


def test_a_map_that_is_undefined_is_told_beside_the_others() -> None:
    found = audit.explain(WHITE, "two birds", ToyModel(), maps=["occlusion", "answer_attention"])
    assert found.undefined == {
        "occlusion": "hiding any part of the picture does not lower the answer's probability"
    }
    assert list(found.maps) == ["answer_attention"]
    assert found.spec == MapSpec()
    assert "occlusion is undefined: hiding any part" in found._repr_html_()
    with pytest.raises(audit.UndefinedMap, match=r"^hiding any part"):
        audit.explain(WHITE, "two birds", ToyModel(), map="occlusion")


def test_a_row_has_the_answer_and_the_figures_of_every_map() -> None:
    pandas = pytest.importorskip("pandas")
    model = ToyModel()
    asked = ["two birds", "a cat", "hungry birds"]
    rows = [
        audit.explain(WHITE, text, model, maps=["answer_attention", "centre"]).row()
        for text in asked
    ]
    table = pandas.concat(rows, ignore_index=True)
    assert list(table["text"]) == asked
    assert set(table["model.source"]) == {model.fingerprint.source}
    assert list(table["label"]) == ["yes", "no", "maybe"]
    assert list(table["probability.yes"]) == [0.9, 0.05, 0.05]
    assert table["answer_attention.entropy"][1] == pytest.approx(1)
    assert table["answer_attention.entropy"].dtype == "float64"
    assert table["centre.centre_x"][0] == pytest.approx(0.5)
    assert "unsaid" not in table


def test_a_figure_without_a_value_is_missing_in_the_row() -> None:
    pytest.importorskip("pandas")
    found = audit.explain(WHITE, "two birds", WithoutMaps(), map="uniform")
    assert isinstance(found.metrics["image_share"], str)
    assert found.row()["uniform.image_share"].isna().all()


def test_without_pandas_the_row_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = audit.explain(WHITE, "two birds", ToyModel())
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr("audit.base.extras._fault_of", lambda needed: needed.name)
    with pytest.raises(MissingExtra, match=r"row\(\) needs pandas.*ofa-audit\[data\]"):
        found.row()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: audit.explain(WHITE, "a", m, map="rollout"),
         r"gives no rollout, .*; it gives answer_attention and, like every model, occlusion, "),
        (lambda m: audit.explain(WHITE, "a", m, words=True), "no map of a word; it gives answer"),
        (lambda m: audit.explain(WHITE, "a", m).words(), "no maps of words; it gives answer_att"),
        (lambda m: audit.explain(WHITE, "a", m, map="centre").layers(),
         "'centre' is not read layer by layer; the model gives layers of answer_attention"),
        (lambda m: audit.explain(WHITE, "a", m).layers("answer_attention heads=max"),
         "name it in explain"),
    ],
)  # fmt: skip
def test_what_a_model_cannot_give_is_an_error_that_names_what_it_can(
    call: object, message: str
) -> None:
    with pytest.raises(audit.MapError, match=message):
        call(ToyModel())  # type: ignore[operator]


def test_a_model_without_maps_says_that_it_can_be_asked_for_those_of_every_model() -> None:
    with pytest.raises(
        audit.MapError, match="no maps of its own: like every model it can be asked for occlusion"
    ):
        audit.explain(WHITE, "a", WithoutMaps(), map="answer_attention")
    with pytest.raises(audit.MapError, match="it gives no maps of its own"):
        audit.explain(WHITE, "a", WithoutMaps(), map="uniform").words()


def test_words_that_were_left_out_say_so() -> None:
    found = audit.explain(WHITE, "two birds", ToyOfWords(), words=False)
    assert len(found.words) == 0
    with pytest.raises(audit.MapError, match=r"explain\(\.\.\., words=False\)"):
        found.words()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"map": "rollout", "maps": ["rollout"]}, "not both"),
        ({"maps": "rollout"}, "write map='rollout'"),
        ({"map": "rolout"}, "did you mean 'rollout'"),
        ({"map": "word_attention"}, "^word_attention: the method word_attention needs a word"),
        ({"map": "centre", "layers": True}, "not read layer by layer"),
        ({"map": ["rollout"]}, r"not an object of the type list; for several give maps=\["),
        ({"map": {"method": "rollout"}}, "or an audit.MapSpec, not an object of the type dict"),
        ({"maps": [np.zeros((4, 4))]}, "not an object of the type ndarray"),
        ({"map": ""}, "an empty text is no map; choose from: answer_attention, "),
        ({"layers": [1, 3]}, r"not \[1, 3\]; .*: map='answer_attention layers=1,3'"),
        ({"words": "birds"}, "words is True or False, not 'birds'; .*word=birds"),
        ({"batch_size": 0}, "batch_size is a whole number of at least 1, not 0"),
        ({"batch_size": "x"}, "batch_size is a whole number"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        audit.explain(WHITE, "two birds", ToyModel(), **given)
    assert "\n" not in str(raised.value)


def test_a_model_is_a_name_or_a_loaded_one() -> None:
    with pytest.raises(audit.ModelError, match="not an object of the type PosixPath"):
        audit.explain(WHITE, "two birds", Path("reference"))  # type: ignore[arg-type]
    with pytest.raises(audit.TextError, match="hypothesis"):
        audit.explain(WHITE, " ", ToyModel())


def test_what_makes_an_answer_mean_little_is_noted() -> None:
    class Talking(ToyModel):
        def trace(self, queries, need=frozenset()):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return [replace(each, unsaid=0.9, view=audit.Box(0.25, 0, 0.75, 1))
                    for each in super().trace(queries, need)]  # fmt: skip

    found = audit.explain(WHITE, "two birds", Talking())
    assert len(found.notes) == 2
    assert "unsaid" in found.notes[0]
    assert "The model sees the middle 50 % of the width" in found._repr_html_()
    pytest.importorskip("pandas")
    assert list(found.row()["unsaid"]) == [0.9]
