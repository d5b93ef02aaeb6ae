"""How a map is asked for: in a case file, on the command line, in code."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from audit.base.errors import nearest
from audit.base.texts import readable
from audit.base.words import words_in
from audit.maps.trace import HeadChoice, Need, Rollout, Window

Method = Literal[
    "cross_attention",
    "encoder_attention",
    "rollout",
    "relevance",
    "occlusion",
    "uniform",
    "centre",
    "random",
    "blank",
]

TAKES: dict[str, tuple[str, ...]] = {
    "cross_attention": ("layers", "heads", "subtract"),
    "encoder_attention": ("word", "layers", "heads", "subtract"),
    "rollout": ("layers", "heads", "start_layer", "residual", "subtract"),
    "relevance": ("heads", "variant", "start_layer", "subtract"),
    "occlusion": ("window", "stride"),
    "uniform": (),
    "centre": (),
    "random": ("seed",),
    "blank": ("layers", "heads"),
}
"""The keys that each method takes, besides ``temperature`` and ``smooth``, which all take."""

ABOUT: dict[str, str] = {
    "cross_attention": "where the decoder looks when it answers",
    "encoder_attention": "where the encoder looks from a word of the hypothesis",
    "rollout": "attention rolled out through the encoder, under the answer's row",
    "relevance": "attention times gradient of the answer's margin, through all layers",
    "occlusion": "how much the answer's probability falls when a part is greyed",
    "uniform": "control: all cells alike",
    "centre": "control: a Gaussian in the middle, sigma a quarter of the side",
    "random": "control: independent random cells",
    "blank": "control: cross-attention of the same text over a grey picture",
}
"""What each method shows, in words."""

CONTROLS = ("uniform", "centre", "random", "blank")
"""Maps that look at no picture: one that does not beat them explains nothing."""


def _layers_text(value: str) -> str:
    if not re.fullmatch(r"all|last|last:[1-9][0-9]*", value):
        raise ValueError(
            f"{value!r} is not a choice of layers: all, last, last:N, or a list of numbers"
        )
    return value


def _distinct(value: list[int]) -> list[int]:
    if len(set(value)) != len(value):
        raise ValueError("a number is listed twice")
    return value


_Numbers = Annotated[list[PositiveInt], Field(min_length=1), AfterValidator(_distinct)]
Layers = Annotated[str, AfterValidator(_layers_text)] | _Numbers
Heads = Literal["mean", "max", "weighted"] | _Numbers


class MapSpec(BaseModel):
    """How to read a map from a trace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = Field("cross_attention", description="What to read.")
    word: str | None = Field(
        None, min_length=1, description="encoder_attention: a word or phrase of the hypothesis."
    )
    layers: Layers = Field(
        "all",
        description="Layers (for rollout: of the decoder, on top): all, last, last:N, or a list of "
        "numbers counted from 1.",
        union_mode="left_to_right",
    )
    heads: Heads = Field(
        "mean",
        description="Heads: mean, max, weighted (by |c_attn|), or a list of numbers counted from 1 "
        "to average.",
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
        "none", description="Take away the same map of a grey picture; negative cells become 0."
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
        # pydantic takes true for 1, and no key of a map is one or the other.
        if isinstance(given, bool):
            raise ValueError("no key of a map is true or false")
        return given

    @field_validator("word")
    @classmethod
    def _readable(cls, word: str | None) -> str | None:
        # It is in the map's key, which names the map in files.
        return word if word is None else readable(word, "word")

    @model_validator(mode="after")
    def _possible(self) -> MapSpec:
        taken = (*TAKES[self.method], "temperature", "smooth")
        for name in self.model_fields_set - {"method", *taken}:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"the method {self.method} takes no {name!r}; it takes {', '.join(taken)}"
                )
        if self.method == "encoder_attention":
            if self.word is None:
                raise ValueError("the method encoder_attention needs a word of the hypothesis")
            if not words_in(self.word):
                raise ValueError(f"{self.word!r} has no word in it")
        return self

    @property
    def key(self) -> str:
        """A short text that tells this map from others; it names maps in files and pages.

        >>> MapSpec(layers="last:2").key
        'cross_attention layers=last:2'
        >>> MapSpec(method="encoder_attention", word="two birds", temperature=0.5).key
        "encoder_attention word='two birds' temperature=0.5"
        """
        said = [str(self.method)]
        for name, about in type(self).model_fields.items():
            value = getattr(self, name)
            if name == "method" or value == about.default:
                continue
            if isinstance(value, list):
                value = ",".join(map(str, value))
            said.append(
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={_quoted(value)}"
            )
        return " ".join(said)

    @classmethod
    def parse(cls, text: str) -> MapSpec:
        """Read what :attr:`key` gives, as it is typed on a command line.

        >>> MapSpec.parse("relevance variant=paper start_layer=2").variant
        'paper'

        Raises:
            ValueError: not a method, an unknown key, or a value that the key cannot have.
        """
        try:
            method, *pairs = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a map: {error}") from None
        if method not in TAKES:
            raise ValueError(f"{method!r} is not a method; {nearest(method, TAKES)}")
        given: dict[str, Any] = {"method": method}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals or name not in cls.model_fields:
                known = (*TAKES[method], "temperature", "smooth")
                raise ValueError(f"{pair!r} is not key=value of a map; {nearest(name, known)}")
            numbers = value.strip("[]").split(",")
            listed = name in ("layers", "heads") and all(n.strip().isdigit() for n in numbers)
            given[name] = [int(n) for n in numbers] if listed else value
        return cls.model_validate(given)

    @property
    def head_choice(self) -> HeadChoice:
        """The heads as a trace keys them."""
        return tuple(self.heads) if isinstance(self.heads, list) else str(self.heads)

    @property
    def rollout_choice(self) -> Rollout:
        """The rollout as a trace keys it."""
        residual = None if isinstance(self.residual, str) else float(self.residual)
        return Rollout(self.head_choice, self.start_layer, residual)

    @property
    def window_choice(self) -> Window:
        """The window as a trace keys it."""
        return Window(self.window, self.stride)

    @property
    def need(self) -> Need:
        """What a trace must hold, besides what it always holds, for this map to be read."""
        return Need(
            words=frozenset({self.head_choice} if self.method == "encoder_attention" else ()),
            rollouts=frozenset({self.rollout_choice} if self.method == "rollout" else ()),
            relevances=frozenset({self.head_choice} if self.method == "relevance" else ()),
        )

    @property
    def needs_blank(self) -> bool:
        """Whether the model must also be shown a grey picture."""
        return self.method == "blank" or self.subtract == "blank"

    @property
    def per_layer(self) -> bool:
        """Whether the map can be read from one layer at a time."""
        return "layers" in TAKES[self.method]


def told(error: ValidationError) -> str:
    """What is wrong with a map that could not be read, in one line."""
    first = error.errors()[0]
    key = f"{first['loc'][0]}: " if first["loc"] else ""
    return f"{key}{first['msg'].removeprefix('Value error, ')}"


RANDOM = MapSpec(method="random")
"""The control that faithfulness is measured against."""


def _quoted(value: Any) -> str:
    return shlex.quote(str(value))
