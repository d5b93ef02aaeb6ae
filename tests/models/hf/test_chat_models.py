"""What is refused, what prompts hold, and a whole session of pytest with chat models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from audit.base.errors import CaptureError, MapError, ModelError, TextError
from audit.maps.trace import ANSWER, ReadingKey
from audit.models.hf.adapter import ChatModel
from audit.models.hf.loader import HF
from audit.models.hf.sources import found
from audit.models.kit.asking import Asking
from audit.models.kit.conformance import check_adapter
from audit.models.kit.subject import example_queries
from audit.models.protocol import Query

ROOT = Path(__file__).parents[3]
QUERY = example_queries()[0]


@pytest.fixture
def folder(folder_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a checkpoint that a test may spoil."""
    return shutil.copytree(folder_of("llava"), tmp_path / "copy")


@pytest.mark.slow
def test_every_family_conforms(family: str, model: ChatModel, folder_of: Any) -> None:
    check_adapter(model, load=lambda: ChatModel(found(f"hf:{folder_of(family)}"), device="cpu"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def loaded(folder: Path, **options: Any) -> ChatModel:
    return ChatModel(found(f"hf:{folder}"), device="cpu", **options)


def test_a_family_that_is_not_known_is_refused_with_those_that_are(folder: Path) -> None:
    edit(folder / "config.json", model_type="kosmos-2")
    with pytest.raises(
        ModelError, match=r"model_type is 'kosmos-2', .* choose from: blip, .*gemma3, int"
    ):
        HF.known(f"hf:{folder}")
    edit(folder / "config.json", model_type="lava")
    with pytest.raises(ModelError, match="did you mean 'llava'"):
        loaded(folder)


def test_a_checkpoint_with_code_of_its_own_is_refused(folder: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="code of its own"):
        loaded(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        HF.known(f"hf:{tmp_path}")
    with pytest.raises(ModelError, match="no such folder, and not an id"):
        found("hf:nothing")
    with pytest.raises(ModelError, match="there is no folder nothing, and it is no id"):
        HF.accepts("hf:nothing")
    assert HF.accepts("hf:org/name@main")


def test_pickled_weights_are_loaded_without_running_code(folder: Path) -> None:
    before = loaded(folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    after = loaded(folder)
    assert after.fingerprint.weights == before.fingerprint.weights
    (one,), (other,) = before.trace([QUERY]), after.trace([QUERY])
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_the_asking_file_is_part_of_the_configuration(folder: Path) -> None:
    one, other = loaded(folder), loaded(folder, asking=Asking(system="You judge."))
    assert one.fingerprint.configuration != other.fingerprint.configuration
    assert one.fingerprint.weights == other.fingerprint.weights
    assert one.fingerprint.engine == "sdpa"
    (trace,) = other.trace([QUERY])
    assert trace.prompt.startswith("<s>SYSTEM: You judge. USER: <image>")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"yes": ["Yes"], "no": ["Yes, it is not"]}, "begins as an answer of 'yes' does"),
        ({"yes": ["Yes it is"], "no": ["Yes"]}, "begins as an answer of 'yes' does"),
    ],
)
def test_an_answer_that_begins_as_another_labels_does_is_refused(
    folder: Path, answers: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        loaded(folder, asking=Asking(answers=answers))


def test_an_answer_that_begins_with_another_of_its_label_counts_once(folder: Path) -> None:
    once, twice = (
        loaded(folder, asking=Asking(answers={"yes": yes, "no": ["No"]})).trace([QUERY])[0]
        for yes in (["Yes"], ["Yes", "Yes it is", "Yes"])
    )
    assert once.probabilities == twice.probabilities
    assert once.unsaid == twice.unsaid


def test_what_is_said_and_unsaid_is_all_there_is(model: ChatModel) -> None:
    (trace,) = model.trace([QUERY])
    assert trace.unsaid is not None
    assert 0 < trace.unsaid < 1


def test_braces_and_quotes_of_a_text_are_in_the_prompt(model: ChatModel) -> None:
    text = "{} {0} {text} {{ messages }} {% if x %} %s"
    (trace,) = model.trace([Query(QUERY.image, text)])
    assert text in trace.prompt
    assert [word.text for word in trace.words] == ["0", "text", "messages", "if", "x", "s"]


def test_a_premise_is_asked_about_in_its_own_form(model: ChatModel) -> None:
    (trace,) = model.trace([Query(QUERY.image, "a bird", premise="it {text} flies")])
    assert 'It is known that: "it {text} flies" Is this' in trace.prompt
    assert [word.text for word in trace.words] == ["a", "bird"]


def test_a_mark_of_the_models_own_is_refused_in_a_text(model: ChatModel) -> None:
    marks = model.processor.tokenizer.all_special_tokens
    for mark in marks:
        with pytest.raises(TextError, match="takes for its own mark"):
            model.trace([Query(QUERY.image, f"a bird {mark} yes")])
    with pytest.raises(TextError, match="the premise has"):
        model.trace([Query(QUERY.image, "a bird", premise=f"{marks[0]} bird")])


def test_a_long_text_is_refused_or_cut_where_that_is_allowed(model: ChatModel) -> None:
    text = "a bird and " * 400
    with pytest.raises(TextError, match=r"tokens with this text, and 640 fit"):
        model.trace([Query(QUERY.image, text)])
    prompt = model.prompt(Query(QUERY.image, text, truncate=True))
    assert 600 < prompt.length <= 640


def test_a_model_whose_attention_cannot_be_watched_gives_no_map(folder: Path) -> None:
    model = loaded(folder)
    model.torch_model.set_attn_implementation("sdpa")
    assert model.trace([QUERY])[0].label in model.labels
    with pytest.raises(CaptureError, match="saw"):
        model.trace([QUERY], frozenset({ANSWER}))


def test_heads_and_layers_that_are_not_there_are_refused(model: ChatModel) -> None:
    with pytest.raises(MapError, match="head 9 was asked for, but the model has 4"):
        model.trace([QUERY], frozenset({ANSWER._replace(heads=(9,))}))
    with pytest.raises(MapError, match="start_layer 3 was asked for, but the model has 2"):
        model.trace([QUERY], frozenset({ReadingKey("rollout", start_layer=3)}))


def test_one_prompt_pass_serves_answers_of_one_token(folder: Path) -> None:
    model = loaded(folder, asking=Asking(answers={"yes": ["Y"], "no": ["N"]}))
    passes: list[int] = []
    hook = model.torch_model.register_forward_hook(lambda *_: passes.append(1))
    model.trace([QUERY, QUERY], frozenset({ANSWER}))
    hook.remove()
    assert len(passes) == 1


def test_bfloat16_says_nearly_the_same(folder: Path) -> None:
    exact, rough = loaded(folder), loaded(folder, dtype="bfloat16")
    (one,), (other,) = (m.trace([QUERY], frozenset({ANSWER})) for m in (exact, rough))
    assert other.probabilities == pytest.approx(one.probabilities, abs=0.05)
    np.testing.assert_allclose(other.readings[ANSWER].cells, one.readings[ANSWER].cells, atol=0.02)
    assert exact.fingerprint.digest == rough.fingerprint.digest


def test_a_family_that_refuses_sdpa_is_read_from_its_eager_attention(folder: Path) -> None:
    usual, model = loaded(folder), loaded(folder)
    # As transformers does for text models with a cap on their scores.
    model.torch_model.set_attn_implementation({"": "sdpa", "text_config": "audit_rows_eager"})
    need = frozenset({ANSWER, ReadingKey("relevance"), ReadingKey("rollout")})
    (one,), (other,) = usual.trace([QUERY], need), model.trace([QUERY], need)
    for key, reading in one.readings.items():
        np.testing.assert_allclose(other.readings[key].cells, reading.cells, atol=1e-6)


@pytest.mark.slow
def test_nothing_of_ofa_or_modelscope_is_imported(folder: Path) -> None:
    code = (
        "import json, sys\n"
        "from audit.models.hf.loader import HF\n"
        f"HF.load('hf:{folder}', device='cpu', dtype='float32', threads=1)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    path = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    modules = json.loads(done.stdout.splitlines()[-1])
    assert [m for m in modules if m.startswith(("audit.models.ofa", "modelscope"))] == []


CASES = """\
cases:
  - id: square
    image: images/a.png
    text: a red square
    regions: {square: [[0.3, 0.3, 0.6, 0.6]]}
    expect:
      label: LABEL
      attention:
        - {metric: entropy, min: 0.1}
        - {metric: mass, region: square, min: 0.001, map: {method: relevance}}
"""


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava", "smolvlm"])
def test_a_session_of_pytest_has_baselines_and_notices_another_seed(
    family: str,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    folder_of: Callable[[str], Path],
    model_of: Callable[[str], ChatModel],
) -> None:
    monkeypatch.delenv("CI", raising=False)
    picture = Image.new("RGB", (90, 70), "navy")
    picture.paste("red", (30, 25, 50, 40))
    (pytester.path / "cases" / "images").mkdir(parents=True)
    picture.save(pytester.path / "cases" / "images" / "a.png")
    (trace,) = model_of(family).trace([Query(picture, "a red square")])
    (pytester.path / "cases" / "a.yaml").write_text(CASES.replace("LABEL", trace.label))
    shutil.copytree(folder_of(family), pytester.path / "model")
    pytester.makeini("[pytest]\naudit_baselines = baselines\naudit_run_dir = run\n")
    asked = ("cases", "--audit-model", "hf:model", "--audit-device", "cpu", "--audit-threads", "1")
    pytester.runpytest(*asked, "--audit-update=new").assert_outcomes(passed=1)
    stored = json.loads((pytester.path / "baselines" / "square.json").read_text())
    assert stored["unsaid"]["accepted"] == pytest.approx(trace.unsaid, abs=1e-5)
    pytester.runpytest(*asked).assert_outcomes(passed=1)
    stored["unsaid"] = {"accepted": stored["unsaid"]["accepted"] - 0.2, "anchor": 0.0}
    (pytester.path / "baselines" / "square.json").write_text(json.dumps(stored))
    result = pytester.runpytest(*asked)
    result.assert_outcomes(failed=1)
    assert "unsaid" in result.stdout.str()
