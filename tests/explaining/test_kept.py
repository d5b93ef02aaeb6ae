"""Models that are named again are not loaded again, and no more are kept than said."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from audit.base.errors import ModelError
from audit.explaining import kept
from audit.explaining.kept import Kept
from tests.toy_model import ToyModel


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were loaded, in order; "broken" cannot be."""
    made: list[str] = []

    def load(source: str) -> ToyModel:
        made.append(source)
        if source == "broken":
            raise ModelError("broken: no such model")
        return ToyModel()

    monkeypatch.setattr(kept, "load_model", load)
    return made


def test_a_name_that_was_just_used_is_not_loaded_again(loads: list[str]) -> None:
    models = Kept()
    assert models.get("reference") is models.get("reference")
    assert loads == ["reference"]


def test_the_one_that_waited_longest_makes_room(loads: list[str]) -> None:
    models = Kept(2)
    for source in ("reference", "shortcut", "reference", "a/b", "reference", "shortcut"):
        models.get(source)
    assert loads == ["reference", "shortcut", "a/b", "shortcut"]


@pytest.mark.slow
def test_no_more_models_are_in_memory_than_are_kept_even_while_one_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: weakref.WeakSet[ToyModel] = weakref.WeakSet()
    most = []

    def load(source: str) -> ToyModel:
        gc.collect()
        most.append(len(alive))
        made = ToyModel()
        alive.add(made)
        return made

    monkeypatch.setattr(kept, "load_model", load)
    models = Kept(2)
    for source in "abcd":
        models.get(source)
    assert most == [0, 1, 1, 1]


def test_a_checkpoint_folder_is_loaded_again_once_its_files_changed(
    loads: list[str], tmp_path: Path
) -> None:
    (tmp_path / "weights.bin").write_bytes(b"one")
    models, source = Kept(3), str(tmp_path)
    first = models.get(source)
    assert models.get(source) is first
    (tmp_path / "weights.bin").write_bytes(b"another")
    assert models.get(source) is not first
    models.get(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    models.get(f"hf:{tmp_path}")
    assert loads == [source, source, f"hf:{tmp_path}", f"hf:{tmp_path}"]
    assert len(models._models) == 2  # what is out of date is not kept


def test_a_model_that_could_not_be_loaded_is_tried_again(loads: list[str]) -> None:
    models = Kept()
    for _ in range(2):
        with pytest.raises(ModelError, match="no such model"):
            models.get("broken")
    assert loads == ["broken", "broken"]
