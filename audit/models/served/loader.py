"""The loader of served models; importing it is quick."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from audit.base.errors import ModelError
from audit.models.protocol import Known, Model

_SCHEME = "openai:"
_MOST = 64

_COMMON = ("add_vision_id", "enable_thinking", "reasoning_effort", "thinking", "thinking_budget")
"""Options that chat templates have; which of them a server's has cannot be seen."""


class Served:
    """Loads ``openai:URL#MODEL``; see :mod:`audit.models.protocol`."""

    about = "a chat model behind an OpenAI-compatible server that gives log-probabilities"
    accepted = "openai:URL#MODEL"
    options: Mapping[str, Sequence[str]] = {"asking": (), "requests": (), "key": ()}

    def accepts(self, source: str) -> bool:
        """Whether it has the form of one; the server is not asked.

        Raises:
            ModelError: it begins with the scheme and goes on otherwise; the message says how.
        """
        if not source.startswith(_SCHEME):
            return False
        from audit.models.served.address import parsed  # noqa: PLC0415  httpx takes a while

        parsed(source)
        return True

    def known(self, source: str, *, fetch: bool = False) -> Known:
        """That it has no maps of its own; the labels are those of the asking file."""
        del source, fetch
        return Known(None, ())

    def load(
        self, source: str, *, device: str, dtype: str, threads: int | None, **options: Any
    ) -> Model:
        """Reach the model; where and in which precision it runs is the server's affair.

        Args:
            source: the address.
            device, threads: of no use here.
            dtype: no other than the default.
            options: ``asking``, the path of an asking file; ``requests``, how many questions at
                once; ``key``, the environment variable that holds the key.

        Raises:
            ModelError: the server cannot be asked, or an option has a wrong value.
        """
        del device, threads
        from audit.models.kit.asking import DEFAULT, placed, read_asking  # noqa: PLC0415
        from audit.models.served.adapter import REQUESTS, ServedModel  # noqa: PLC0415
        from audit.models.served.address import key_for, parsed  # noqa: PLC0415

        if dtype != "float32":
            raise ModelError(f"{source}: the precision is the server's affair: leave {dtype} out")
        address, path = parsed(source), options.get("asking")
        asking = read_asking(path) if path else DEFAULT
        with placed(path):
            _refuse_misspelt(asking.template)
        return ServedModel(
            address,
            key_for(address, options.get("key") or ""),
            asking,
            _number(options.get("requests") or REQUESTS),
        )


def _refuse_misspelt(template: Iterable[str]) -> None:
    """Refuse an option of the chat template that is nearly a common one.

    Servers take any name without a word, and a misspelt one changes nothing.

    Raises:
        AskingError: naming the common one.
    """
    from audit.models.kit.asking import AskingError  # noqa: PLC0415

    for name in template:
        close = get_close_matches(name, _COMMON, n=1, cutoff=0.9)
        if close and name not in _COMMON:
            raise AskingError(
                f"unknown option of a chat template; did you mean {close[0]!r}?",
                ("template", name),
            )


def _number(given: object) -> int:
    written = str(given)
    if re.fullmatch("[0-9]{1,3}", written) is None or not 1 <= int(written) <= _MOST:
        raise ModelError(f"requests: {written[:20]!r} is not a number from 1 to {_MOST}")
    return int(written)


OPENAI = Served()
