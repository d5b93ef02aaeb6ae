"""The schema of case files: what may be written, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from audit.base.errors import nearest
from audit.base.names import CASE, LONGEST_CASE, LONGEST_VARIANT, VARIANT
from audit.base.texts import readable, refuse_unprintable
from audit.cases.expectations import AttentionExpectation, Expect, Finite, number
from audit.cases.variants import FALL, MAKERS, MakerName
from audit.maps.reading import MapSpec
from audit.metrics.registry import METRICS

_STRICT = ConfigDict(extra="forbid", frozen=True)
_BUILTIN_MARKS = ("filterwarnings", "parametrize", "skip", "skipif", "usefixtures", "xfail")


def _tag(value: str) -> str:
    if not value.isidentifier():
        raise ValueError(f"the tag {value!r} cannot be a pytest marker: use letters, digits and _")
    if value in _BUILTIN_MARKS:
        raise ValueError(f"the tag {value!r} is one of pytest's own markers")
    return value


def _figure(value: str) -> str:
    known = ["probability", "unsaid", *METRICS]
    if value not in known:
        raise ValueError(f"{value!r} is not a metric; {nearest(value, known)}")
    return value


Tag = Annotated[str, AfterValidator(_tag)]


def region_name(value: str) -> str:
    """``value``, if a region may have this name.

    Raises:
        ValueError: it may not; the message says what a name may hold.
    """
    plain = all(category(c)[0] in "LMN" or c in _MARKS for c in value) and "::" not in value
    if not (plain and value[:1].isalnum() and value == value.strip() and len(value) <= _LONGEST):
        raise ValueError(
            f"a region's name has letters, digits, spaces and {' '.join(_MARKS.strip())}, begins "
            f"with a letter or digit, and is at most {_LONGEST} characters long"
        )
    return value


_MARKS = " _-.,:'’&+/()"
_LONGEST = 60

Region = Annotated[
    str,
    AfterValidator(region_name),
    # In terms that every dialect of regular expressions has: it excludes control characters and
    # the other marks of ASCII.
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[^\x00-/:-@\[-`{-\x7f][^\x00-\x1f!-%*;-@\[-^`{-\x7f]*$",
            "maxLength": _LONGEST,
        }
    ),
]
"""The name of a region; it is printed in many places, and in brackets in the names of figures."""


def _path(value: str) -> str:
    # A YAML block of text ends with a line break.
    value = value.removesuffix("\n")
    if not value.strip():
        raise ValueError("the picture's name is empty")
    refuse_unprintable(value, "the picture's name")
    return value


Text = Annotated[str, Field(min_length=1), AfterValidator(readable)]
"""A hypothesis, a premise, a reason: see :func:`audit.base.texts.readable`."""

Written = Annotated[str, Field(min_length=1), AfterValidator(_path)]
Drift = dict[
    Annotated[str, AfterValidator(_figure)],
    Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(number)],
]
_Number = (
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
)


class CaseDefaults(BaseModel):
    """What every case of a file uses unless the case itself says otherwise."""

    model_config = _STRICT

    map: MapSpec = Field(MapSpec(), description="Which map is measured.")
    tags: tuple[Tag, ...] = Field((), description="Tags of every case; they become pytest markers.")
    drift: Drift = Field(
        {}, description="Absolute drift tolerance by metric name, and probability or unsaid."
    )


def _true(value: object) -> object:
    if value is not True and value is not None:
        raise ValueError("write true, or leave the key out")
    return value


_True = Annotated[bool, BeforeValidator(_true), WithJsonSchema({"const": True})]


class Falls(BaseModel):
    """How far the probability of the label that the case expects must fall."""

    model_config = _STRICT

    falls: Finite = Field(gt=0, le=1, description="By at least how much.")

    _number = field_validator("falls", mode="before")(number)


def _falls(given: object) -> object:
    if isinstance(given, str):
        if given != "falls":
            raise ValueError(f"{given!r} is not known; {nearest(given, ['falls'])}")
        return {"falls": FALL}
    if not isinstance(given, Mapping | Falls):
        raise ValueError(f"write probability: falls (by at least {FALL}), or {{falls: 0.3}}")
    return given


def _schema_of_variant(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [
        {"required": [maker], "properties": {maker: {"not": {"type": "null"}}}} for maker in MAKERS
    ]
    schema["dependentRequired"] = {"follows": ["js"], "js": ["follows"]}
    falls = {"const": "falls", "description": f"By at least {FALL}."}
    schema["properties"]["probability"]["anyOf"].insert(0, falls)


class VariantSpec(BaseModel):
    """A variant of a case: how it is made from the case, and what must hold between the two."""

    model_config = ConfigDict(**_STRICT, json_schema_extra=_schema_of_variant)

    name: str | None = Field(
        None,
        pattern=rf"^{VARIANT}$",
        max_length=LONGEST_VARIANT,
        description="Its name; default: the maker's, with a number from the second on.",
    )
    mirror: _True | None = Field(None, description="The picture mirrored, left to right.")
    crop: list[_Number] | None = Field(
        None, description="The part of the picture in a box, written like one of a region."
    )
    brightness: Finite | None = Field(
        None, ge=0, le=10, description="The picture with every channel multiplied by this."
    )
    jpeg: Annotated[int, Field(strict=True, ge=1, le=95)] | None = Field(
        None, description="The picture as JPEG of this quality, from 1 to 95."
    )
    blur: Finite | None = Field(
        None,
        ge=0.1,
        le=1000,
        description="The picture blurred by a Gaussian with this deviation in pixels.",
    )
    blank: _True | None = Field(None, description="A grey picture of the same size.")
    swap: Written | None = Field(None, description="Another picture, relative to this file.")
    paraphrase: Text | None = Field(None, description="A text that says the same.")
    negate: Text | None = Field(None, description="A text that says the opposite.")
    label: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="same or other, than the answer to the case, or the label that is right; "
        "default: same, but nothing for blank, swap and negate.",
    )
    follows: _True | None = Field(
        None, description="Whether the map must be that of the case, moved with the picture."
    )
    js: Finite | None = Field(
        None,
        gt=0,
        lt=1,
        description="How far it may be from there: Jensen-Shannon distance, above 0 and below 1.",
    )
    probability: Annotated[Falls, BeforeValidator(_falls)] | None = Field(
        None, description="Whether the probability of the label that the case expects must fall."
    )
    attention: tuple[AttentionExpectation, ...] = Field(
        (), description="Limits on metrics of the variant's own maps."
    )
    xfail: Text | None = Field(None, description="Why the variant is known to fail.")

    _numbers = field_validator("brightness", "jpeg", "blur", "js", mode="before")(number)

    @model_validator(mode="after")
    def _possible(self) -> VariantSpec:
        made = [maker for maker in MAKERS if getattr(self, maker) is not None]
        if len(made) != 1:
            written = f"has {' and '.join(made)}" if made else "has none"
            raise ValueError(f"a variant needs one of {', '.join(MAKERS)}, but {written}")
        maker = made[0]
        given = [key for key in ("follows", "js") if getattr(self, key) is not None]
        if given and not MAKERS[maker].follows:
            raise ValueError(
                f"after {maker} no map can follow that of the case: leave {' and '.join(given)} out"
            )
        if len(given) == 1:
            missing, one = ("js: 0.1", "follows") if self.js is None else ("follows: true", "js")
            raise ValueError(f"{one} needs {missing} beside it")
        if not (MAKERS[maker].keeps or self.label or self.probability or self.attention):
            raise ValueError(
                f"{maker}: say what must hold: label (same, other or a label), probability: falls, "
                "or attention"
            )
        return self

    @property
    def maker(self) -> MakerName:
        """The one way to make it that is given."""
        return next(maker for maker in MAKERS if getattr(self, maker) is not None)


class CaseSpec(BaseModel):
    """One case as it is written in its file."""

    model_config = _STRICT

    id: str = Field(
        pattern=rf"^{CASE}$",
        max_length=LONGEST_CASE,
        description="Unique name of the case.",
    )
    image: Written = Field(description="The picture, relative to this file.")
    text: Text = Field(description="The hypothesis: a sentence about the picture.")
    premise: Text | None = Field(None, description="A text premise, besides the picture.")
    truncate: bool = Field(
        False, description="Whether the model may cut texts that are longer than it can read."
    )
    regions: dict[Region, list[list[_Number]]] = Field(
        {}, description="Named boxes [left, top, right, bottom], as fractions or pixels."
    )
    tags: tuple[Tag, ...] = Field((), description="Tags; they become pytest markers.")
    map: MapSpec | None = Field(None, description="Which map is measured; replaces the defaults'.")
    expect: Expect = Field(description="What the model must do.")
    drift: Drift = Field(
        {}, description="Absolute drift tolerance by metric name, and probability or unsaid."
    )
    critical: bool = Field(
        False, description="Whether a regression of this case alone is a veto, whatever the rest."
    )
    xfail: Text | None = Field(
        None, description="Why this case is known to fail; it then does not fail the session."
    )
    repeat: PositiveInt = Field(
        1, le=100, description="How often the model is asked; limits and drift are for the mean."
    )

    variants: tuple[VariantSpec, ...] = Field(
        (), description="Cases that are made from this one, and what must hold between them."
    )

    _number = field_validator("repeat", mode="before")(number)


def _own_keys(schema: dict[str, Any]) -> None:
    schema["patternProperties"] = {
        f"^{OWN_KEYS}": {"description": "The author's own, for anchors; audit does not read it."}
    }


OWN_KEYS = "x-"
"""Top-level keys that begin with this are the author's own, for anchors."""


class CaseFileSpec(BaseModel):
    """A file of cases."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, title="audit cases", json_schema_extra=_own_keys
    )

    defaults: CaseDefaults = Field(CaseDefaults(), description="Used by every case of the file.")
    cases: list[CaseSpec] = Field(min_length=1, description="The cases.")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a case file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **CaseFileSpec.model_json_schema(),
    }
