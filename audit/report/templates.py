"""The templates of all pages, compiled once in a process."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from audit.base.files import counted
from audit.report.glossary import of_figure, of_state
from audit.report.voice import ENGLISH


def template(name: str) -> Template:
    """A page's template, which escapes all values and raises an error if one is missing."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    """Of all templates; it keeps those that it compiled."""
    environment = Environment(
        loader=PackageLoader("audit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"counted": counted, "of_figure": of_figure, "of_state": of_state}
    environment.globals |= ENGLISH.words
    return environment
