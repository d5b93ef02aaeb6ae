"""The asking file of a matcher, what is refused with it, and labels by threshold."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from audit.base.errors import ImageError, ModelError, TextError
from audit.maps.trace import ANSWER
from audit.models.hf.matchers import MATCHERS
from audit.models.hf.matching import MatchingModel
from audit.models.hf.sources import found
from audit.models.kit.matching import Matching, read_matching
from audit.models.kit.subject import example_queries
from audit.models.protocol import Query
from audit.models.registry import known, load_model
from tests import tiny_matchers

QUERY = example_queries()[0]
Folder = Callable[[str], Path]


def written(folder: Path, text: str) -> Path:
    path = folder / "asking.yaml"
    path.write_text(text)
    return path


def test_a_file_says_the_text_the_labels_and_the_threshold(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "text: 'a photo of {text}.'\ntext_with_premise: '{premise} {text}'\n"
        "labels: [no, yes]\nthreshold: 0.2\n",
    )
    said = read_matching(file)
    assert said.labels == ("no", "yes")
    assert said.threshold == 0.2
    assert said.shown("{text} {premise}").question == "a photo of {text} {premise}."
    asked = said.shown("a {premise}", "it is {text}")
    assert asked.question == "it is {text} a {premise}"
    assert asked.question[asked.start :] == "a {premise}"


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert read_matching(written(tmp_path, "# nothing\n")) == Matching()
    assert Matching().digest != Matching(threshold=0.5).digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("text: hello", r":1:1: text: \{text\} must stand in it once, and it does 0×"),
        ("text: '{premise} {text}'", "belongs in text_with_premise"),
        ("labels: [yes, yes]", "match and no match are both 'yes'"),
        ("labels: [no]", r":1:1: labels"),
        ("# a\nthreshold: 1.5", r":2:1: threshold: .*less than 1"),
        ("threshhold: 0.5", "unknown key; did you mean 'threshold'"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as raised:
        read_matching(written(tmp_path, text))
    assert str(raised.value).startswith(str(tmp_path / "asking.yaml"))


@pytest.mark.parametrize("family", ["vilt", "siglip"])
def test_a_model_with_one_score_needs_a_threshold(family: str, matcher_folder: Folder) -> None:
    with pytest.raises(ModelError, match=r"one score.*threshold: 0\.5"):
        load_model(f"hf:{matcher_folder(family)}", device="cpu")


def test_a_model_with_two_scores_takes_none(matcher_folder: Folder, tmp_path: Path) -> None:
    asking = written(tmp_path, "threshold: 0.5")
    with pytest.raises(ModelError, match="it has no threshold"):
        load_model(f"hf:{matcher_folder('blip')}", device="cpu", asking=str(asking))


def test_the_threshold_decides_and_probabilities_stay_the_models_own(
    matcher_folder: Folder,
) -> None:
    checkpoint = found(f"hf:{matcher_folder('siglip')}")
    low, half, high = (
        MatchingModel(checkpoint, device="cpu", matching=Matching(threshold=threshold))
        for threshold in (1e-9, 0.5, 1 - 1e-9)
    )
    traces = [model.trace([QUERY])[0] for model in (low, half, high)]
    assert traces[0].probabilities == traces[1].probabilities == traces[2].probabilities
    assert math.fsum(traces[0].probabilities.values()) == pytest.approx(1)
    assert (traces[0].label, traces[2].label) == ("yes", "no")
    assert [model.label_is_likeliest for model in (low, half, high)] == [False, True, False]
    assert low.fingerprint.digest != half.fingerprint.digest
    assert low.fingerprint.weights == half.fingerprint.weights


def test_labels_are_those_of_the_first_and_the_second_logit(matcher_folder: Folder) -> None:
    checkpoint = found(f"hf:{matcher_folder('blip')}")
    one, other = (
        MatchingModel(checkpoint, device="cpu", matching=Matching(labels=labels)).trace([QUERY])[0]
        for labels in (("no", "yes"), ("match", "no match"))
    )
    assert list(one.probabilities.values()) == list(other.probabilities.values())
    assert list(other.probabilities) == ["match", "no match"]


def test_a_premise_is_refused_unless_the_file_has_a_text_for_it(matcher_folder: Folder) -> None:
    checkpoint = found(f"hf:{matcher_folder('blip')}")
    query = Query(QUERY.image, "a red square", "it is a drawing")
    with pytest.raises(ModelError, match="text_with_premise"):
        MatchingModel(checkpoint, device="cpu").trace([query])
    both = Matching(text_with_premise="{premise}: {text}")
    (trace,) = MatchingModel(checkpoint, device="cpu", matching=both).trace([query])
    assert trace.prompt == "it is a drawing: a red square"
    assert [word.text for word in trace.words] == ["a", "red", "square"]


def edited(folder: Path, to: Path, **changes: object) -> Path:
    """A copy of a checkpoint with another configuration."""
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | changes))
    return to


def test_a_model_of_the_family_without_its_head_is_refused(
    matcher_folder: Folder, tmp_path: Path
) -> None:
    folder = edited(
        matcher_folder("blip"), tmp_path / "qa", architectures=["BlipForQuestionAnswering"]
    )
    with pytest.raises(ModelError, match=r"BlipForQuestionAnswering; .*BlipForImageTextRetrieval"):
        known(f"hf:{folder}")


def test_vilt_that_drops_patches_at_random_is_refused(
    matcher_folder: Folder, tmp_path: Path
) -> None:
    folder = edited(matcher_folder("vilt"), tmp_path / "dropping", max_image_length=20)
    with pytest.raises(ModelError, match="at random"):
        MatchingModel(found(f"hf:{folder}"), device="cpu", matching=Matching(threshold=0.5))


@pytest.mark.parametrize("family", MATCHERS)
def test_maps_are_known_before_it_is_loaded(family: str, matcher_folder: Folder) -> None:
    assert known(f"hf:{matcher_folder(family)}").methods == MATCHERS[family].methods


def test_a_class_that_transformers_lacks_is_named(
    matcher_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.BlipForImageTextRetrieval", None)
    with pytest.raises(ModelError, match=r"transformers \d.* has no BlipForImageTextRetrieval"):
        MatchingModel(found(f"hf:{matcher_folder('blip')}"), device="cpu")


def test_a_picture_that_the_processor_cannot_scale_is_an_error_of_the_picture(
    matcher: Callable[[str], MatchingModel],
) -> None:
    with pytest.raises(ImageError, match="3000 × 2 pixels"):
        matcher("vilt").trace([Query(Image.new("RGB", (3000, 2)), "a line")])


def test_a_long_text_is_refused_or_cut(matcher: Callable[[str], MatchingModel]) -> None:
    text = "a bird and " * 40
    for family in ("blip", "blip-2", "siglip"):
        with pytest.raises(TextError, match="the model reads 96"):
            matcher(family).trace([Query(QUERY.image, text)])
        (trace,) = matcher(family).trace([Query(QUERY.image, text, truncate=True)])
        assert 90 <= len(trace.tokens) <= 96


def test_words_are_left_out_where_the_tokenizer_does_not_say_where_its_tokens_lie(
    matcher_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_matchers.load("siglip", matcher_folder("siglip"))
    (told,) = model.trace([QUERY])
    monkeypatch.setattr(type(model.processor.tokenizer), "is_fast", False)
    (found,) = model.trace([QUERY], frozenset({ANSWER}))
    assert (found.words, found.tokens) == ((), told.tokens)
    assert found.probabilities == told.probabilities
    assert ANSWER in found.readings
