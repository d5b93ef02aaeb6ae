"""What decides which tokens a text becomes is read whole, or refused by file, line and key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from audit import load_model
from audit.base.errors import ModelError
from audit.models.ofa.description import check_vocabulary, described


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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("special_tokens_map.json", '{"bos_token": 5}', "the bos_token is 5; it must be text"),
        ("special_tokens_map.json", '{"bos_token": null}', "the bos_token is null; it must be"),
        ("special_tokens_map.json", '{"additional_special_tokens": ["a", 5]}',
         "additional_special_tokens.1 is 5; it must be text"),
        ("tokenizer_config.json", '{"pad_token": {"lstrip": true}}', "the pad_token is {'lstrip'"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"0": 5}}',
         "added_tokens_decoder.0 is 5; it must be an object"),
        ("tokenizer_config.json", '{"pad_token": {"content": "<pad>"}}',
         'pad_token is an object without "__type": "AddedToken"'),
        ("added_tokens.json", '{"birds": "x"}',
         "'birds' must be a token and have a whole number, not 'x'"),
        ("added_tokens.json", '{"birds": -1}', "'birds' must be"),
        ("tokenizer.json", "{}", "the added_tokens is missing"),
        ("tokenizer.json", "", "the file is empty"),
        ("tokenizer.json", "[]", "not a JSON object"),
        ("tokenizer.json", '{"added_tokens": [5]}', "added_tokens.0 is 5; it must be an object"),
        ("tokenizer.json", '{"added_tokens": [{"id": "x", "content": "a"}]}',
         "added_tokens.0.id is 'x'; it must be a whole number"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_a_file_of_the_tokenizer_is_refused_by_its_key(
    folder: Path, name: str, content: str, said: str
) -> None:
    (folder / name).write_text(content)
    with pytest.raises(ModelError, match=rf"{re.escape(name)}.*: .*{re.escape(said)}"):
        load_model(str(folder))


def test_a_tokenizer_whose_marks_are_not_the_models_is_refused(folder: Path) -> None:
    """It answered, and otherwise than the model that was trained."""
    (folder / "special_tokens_map.json").write_text('{"bos_token": "<pad>"}')
    with pytest.raises(
        ModelError,
        match=r"bos_token_id is 1, config\.json's 0; see bos_token in special_tokens_map\.json",
    ):
        load_model(str(folder), device="cpu")


def test_what_transformers_writes_beside_a_tokenizer_is_taken(folder: Path) -> None:
    """Its usual nulls, objects and plain texts."""
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": True}
    marks = {"bos_token": "<s>", "cls_token": None, "mask_token": mask}
    decoder = {"0": {"content": "<s>", "special": True, "single_word": False}}
    for name, content in (
        ("special_tokens_map.json", marks),
        ("tokenizer_config.json",
         {**marks, "mask_token": {**mask, "__type": "AddedToken"},
          "added_tokens_decoder": decoder, "model_max_length": int(1e30)}),
        ("added_tokens.json", {}),
        ("tokenizer.json", {"added_tokens": [{"id": 0, "content": "<s>", "special": True}]}),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(content))
    assert load_model(str(folder), device="cpu").labels == ("no", "yes", "maybe")
