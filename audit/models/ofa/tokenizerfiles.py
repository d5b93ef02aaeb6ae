"""The schema of optional files that change a checkpoint's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from audit.base.errors import ModelError
from audit.models.ofa.settings import (
    OPEN,
    REFUSED_OF_TOKENIZER,
    Count,
    Flag,
    Index,
    parsed,
    refuse_keys,
)


class _Token(BaseModel):
    """A token with its rules, as transformers writes it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    content: Annotated[str, Field(min_length=1)]
    lstrip: Flag = False
    rstrip: Flag = False
    single_word: Flag = False
    normalized: Flag = True
    special: Flag = False


_TOKEN: TypeAdapter[_Token] = TypeAdapter(_Token)


def _mark(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    try:
        _TOKEN.validate_python(value)
    except ValidationError:
        raise ValueError(
            'it must be text, or an object {"content": text} with settings that are true or false'
        ) from None
    return value


def _mark_or_none(value: Any) -> Any:
    return value if value is None else _mark(value)


Mark = Annotated[Any, AfterValidator(_mark)]
MarkOrNone = Annotated[Any, AfterValidator(_mark_or_none)]


class _Marks(BaseModel):
    """``special_tokens_map.json``. The tokenizer has a default for each key that is left out."""

    model_config = OPEN

    bos_token: Mark = "<s>"
    eos_token: Mark = "</s>"
    unk_token: Mark = "<unk>"
    pad_token: Mark = "<pad>"
    sep_token: MarkOrNone = "</s>"
    cls_token: MarkOrNone = "<s>"
    mask_token: MarkOrNone = "<mask>"
    additional_special_tokens: list[Mark] | None = None


class _Config(_Marks):
    """``tokenizer_config.json``."""

    added_tokens_decoder: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], _Token] = {}
    add_prefix_space: Flag = False
    model_max_length: Count | float | None = None


class _Numbered(_Token):
    id: Index


class _Whole(BaseModel):
    """``tokenizer.json``; a tokenizer that is not written in Rust reads only this part of it."""

    model_config = OPEN

    added_tokens: list[_Numbered]


class _Added(BaseModel):
    model_config = OPEN

    tokens: dict[Annotated[str, Field(min_length=1)], Index]


_SCHEMAS: Mapping[str, type[BaseModel]] = {
    "tokenizer_config.json": _Config,
    "special_tokens_map.json": _Marks,
    "tokenizer.json": _Whole,
}
_ADDED = "added_tokens.json"
TOKENIZER_FILES = (*_SCHEMAS, _ADDED)
"""Optional files of a checkpoint folder."""


def check_tokenizer_file(path: Path, data: Mapping[str, Any]) -> None:
    """Refuse a file that would make another tokenizer, or none.

    Raises:
        ModelError: it would; the message names the file and the key.
    """
    if path.name == _ADDED:
        try:
            _Added(tokens=dict(data))
        except ValidationError as error:
            key = error.errors()[0]["loc"][1]
            raise ModelError(
                f"{path}: {str(key)[:60]!r} must be a token and have a whole number, not "
                f"{str(data[str(key)])[:60]!r}"
            ) from None
        return
    refuse_keys(path, data, REFUSED_OF_TOKENIZER)
    parsed(path, data, _SCHEMAS[path.name])
    if path.name == "tokenizer_config.json":
        for key in _Marks.model_fields:
            value = data.get(key)
            if isinstance(value, dict) and value.get("__type") != "AddedToken":
                raise ModelError(
                    f'{path}: {key} is an object without "__type": "AddedToken", which '
                    "transformers needs to recognise a token in this file"
                )
