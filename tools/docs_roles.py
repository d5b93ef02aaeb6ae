"""Docstrings name other objects as Sphinx does; on the site they are code, or links if public."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

import audit

_ROLE = re.compile(r":[a-z]+:`~?(?P<name>[^`]+)`")


def without_roles(text: str) -> str:
    """The text with Markdown for each role.

    >>> without_roles("see :func:`audit.load_model` and :data:`audit.maps.methods.METHODS`")
    'see [`audit.load_model`][audit.load_model] and `audit.maps.methods.METHODS`'
    """
    return _ROLE.sub(_in_markdown, text)


def _in_markdown(found: re.Match[str]) -> str:
    name = found["name"]
    public = name.removeprefix("audit.")
    return f"[`{name}`][audit.{public}]" if public in audit.__all__ else f"`{name}`"


class Roles(Extension):
    """Changes each docstring as it is read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Do so for one object, whatever it is."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = without_roles(obj.docstring.value)
