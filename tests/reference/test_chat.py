"""The embedded chat model: it is a plain Qwen2.5-VL, loads by its name, and knows the world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from audit import load_model
from audit.base.settings import EMBEDDED
from audit.models.hf.embedded import COPIED, REFERENCE_CHAT
from audit.models.kit.altering import Layered
from audit.models.kit.asking import read_asking
from audit.models.kit.randomise import stages
from audit.models.protocol import Model, Query
from audit.reference.chat.recipe import CELLS, CHAT
from audit.reference.evaluation import evaluate
from audit.reference.variety import varied

SHIPPED = Path(__file__).parents[2] / "audit" / "reference" / "reference-chat"


@pytest.fixture(scope="module")
def chat() -> Model:
    return load_model("reference-chat", device="cpu")


def test_shipped_parameters_are_small_and_half_precision() -> None:
    path = SHIPPED / "parameters.safetensors"
    assert path.stat().st_size < 12_000_000
    with safe_open(path, framework="pt") as file:
        types = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert types == {"F16"}


def test_its_network_is_transformers_own_class(chat: Model) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    assert type(chat.torch_model) is Qwen2_5_VLForConditionalGeneration  # type: ignore[attr-defined]


def test_unpacking_happens_once_and_leaves_a_folder_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_CACHE", str(tmp_path))
    folder = REFERENCE_CHAT.known("reference-chat", fetch=True).folder
    assert folder is not None
    assert {p.name for p in folder.iterdir()} == {*COPIED, "model.safetensors"}
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert REFERENCE_CHAT.known("reference-chat", fetch=True).folder == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_it_is_an_embedded_model_that_says_its_labels_before_it_is_loaded(chat: Model) -> None:
    asking = read_asking(SHIPPED / "asking.yaml")
    assert REFERENCE_CHAT.known("reference-chat").labels == asking.labels == chat.labels
    assert "reference-chat" in EMBEDDED
    assert (chat.fingerprint.name, chat.fingerprint.source) == ("reference-chat", "reference-chat")


def test_pictures_keep_their_shape_and_have_few_cells(chat: Model) -> None:
    pictures = [varied(CHAT.held_out_seed, index).image for index in range(8)]
    traces = chat.trace([Query(picture, "there are two birds") for picture in pictures])
    grids = {tuple(trace.grid) for trace in traces}
    assert len(grids) > 1
    assert all(rows * columns <= CELLS for rows, columns in grids)


def test_it_is_randomised_from_the_answer_down_to_the_picture_and_whole(chat: Model) -> None:
    assert isinstance(chat, Layered)
    found = stages(chat.torch_model, chat.stages)
    assert len(found) > CHAT.layers + CHAT.vision_depth
    held = {value.data_ptr() for stage in found for value in stage.values.values()}
    assert {value.data_ptr() for value in chat.torch_model.parameters()} <= held


@pytest.mark.slow
def test_held_out_scenes_are_answered_as_the_card_says(chat: Model) -> None:
    recipe = replace(CHAT, held_out_seed=778)  # scenes that no figure of the card comes from
    found = evaluate(chat, recipe, 25, lambda items, total, title: items)
    assert found["accuracy"] >= 0.95
    assert found["accuracy_premise"] >= 0.85
    assert found["varied_accuracy"] >= 0.92
