"""A model need not have every method: what it lacks costs the case that asks, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from audit.base.errors import MapError
from audit.cases.loading import Case, load_cases
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from audit.maps.spec import MapSpec
from audit.report.fragments import asked_html
from audit.runs.session import Auditor, Settings
from tests.projects import stored_in
from tests.toy_model import ToyModel, ToyOfWords


class WithoutMaps(ToyModel):
    methods = ()


def cases(folder: Path, *maps: str) -> list[Case]:
    Image.new("RGB", (40, 40), "white").save(folder / "white.png")
    path = folder / "case.yaml"
    path.write_text(
        "cases:\n"
        + "".join(
            f"  - {{id: c{n}, image: white.png, text: two birds, map: {{{each}}}, "
            "expect: {label: yes}}\n"
            for n, each in enumerate(maps)
        )
    )
    return load_cases(path)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("method: rollout, heads: max",
         "the model gives no rollout, which the map 'rollout heads=max' is made of; "
         "choose from: answer_attention"),
        ("method: encoder_attention, word: birds",
         "the model gives no word_attention, which the map 'word_attention word=birds' is made of; "
         "did you mean 'answer_attention'?"),
    ],
)  # fmt: skip
def test_a_map_that_the_model_cannot_give_is_the_error_of_its_case_alone(
    tmp_path: Path, asked: str, sentence: str
) -> None:
    own = "method: answer_attention"
    before, odd, after = stored_in(
        Run(tmp_path / "run"), cases(tmp_path, own, asked, own), ToyModel()
    )
    assert (before.state, odd.state, after.state) == (State.PASSED, State.ERROR, State.PASSED)
    assert odd.sentence == sentence


def test_a_model_that_has_the_method_is_asked_for_it(tmp_path: Path) -> None:
    run, asked = Run(tmp_path / "run"), cases(tmp_path, "method: word_attention, word: birds")
    (found,) = stored_in(run, asked, ToyOfWords())
    assert found.state is State.PASSED, found.sentence
    p = run.maps("c0")["word_attention word=birds"]
    assert p.argmax() == 1  # the second word looks at the second cell


def test_a_model_without_maps_is_audited_by_what_it_says_of_changed_pictures(
    tmp_path: Path,
) -> None:
    asked = cases(tmp_path, "method: uniform", "method: answer_attention", "method: blank")
    control, answer, blank = stored_in(Run(tmp_path / "run"), asked, WithoutMaps())
    assert control.state is State.PASSED, control.sentence
    share = control.metrics["uniform"]["image_share"]
    assert share == "the model gives no attention of its answer"
    for outcome, key in ((answer, "answer_attention"), (blank, "blank")):
        assert outcome.state is State.ERROR
        assert outcome.sentence == (
            f"the model gives no answer_attention, which the map '{key}' is made of; "
            "it has no maps of its own"
        )


def test_a_python_test_may_ask_a_model_without_maps_for_its_label(tmp_path: Path) -> None:
    settings = Settings("toy", "cpu", "float32", 1, None, "", tmp_path / "run", "id")
    auditor = Auditor(settings)
    vars(auditor)["model"] = WithoutMaps()
    image = Image.new("RGB", (8, 8))
    assert auditor.ask(image, "two birds").label == "yes"
    (asked,) = auditor.asked
    assert asked.map is None
    assert asked_html(asked.image, asked.map, asked.text).count("<img") == 1
    auditor.ask(image, "two birds", maps=[MapSpec(method="uniform")])
    assert auditor.asked[1].map is not None
    with pytest.raises(MapError, match="the model gives no answer_attention"):
        auditor.ask(image, "two birds", maps=[MapSpec()])
