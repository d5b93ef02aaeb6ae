"""Reads what a server answers: strictly where it matters, and blind to what else is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from audit.base import strictjson
from audit.base.errors import printable

_READ = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

LogProbability = Annotated[float, Field(le=1e-3, allow_inf_nan=False)]
"""At most 0, but for rounding."""

Byte = Annotated[int, Field(ge=0, le=255)]
_Name = Annotated[str, Field(max_length=1000)]


class Token(BaseModel):
    """A token and its log-probability."""

    model_config = _READ

    token: _Name
    logprob: LogProbability
    raw: list[Byte] | None = Field(None, alias="bytes", max_length=4000)

    @property
    def spelled(self) -> bytes:
        """What it adds to the answer; a part of a character has no text, but has bytes."""
        return self.token.encode() if self.raw is None else bytes(self.raw)


class Position(Token):
    """A token of the answer, and the likeliest ones at its place."""

    top_logprobs: list[Token] = Field(min_length=1)


class LogProbabilities(BaseModel):
    """The tokens of an answer, in order."""

    model_config = _READ

    content: list[Position] = Field(min_length=1)


class Choice(BaseModel):
    """One answer."""

    model_config = _READ

    logprobs: LogProbabilities


class Completion(BaseModel):
    """An answer to a chat, with its log-probabilities."""

    model_config = _READ

    choices: list[Choice] = Field(min_length=1, max_length=1)
    model: _Name = ""
    system_fingerprint: _Name | None = None


class Entry(BaseModel):
    """A model in a server's list, with what identifies it and stays when the server restarts."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    id: _Name
    root: JsonValue = None
    parent: JsonValue = None
    owned_by: JsonValue = None
    max_model_len: JsonValue = None
    meta: JsonValue = None


class Entries(BaseModel):
    """The models of a server."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    data: list[Entry]


_Read = TypeVar("_Read", bound=BaseModel)


def read(body: bytes, kind: type[_Read]) -> _Read:
    """An answer's body.

    Raises:
        ValueError: it is not JSON, or not of this kind; the message names the key.
    """
    try:
        found: Any = strictjson.loads(body.decode())
    except ValueError as error:  # also if it is not UTF-8
        raise ValueError(f"no JSON: {printable(str(error))}") from None
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        raise ValueError(_fault(first["loc"], str(first["msg"]), found)) from None


def _fault(loc: tuple[int | str, ...], message: str, found: Any) -> str:
    if "logprobs" in loc[:3] and "top_logprobs" not in loc and _lacks(found):
        return (
            "an answer without log-probabilities (choices.0.logprobs), which are needed: it must "
            "support logprobs and top_logprobs for chats"
        )
    key = ".".join(map(str, loc)) or "body"
    return f"no proper answer: {printable(key)}: {message}"


def _lacks(found: Any) -> bool:
    """Whether an answer has no log-probabilities at all."""
    try:
        given = found["choices"][0].get("logprobs")
    except (KeyError, IndexError, TypeError, AttributeError):
        return False
    return not given or (isinstance(given, Mapping) and given.get("content") is None)
