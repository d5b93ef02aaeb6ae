"""The recipe runs through all its stages, resumes between them, and exports what ships."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from audit.reference.export import SHIPPED, export
from audit.reference.recipe import RECIPE
from audit.reference.training import train

SMALL = replace(
    RECIPE, scenes=24, dense_steps=2, dense_batch=4, question_steps=2, entailment_steps=9,
    attention_steps=2, images_per_batch=3, texts_per_image=2,
)  # fmt: skip


def test_training_resumes_between_stages_and_exports_the_shipped_layout(tmp_path: Path) -> None:
    titles: list[str] = []

    def progress(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
        assert total > 0
        titles.append(title)
        return iter(items)

    def silent(_: str) -> None:
        pass

    first, _ = train(SMALL, tmp_path, progress, silent)
    assert titles == [
        "render", "a dense", "features", "b questions", "c entailment", "d attention",
    ]  # fmt: skip
    (tmp_path / "stage-d-attention.pt").unlink()
    titles.clear()
    again, _ = train(SMALL, tmp_path, progress, silent)
    assert titles == ["d attention"]
    before, after = first.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    # Only the throw-away head differs when a stage is resumed; the frozen part is the same.
    for name, value in before.items():
        if name.startswith("encoder.embed_images"):
            assert torch.equal(value, after[name]), name

    folder = tmp_path / "exported"
    folder.mkdir()
    export(again, SMALL, tmp_path, folder)
    shipped = load_file(SHIPPED / "parameters.safetensors")
    exported = load_file(folder / "parameters.safetensors")
    assert {n: v.shape for n, v in exported.items()} == {n: v.shape for n, v in shipped.items()}
    for name in ("configuration.json", "answer2label.json", "vocab.json", "merges.txt"):
        assert (folder / name).read_bytes() == (SHIPPED / name).read_bytes(), name
