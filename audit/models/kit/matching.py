"""The asking file of a matcher, which scores how well a text and a picture belong together."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from audit.base.files import digest
from audit.base.texts import refuse_unprintable
from audit.models.kit.asking import PREMISE, TEXT, Asked, Asking, filled, read_as


class Matching(BaseModel):
    """What a matcher is shown beside the picture, and what its scores mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(TEXT, description="The text, with {text} where the hypothesis goes.")
    text_with_premise: str | None = Field(
        None,
        description="The text of a case that has a premise, with {premise} and {text}; null "
        "refuses such cases.",
    )
    labels: tuple[str, str] = Field(
        ("no", "yes"),
        description="The labels of no match and of match. Of a model with two scores, they are "
        "those of the first and of the second; of a model with one score, those below the "
        "threshold and from it on.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="For a model with one score: from which probability (the sigmoid of the "
        "score) on it is a match.",
    )

    @field_validator("text")
    @classmethod
    def _alone(cls, template: str) -> str:
        if PREMISE in template:
            raise ValueError(f"{PREMISE} belongs in text_with_premise")
        return _once(template, TEXT)

    @field_validator("text_with_premise")
    @classmethod
    def _both(cls, template: str | None) -> str | None:
        return template if template is None else _once(_once(template, TEXT), PREMISE)

    @field_validator("labels")
    @classmethod
    def _apart(cls, labels: tuple[str, str]) -> tuple[str, str]:
        for label in labels:
            if not label.strip() or label != label.strip():
                raise ValueError("a label is a text without white space around it")
            refuse_unprintable(label, "the label")
        if labels[0] == labels[1]:
            raise ValueError(f"match and no match are both {labels[0]!r}")
        return labels

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, given: object) -> object:
        return {} if given is None else given

    @property
    def digest(self) -> str:
        """SHA-256 of what it says; comments and layout of the file do not count."""
        return digest(json.dumps(self.model_dump(mode="json"), ensure_ascii=False))

    def shown(self, text: str, premise: str | None = None) -> Asked:
        """The text beside the picture; the case's texts are inserted as they are, braces and all.

        >>> Matching(text="a photo of {text}.").shown("{text}")
        Asked(question='a photo of {text}.', start=11)

        Raises:
            ModelError: there is a premise, and the asking file has no text for it.
        """
        return filled(self.text, self.text_with_premise, text, premise, "text")


def read_matching(path: Path | str) -> Matching:
    """Read the asking file of a matcher; see :func:`audit.models.kit.asking.read_as`."""
    talks = "of a model that talks, and this model is a matcher"
    return read_as(Matching, path, (talks, Asking.model_fields))


def _once(template: str, slot: str) -> str:
    if template.count(slot) != 1:
        raise ValueError(f"{slot} must stand in it once, and it does {template.count(slot)}×")
    return template
