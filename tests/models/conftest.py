"""What tests of checkpoints share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without a fault; tests leave it as it is."""
    # It is an OFA, which cannot be imported with transformers 5, as tests/models/hf are.
    from tests.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("whole") / "ofa")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil; its weights are a link, as in Hugging Face's cache."""
    made = shutil.copytree(whole, tmp_path / "ofa", ignore=lambda *_: ["pytorch_model.bin"])
    (made / "pytorch_model.bin").symlink_to(whole / "pytorch_model.bin")
    return made
