"""Describe the map that is wanted: in a case file, on the command line, or in code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from audit.base.errors import MapError, nearest
from audit.base.texts import readable
from audit.base.words import words_in
from audit.maps.methods import ALWAYS, METHODS, canonical, nearest_method
from audit.maps.methods import Method as Row
from audit.maps.mistakes import told
from audit.maps.trace import ANSWER, HeadChoice, HeadPlace, ReadingKey, Window

Method = Annotated[
    Literal[
        "answer_attention",
        "word_attention",
        "rollout",
        "relevance",
        "occlusion",
        "uniform",
        "centre",
        "random",
        "blank",
    ],
    BeforeValidator(lambda name: canonical(name) if isinstance(name, str) else name),
    WithJsonSchema(
        {
            "type": "string",
            "enum": [n for name, row in METHODS.items() for n in (name, *row.spellings)],
        }
    ),
]

CONTROLS = tuple(name for name, row in METHODS.items() if row.control)
"""Maps that ignore the picture: a map that does not beat them explains nothing."""


def _layers_text(value: str) -> str:
    if not re.fullmatch(r"all|last|last:[1-9][0-9]*", value):
        raise ValueError(
            f"{value!r} is not a choice of layers: all, last, last:N, or a list of numbers"
        )
    return value


def _distinct(value: list[Any]) -> list[Any]:
    if len(set(value)) != len(value):
        raise ValueError("a number is listed twice")
    return value


_PLACE = r"^L([1-9][0-9]{0,3})H([1-9][0-9]{0,3})$"

Place = Annotated[str, Field(pattern=_PLACE)]
"""One head of one layer, both counted from 1, as in ``L4H2``."""

CHOSEN = "chosen"
"""Stands for the heads that ``audit heads`` chose for a model, until they are looked up."""

_Numbers = Annotated[list[PositiveInt], Field(min_length=1), AfterValidator(_distinct)]
_Places = Annotated[list[Place], Field(min_length=1), AfterValidator(_distinct)]
Layers = Annotated[str, AfterValidator(_layers_text)] | _Numbers
Heads = Literal["mean", "max", "weighted", "chosen"] | _Numbers | _Places


class MapSpec(BaseModel):
    """How to read a map from a trace.

    Its arguments are the keys of a map, given by name; :meth:`parse` takes them as text. Layers and
    heads count from 1, ``window``, ``stride`` and ``smooth`` are in cells of the grid.

    Raises:
        ValidationError: pydantic's, a ValueError: an unknown key, or a value that it cannot have.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # What editors of case files show; the docstring is for Python.
        json_schema_extra={"description": "How to read a map from a trace."},
    )

    method: Method = Field("answer_attention", description="What to read.")
    word: str | None = Field(
        None, min_length=1, description="word_attention: a word or phrase of the hypothesis."
    )
    layers: Layers = Field(
        "all",
        description="Layers (for rollout: of the decoder, on top): all, last, last:N, or a list of "
        "numbers counted from 1.",
        union_mode="left_to_right",
    )
    heads: Heads = Field(
        "mean",
        description="Heads: mean, max, weighted (by |c_attn|), or a list to average: of numbers "
        "counted from 1, in every layer, or of single heads such as L4H2, the second of the fourth "
        "layer; chosen: those that audit heads found.",
        union_mode="left_to_right",
    )
    variant: Literal["causal", "paper"] = Field(
        "causal", description="relevance: how the decoder's own attention enters."
    )
    start_layer: PositiveInt = Field(
        1, description="rollout, relevance: first encoder layer that counts, from 1."
    )
    residual: Literal["measured"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "measured", description="rollout: share of the residual connection, measured or a number."
    )
    window: PositiveInt | None = Field(
        None,
        description="occlusion: side of the grey square in cells; default a sixth of the grid.",
    )
    stride: PositiveInt | None = Field(
        None, description="occlusion: step of the square in cells; default half of it."
    )
    seed: NonNegativeInt = Field(0, description="random: which random map.")
    subtract: Literal["none", "blank"] = Field(
        "none", description="Subtract the same map of a grey picture; negative cells become 0."
    )
    relative: Literal["none", "generic"] = Field(
        "none",
        description="Divide, cell by cell, by the same map under a question that asks nothing.",
    )
    drop: Literal["none", "sinks"] = Field(
        "none",
        description="Set the cells to 0 that stand out under a question that asks nothing.",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Below 1 sharpens, above 1 flattens: softmax(log p / temperature).",
    )
    smooth: float = Field(
        0.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Sigma of a Gaussian blur in cells, after the temperature.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, given: object) -> object:
        # pydantic takes true for 1 and false for 0, but no key of a map is a boolean.
        if isinstance(given, bool):
            raise ValueError("no key of a map is true or false")
        return given

    @field_validator("word")
    @classmethod
    def _readable(cls, word: str | None) -> str | None:
        # The word becomes a part of the map's key, which names the map in files.
        return word if word is None else readable(word, "word")

    @model_validator(mode="after")
    def _possible(self) -> MapSpec:
        taken = (*METHODS[self.method].keys, *ALWAYS)
        for name in self.model_fields_set - {"method", *taken}:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"the method {self.method} takes no {name!r}; it takes {', '.join(taken)}"
                )
        if self.single_heads:
            if not METHODS[self.method].by_head:
                takers = " and ".join(name for name, row in METHODS.items() if row.by_head)
                raise ValueError(f"single heads can be chosen for {takers}, not for {self.method}")
            if self.layers != "all":
                raise ValueError("single heads name their layers, so 'layers' cannot be given too")
        if self.relative != "none" and self.subtract != "none":
            raise ValueError("'relative' divides and 'subtract' subtracts: give only one of them")
        if self.method == "word_attention":
            if self.word is None:
                raise ValueError(
                    "the method word_attention needs a word of the hypothesis, as in word=birds"
                )
            if not words_in(self.word):
                raise ValueError(f"{self.word!r} has no word in it")
        return self

    @property
    def key(self) -> str:
        """A short text that identifies this map, used as its name in files and on pages.

        >>> MapSpec(layers="last:2").key
        'answer_attention layers=last:2'
        >>> MapSpec(method="word_attention", word="two birds", temperature=0.5).key
        "word_attention word='two birds' temperature=0.5"
        """
        parts = [str(self.method)]
        for name, about in type(self).model_fields.items():
            value = getattr(self, name)
            if name == "method" or value == about.default:
                continue
            if isinstance(value, list):
                value = ",".join(map(str, value))
            parts.append(
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={_quoted(value)}"
            )
        return " ".join(parts)

    @classmethod
    def parse(cls, text: str) -> MapSpec:
        """Read a map as :attr:`key` writes it and as people type it on a command line.

        >>> MapSpec.parse("relevance variant=paper start_layer=2").variant
        'paper'
        >>> MapSpec.parse("cross_attention").method
        'answer_attention'

        Raises:
            ValueError: it has an unknown method, an unknown key, or a value that its key cannot
                have.
        """
        if not text.strip():
            raise ValueError(f"an empty text is no map; {nearest('', METHODS)}")
        try:
            method, *pairs = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a map: {error}") from None
        method = canonical(method)
        if method not in METHODS:
            raise ValueError(f"{method!r} is not a method; {nearest_method(method)}")
        given: dict[str, Any] = {"method": method}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            known = (*METHODS[method].keys, *ALWAYS)
            if not equals and name in known:
                raise ValueError(f"{name!r} has no value: write {name}=VALUE, without spaces")
            if not equals or name not in cls.model_fields:
                raise ValueError(f"{pair!r} is not key=value of a map; {nearest(name, known)}")
            if name in given:
                raise ValueError(f"{name!r} is given twice")
            given[name] = _listed(value) if name in ("layers", "heads") else value
        return cls.model_validate(given)

    @classmethod
    def of(cls, map: str | MapSpec) -> MapSpec:
        """A map that is given as a spec or as its text.

        >>> MapSpec.of("rollout") == MapSpec(method="rollout")
        True

        Raises:
            ValueError: see :meth:`parse`; the message is one line.
        """
        if isinstance(map, MapSpec):
            return map
        given: object = map  # in a notebook nobody checks types
        if not isinstance(given, str):
            several = "; for several give maps=[...]" if isinstance(given, list | tuple) else ""
            raise ValueError(
                "a map is a text such as 'relevance', or an audit.MapSpec, not an object of the "
                f"type {type(given).__name__}{several}"
            )
        try:
            return cls.parse(given)
        except ValidationError as error:
            raise ValueError(f"{map}: {told(error)}") from None

    @property
    def single_heads(self) -> bool:
        """Whether it is made of single heads of single layers, rather than of whole layers."""
        return self.heads == CHOSEN or (
            isinstance(self.heads, list) and isinstance(self.heads[0], str)
        )

    def with_heads(self, places: Sequence[str]) -> MapSpec:
        """The same map of these heads, if it is one of the chosen heads; else the map itself."""
        return self.model_copy(update={"heads": list(places)}) if self.heads == CHOSEN else self

    @property
    def head_choice(self) -> HeadChoice:
        """The choice of heads in the form that a reading's key has.

        Raises:
            MapError: the chosen heads were not looked up.
        """
        if self.heads == CHOSEN:
            raise MapError(
                "heads: chosen stands for the heads in heads.json beside the model's baselines, "
                "and there are none: choose them with audit heads, or name them, as in heads: "
                "[L4H2]"
            )
        if isinstance(self.heads, str):
            return self.heads
        numbers = tuple(head for head in self.heads if isinstance(head, int))
        return numbers or tuple(map(place_of, map(str, self.heads)))

    @property
    def window_choice(self) -> Window:
        """The window in the form by which evidence stores occlusion."""
        return Window(self.window, self.stride)

    @property
    def row(self) -> Row:
        """The method's row of the table."""
        return METHODS[self.method]

    @property
    def reading(self) -> ReadingKey:
        """The reading that is asked of the model, for the map itself or for its image share.

        A map that is not read from the model takes the image share of the answer's attention.
        """
        if self.method == "blank":
            return ANSWER._replace(heads=self.head_choice)
        if not self.row.from_model:
            return ANSWER
        residual = None if isinstance(self.residual, str) else float(self.residual)
        return ReadingKey(
            self.method, self.head_choice, self.word, self.start_layer, residual, self.variant
        )

    @property
    def needs_blank(self) -> bool:
        """Whether the model must also be shown a grey picture."""
        return self.method == "blank" or self.subtract == "blank"

    @property
    def needs_generic(self) -> bool:
        """Whether the model must also be asked a question that asks nothing."""
        return self.relative == "generic" or self.drop == "sinks"

    @property
    def per_layer(self) -> bool:
        """Whether the map can be read from one layer at a time."""
        return self.row.by_layer and not self.single_heads


def default_map(methods: Sequence[str]) -> MapSpec:
    """The map that is measured if nobody asks for another.

    Args:
        methods: those that the model gives, its default first.

    >>> default_map(["rollout", "answer_attention"]).key, default_map([]).key
    ('answer_attention', 'occlusion')
    """
    usual = MapSpec()
    if usual.method in methods:
        return usual
    without_a_word = (method for method in methods if "word" not in METHODS[method].keys)
    return MapSpec.model_validate({"method": next(without_a_word, "occlusion")})


RANDOM = MapSpec(method="random")
"""The control that faithfulness is measured against."""


def _listed(value: str) -> list[int] | list[str] | str:
    """What somebody wrote for layers or heads: numbers, single heads, or a word."""
    parts = [part.strip() for part in value.strip("[]").split(",")]
    if all(part.isdigit() for part in parts):
        return [int(part) for part in parts]
    return parts if all(re.match(_PLACE, part) for part in parts) else value


def place_of(written: str) -> HeadPlace:
    """The head that somebody named as in ``L4H2``.

    >>> place_of("L4H2")
    HeadPlace(layer=4, head=2)
    """
    found = re.match(_PLACE, written)
    assert found is not None
    return HeadPlace(int(found[1]), int(found[2]))


def _quoted(value: Any) -> str:
    return shlex.quote(str(value))
