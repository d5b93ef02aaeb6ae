"""The options that several commands share."""

from __future__ import annotations

import math
from typing import Any

import typer
from typer.core import TyperCommand

from audit.base.languages import Choice, choice_of
from audit.base.settings import MOST_THREADS

# Without square brackets: what stands in them is markup of rich, and would not be shown.
MODEL = (
    "reference, shortcut, reference-chat, a checkpoint folder, a ModelScope id or hf:ORG/NAME "
    "(both also with @REVISION), hf:FOLDER, openai:URL#MODEL, or what else `audit model --list` "
    "shows."
)
RUN = typer.Argument(help="A run folder, as pytest names it at its end: audit-runs/...")
THREADS = typer.Option(
    "--threads", min=1, max=MOST_THREADS, help="Threads of torch; by default one for each core."
)
ENGINE = typer.Option(
    "--engine", help="For OFA: fast (the default), or reference for modelscope's own passes."
)
ASKING = typer.Option(
    "--asking",
    help="For chat models and matchers: a file that says how they are asked.",
)
REQUESTS = typer.Option(
    "--requests", help="For served models: how many questions the server is asked at once (4)."
)
KEY = typer.Option(
    "--key",
    help="For served models: the environment variable that holds the key (OPENAI_API_KEY).",
)
CASES = typer.Option(
    "--cases", help="Glob pattern of case files; may be repeated. Default: what pytest collects."
)
JSON = typer.Option("--json", help="Print one JSON object.")

_VALUES = {
    "--allow-host": "NAME",
    "--asking": "FILE",
    "--baselines": "DIR",
    "--by": "NAME",
    "--cases": "PATTERN",
    "--colours": "NAME",
    "--decisions": "FILE",
    "--host": "ADDRESS",
    "--images": "DIR",
    "--key": "VARIABLE",
    "--max-failed": "SHARE",
    "--model": "SOURCE",
    "--only": "ID",
    "--premise": "TEXT",
    "--reason": "TEXT",
    "--requests": "N",
    "--seed": "N",
    "--split": "NAME",
    "--summary": "FILE",
    "--template": "TEXT",
    "--transformers": "4|5",
}
"""What stands for the value of an option, as in ``docs/cli.md``; for others it is their name."""


class Command(TyperCommand):
    """A command whose help says what arguments and options take as the docs do.

    typer shows types of Python: ``<list[str]>``, and ``<bool>`` after a switch that takes nothing.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options."""
        params: list[Any] = super().get_params(ctx)
        for each in params:
            if each.param_type_name == "argument":
                each.metavar = each.metavar or each.name.upper()
                each.display_type_rich = _nothing
            elif each.metavar is None:
                each.metavar = _value(each)
        return params


def _nothing(ctx: Any) -> None:
    del ctx


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    (name,) = option.opts
    ranged = getattr(option, "min", None) is not None
    return _VALUES.get(name, "N" if ranged else name.removeprefix("--").upper())


def level(given: str | float) -> float:
    """A level of significance; at 0 no test could ever fail, and at 1 every one would.

    Raises:
        typer.BadParameter: it is not a number between them.
    """
    number = _number(given)
    if not 0 < number < 1:
        raise typer.BadParameter(f"{given!r} is not a number above 0 and below 1")
    return number


def language(given: str) -> Choice:
    """The language of a page.

    Raises:
        typer.BadParameter: there is no such choice.
    """
    try:
        return choice_of(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def effect_size(given: str | float) -> float:
    """A number of tolerances.

    Raises:
        typer.BadParameter: it is not a finite number from 0 on.
    """
    number = _number(given)
    if not 0 <= number < math.inf:
        raise typer.BadParameter(f"{given!r} is not a number from 0 on")
    return number


def _number(given: str | float) -> float:
    try:
        return float(given)
    except ValueError:
        return math.nan


def options_given(engine: str, asking: str, requests: str, key: str) -> dict[str, Any]:
    """The options that only some kinds of models have, as far as they are given."""
    every = {"engine": engine, "asking": asking, "requests": requests, "key": key}
    return {name: value for name, value in every.items() if value}


ALPHA = typer.Option(
    "--alpha", parser=level, metavar="NUMBER", help="Significance level after correction."
)
EFFECT = typer.Option(
    "--effect",
    parser=effect_size,
    metavar="NUMBER",
    help="Smallest mean change that counts, in tolerances.",
)
LANGUAGE = typer.Option(
    "--language",
    parser=language,
    metavar="auto|en|zh",
    help="Language of the gallery; auto is that of the browser which opens it.",
)
