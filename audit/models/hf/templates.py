"""Which options a chat template has: what it reads and transformers does not give it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import jinja2
from jinja2 import meta

from audit.base.errors import nearest
from audit.models.kit.asking import DEFAULT, AskingError

_GIVEN = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
)
"""What ``apply_chat_template`` gives every template, besides the names of special tokens."""

_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
"""A tag of transformers' own, which marks what a model said."""


def options_of(template: str) -> frozenset[str]:
    """The options of a chat template; none if it cannot be read.

    >>> sorted(options_of("{% if thinking %}{{ bos_token }}{% endif %}{{ messages }}"))
    ['thinking']
    """
    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])
    try:
        read = meta.find_undeclared_variables(environment.parse(_GENERATION.sub("", template)))
    except jinja2.TemplateSyntaxError:
        return frozenset()
    return frozenset(name for name in read - _GIVEN if not name.endswith("_token"))


def check_options(template: Any, given: Mapping[str, Any]) -> None:
    """Refuse options of an asking file that a chat template does not read.

    transformers takes any name without a word, so a misspelt one would change nothing. What the
    default asking file gives is accepted: it is for whichever model has it.

    Args:
        template: a chat template, several by name, or None for a model without one.

    Raises:
        AskingError: naming the nearest option.
    """
    texts: Collection[Any] = template.values() if isinstance(template, Mapping) else [template]
    known = {*DEFAULT.template}.union(*(options_of(text) for text in texts if text))
    for name in given:
        # Where a template cannot be read, a name that stands in it is at least not misspelt.
        if name not in known and not any(name in str(text) for text in texts):
            raise AskingError(
                f"unknown option of the model's chat template; {nearest(name, known)}",
                ("template", name),
            )
