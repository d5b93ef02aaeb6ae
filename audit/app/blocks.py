"""A page of gradio whose parts have their texts in the language of whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.context import Context

from audit.app.tongue import language, spoken
from audit.base.languages import LANGUAGES, Language


class SpokenBlocks(gr.Blocks):  # type: ignore[misc]  # gradio has no types here
    """A page that is sent to each visitor in one of several languages.

    Attributes:
        others: the parts as they are sent, by each language but English.
    """

    others: Mapping[Language, list[dict[str, Any]]]

    @property
    def config(self) -> dict[str, Any]:
        """What gradio sends: the parts, and what happens when they are used."""
        parts = getattr(self, "others", {}).get(language())
        return self._sent if parts is None else {**self._sent, "components": parts}

    @config.setter
    def config(self, sent: dict[str, Any]) -> None:
        self._sent = sent


def in_each_language(build: Callable[[], SpokenBlocks]) -> SpokenBlocks:
    """The page that ``build`` makes, with its texts in every language.

    Events are those of the English page: the parts have the same numbers in each.
    """
    first, made = Context.id, {}
    for each in LANGUAGES:
        Context.id = first
        with spoken(each):
            made[each] = build()
    page = made.pop("en")
    page.others = {each: other.config["components"] for each, other in made.items()}
    return page
