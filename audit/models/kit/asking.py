"""The asking file: how a model that talks is asked about a picture, and what its answers mean."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from audit.base import yamlfile
from audit.base.errors import CaseError, ModelError, NotFinite, TextError, nearest
from audit.base.files import digest
from audit.base.texts import readable, refuse_unprintable
from audit.base.yamlfile import Document

_OF_MATCHERS = frozenset({"text", "text_with_premise", "labels", "threshold"})
"""The keys of a matcher's asking file."""

_RESERVED = frozenset(
    {
        "add_generation_prompt", "chat_template", "continue_final_message", "conversation",
        "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors",
        "tokenize", "tokenizer_kwargs", "max_length", "truncation",
    }
)  # fmt: skip
"""Options of ``apply_chat_template`` that are audit's to set, or none of a template's."""

TEXT, PREMISE = "{text}", "{premise}"
"""Where the hypothesis and the premise go. All other braces are part of the question."""


def _once(template: str, *slots: str) -> str:
    for slot in slots:
        if template.count(slot) != 1:
            raise ValueError(f"{slot} must stand in it once, and it does {template.count(slot)}×")
    return template


def _question(template: str) -> str:
    if PREMISE in template:
        raise ValueError(f"{PREMISE} belongs in question_with_premise")
    return _once(template, TEXT)


def _generic(question: str) -> str:
    try:
        return readable(question, "the question")
    except TextError as error:
        raise ValueError(str(error)) from None


def _answer(answer: str) -> str:
    if not answer.strip():
        raise ValueError("an answer is empty")
    return answer


def _answers(answers: list[str]) -> list[str]:
    if not answers:
        raise ValueError("each label needs an answer")
    return answers


def _plain(value: object) -> object:
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ValueError("an option of the chat template is a text, a number, true, false or null")
    return value


def _option(name: str) -> str:
    if name in _RESERVED:
        raise ValueError("is set by audit itself and is no option of the model's chat template")
    return name


def _label(label: str) -> str:
    if not label.strip() or label != label.strip():
        raise ValueError("a label is a text without white space around it")
    refuse_unprintable(label, "the label")
    return label


GENERIC = "Write a general description of the image."
"""As Zhang et al. (2025, arXiv 2502.17422) ask for the map that others are divided by."""

_Scalar = Annotated[str | bool | int | float | None, BeforeValidator(_plain)]
Kind = TypeVar("Kind", bound=BaseModel)


class Asked(NamedTuple):
    """A question with the texts of a case in it; ``start`` is where the hypothesis begins."""

    question: str
    start: int


def filled(plain: str, with_premise: str | None, text: str, premise: str | None, key: str) -> Asked:
    """A template of an asking file with a case's texts in it, as they are, braces and all.

    Args:
        plain, with_premise: the templates of a case without and with a premise.
        key: what the plain one is called in the file; the other is ``key_with_premise``.

    Raises:
        ModelError: there is a premise, and no template for it.
    """
    template = plain if premise is None else with_premise
    if template is None:
        raise ModelError(f"the asking file has no {key}_with_premise, so no case may have one")
    before, after = template.split(TEXT)
    if premise is not None:
        before, after = (part.replace(PREMISE, premise) for part in (before, after))
    return Asked(f"{before}{text}{after}", len(before))


class Asking(BaseModel):
    """How a model is asked, and which of its answers mean which label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = Field("", description="What the system message says; empty for none.")
    question: Annotated[str, AfterValidator(_question)] = Field(
        'Is this statement true of the picture: "{text}"? Answer yes or no.',
        description="The question, with {text} where the hypothesis goes.",
    )
    question_with_premise: str | None = Field(
        'It is known that: "{premise}" Is this statement true of the picture: "{text}"? '
        "Answer yes or no.",
        description="The question about a case that has a premise, with {premise} and {text}; "
        "null refuses such cases.",
    )
    generic: Annotated[str, AfterValidator(_generic)] = Field(
        GENERIC,
        description="The question that asks nothing, for maps with relative: generic and drop: "
        "sinks.",
    )
    template: dict[Annotated[str, AfterValidator(_option)], _Scalar] = Field(
        {"enable_thinking": False},
        description="Options of the model's chat template.",
    )
    answers: dict[
        Annotated[str, AfterValidator(_label)],
        Annotated[list[Annotated[str, AfterValidator(_answer)]], AfterValidator(_answers)],
    ] = Field(
        {"yes": ["Yes", "yes", " Yes", " yes"], "no": ["No", "no", " No", " no"]},
        description="For each label, the answers that mean it, as the model would write them.",
    )

    @field_validator("question_with_premise")
    @classmethod
    def _both(cls, template: str | None) -> str | None:
        return template if template is None else _once(template, TEXT, PREMISE)

    @field_validator("answers")
    @classmethod
    def _apart(cls, answers: dict[str, list[str]]) -> dict[str, list[str]]:
        if len(answers) < 2:
            raise ValueError("at least two labels are needed")
        meant: dict[str, str] = {}
        for label, given in answers.items():
            for each in given:
                if meant.setdefault(each, label) != label:
                    raise ValueError(f"{each!r} means both {meant[each]!r} and {label!r}")
        return answers

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, given: object) -> object:
        return {} if given is None else given

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the file's order."""
        return tuple(self.answers)

    @property
    def digest(self) -> str:
        """SHA-256 of what it says; comments and layout of the file do not count.

        The usual generic question does not count either: files of before had none.
        """
        usual = {"generic"} if self.generic == GENERIC else None
        return digest(json.dumps(self.model_dump(mode="json", exclude=usual), ensure_ascii=False))

    def asked(self, text: str, premise: str | None = None) -> Asked:
        """The question about a hypothesis; the texts are inserted as they are, braces and all.

        >>> Asking(question="Is {text} {true}?").asked("a {premise}")
        Asked(question='Is a {premise} {true}?', start=3)

        Raises:
            ModelError: there is a premise, and the asking file has no question for it.
        """
        return filled(self.question, self.question_with_premise, text, premise, "question")


DEFAULT = Asking()
"""What holds if no asking file is given."""


class AskingError(ModelError):
    """What an asking file says does not suit the model.

    Attributes:
        loc: the path of the value within the file.
    """

    def __init__(self, message: str, loc: yamlfile.Loc) -> None:
        super().__init__(message)
        self.loc = loc


def mark_in(marks: Collection[str], text: str | None) -> str | None:
    """The first of a model's own marks that stands in a text; None if there is none."""
    return min((mark for mark in marks if mark in (text or "")), default=None)


def refuse_marks(asking: BaseModel, keys: Iterable[str], marks: Collection[str]) -> None:
    """Refuse an asking file whose texts hold the model's own marks, as hypotheses may not.

    Raises:
        AskingError: saying which key holds which mark.
    """
    for key in keys:
        if held := mark_in(marks, getattr(asking, key)):
            raise AskingError(
                f"{key} of the asking file has {held!r}, which the model takes for its own mark",
                (key,),
            )


@contextmanager
def placed(path: Path | str | None) -> Iterator[None]:
    """Say in which line of an asking file it is that does not suit the model.

    Raises:
        ModelError: in place of an :class:`AskingError`, if there is a file.
    """
    try:
        yield
    except AskingError as error:
        if path is None:
            raise
        raise _refused(yamlfile.read(Path(path)), [(error.loc, str(error))]) from None


def read_asking(path: Path | str) -> Asking:
    """Read the asking file of a model that talks; see :func:`read_as`."""
    return read_as(Asking, path, ("of a matcher, and this model talks", _OF_MATCHERS))


def read_as(
    kind: type[Kind], path: Path | str, other: tuple[str, Collection[str]] = ("", ())
) -> Kind:
    """Read an asking file of one kind.

    Args:
        other: of what the asking files of the other kind are, and their keys.

    Raises:
        ModelError: it cannot be read, or says something that cannot be; the message has file, line
            and key of each problem, and the nearest key for an unknown one.
    """
    if not isinstance(path, str | os.PathLike):
        raise ModelError(
            f"asking is the path of an asking file, and a {type(path).__name__} is no path"
        )
    try:
        document = yamlfile.read(Path(path))
    except CaseError as error:
        raise ModelError(str(error)) from None
    problems = [(loc, message) for loc, message in document.faults.items()]
    try:
        found = kind.model_validate(document.value)
    except ValidationError as error:
        faulty = {loc for loc, _ in problems}
        for each in error.errors(include_url=False):
            loc = tuple(
                p for n, p in enumerate(each["loc"]) if each["loc"][: n + 1] in document.values
            )
            loc = loc or each["loc"]
            if loc not in faulty:
                faulty.add(loc)
                problems.append((loc, _message(each, loc, kind, other)))
        raise _refused(document, problems) from None
    if problems:
        raise _refused(document, problems)
    return found


def _message(
    found: Any, loc: yamlfile.Loc, kind: type[BaseModel], other: tuple[str, Collection[str]]
) -> str:
    what, value = found["type"], found["input"]
    if what == "extra_forbidden":
        if loc[-1] in other[1]:
            return f"belongs in the asking file {other[0]}"
        return f"unknown key; {nearest(str(loc[-1]), kind.model_fields)}"
    if what in ("model_type", "dict_type"):
        needed = 'such as yes: ["Yes"]' if loc == ("answers",) else f"such as {_example(kind)}"
        return f"keys with values are needed{'' if loc == ('template',) else f', {needed}'}"
    if what in ("list_type", "tuple_type"):
        written = f": write {json.dumps([str(value)], ensure_ascii=False)}"
        return f"a list is needed{written if isinstance(value, str | int | float) else ''}"
    if what == "string_type":
        number = isinstance(value, int | float)
        return f"a text is needed{f': write {json.dumps(str(value))}' if number else ''}"
    return str(found["msg"]).removeprefix("Value error, ")


def _example(kind: type[BaseModel]) -> str:
    return f"{next(name for name in ('question', 'text') if name in kind.model_fields)}: '{TEXT}'"


def _refused(document: Document, problems: Sequence[tuple[yamlfile.Loc, str]]) -> ModelError:
    lines = []
    for loc, message in problems:
        line, column = document.at(loc)
        key = ".".join(map(str, loc)) or "file"
        lines.append(((line, column), f"{document.path}:{line}:{column}: {key}: {message}"))
    return ModelError("\n".join(text for _, text in sorted(lines)))


class Said(NamedTuple):
    """What a model said to a question.

    Attributes:
        probabilities: by label; they sum to 1.
        unsaid: the probability of everything that no label's answers begin with, in [0, 1].
    """

    probabilities: dict[str, float]
    unsaid: float


def said(logs: Mapping[str, Sequence[float]]) -> Said:
    """Labels from the log-probabilities of whole answers.

    A label's mass is the sum of the probabilities of its answers; the masses are then divided by
    their sum, and what they lack to 1 is unsaid.

    Args:
        logs: by label, the log-probability of each of its answers; no answer may be the beginning
            of another.

    >>> said({"yes": [math.log(0.5), math.log(0.25)], "no": [math.log(0.25)]})
    Said(probabilities={'yes': 0.75, 'no': 0.25}, unsaid=0.0)

    Raises:
        NotFinite: a value is NaN, or no answer has any probability.
    """
    top = max(log for each in logs.values() for log in each)
    if not math.isfinite(top) or any(math.isnan(log) for each in logs.values() for log in each):
        raise NotFinite(
            "the model's answers are not numbers: its probabilities are not finite; is a weight "
            "damaged, or too large for its type?"
        )
    # Relative to the likeliest answer, so that labels the model would hardly say keep their order.
    masses = {label: math.fsum(math.exp(log - top) for log in each) for label, each in logs.items()}
    total = math.fsum(masses.values())
    unsaid = min(max(1.0 - total * math.exp(top), 0.0), 1.0)
    return Said({label: mass / total for label, mass in masses.items()}, unsaid)
