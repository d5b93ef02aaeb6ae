"""What decides which tokens a text becomes is read whole, or refused by file, line and key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit import load_model
from audit.errors import ModelError
from audit.models.description import check_vocabulary, described
from tests.checkpoints import make_checkpoint


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("whole") / "ofa")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil; its weights are a link, as in Hugging Face's cache."""
    made = shutil.copytree(whole, tmp_path / "ofa", ignore=lambda *_: ["pytorch_model.bin"])
    (made / "pytorch_model.bin").symlink_to(whole / "pytorch_model.bin")
    return made


def test_a_merge_without_its_line_end_is_refused_since_the_tokenizer_would_lose_it(
    folder: Path,
) -> None:
    path = folder / "merges.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines))
    with pytest.raises(
        ModelError, match=rf"merges\.txt, line {len(lines)}: '{lines[-1]}' has no line end"
    ):
        load_model(str(folder))


def test_merges_without_their_first_line_are_refused_since_the_tokenizer_would_lose_one(
    folder: Path,
) -> None:
    path = folder / "merges.txt"
    merges = path.read_text().splitlines(keepends=True)[1:]
    path.write_text("".join(merges))
    with pytest.raises(ModelError, match=rf"merges\.txt, line 1: is '{merges[0].strip()}'"):
        load_model(str(folder))


def test_a_merge_that_is_there_twice_is_refused_since_the_tokenizer_would_move_it(
    folder: Path,
) -> None:
    path = folder / "merges.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))
    with pytest.raises(ModelError, match=rf"merges\.txt, line {len(lines) + 1}: .* is also line 2"):
        load_model(str(folder))


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n\n"])
def test_merges_with_other_line_ends_are_the_same_merges(folder: Path, end: str) -> None:
    path = folder / "merges.txt"
    lines = path.read_text().splitlines()
    path.write_bytes("".join(line + end for line in lines).encode())
    check_vocabulary(described(folder))
    with path.open(encoding="utf-8") as file:  # as the tokenizer opens it
        read = file.read().split("\n")[1:-1]
    assert [line for line in read if line] == lines[1:]
