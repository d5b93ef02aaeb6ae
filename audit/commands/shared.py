"""The options that several commands share."""

from __future__ import annotations

import math
from typing import Any

import typer

from audit.base.languages import Choice, choice_of
from audit.base.settings import MOST_THREADS

MODEL = (
    "reference, shortcut, a checkpoint folder, a ModelScope id[@revision], hf:FOLDER, "
    "hf:ORG/NAME[@REVISION], openai:URL#MODEL, or what else `audit model --list` shows."
)
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
