"""Asks a server over HTTP, with limits of time and size; tries again where that may help."""

from __future__ import annotations

import email.utils
import json
import random
import threading
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from audit.base.errors import ModelError, Unavailable, in_a_sentence, printable
from audit.models.served.address import Address, Key

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""States of a server that may be gone soon: it is busy, restarting, or something before it is."""

_LOST = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
"""A connection that was refused, cut or too slow; the next one may be fine."""

_SHOWN = 300  # characters of a server's message


@dataclass(frozen=True)
class Limits:
    """How long a server is waited for, and how much it may say.

    Attributes:
        tries: how often a question is sent at most.
        pause: seconds before the second try; each further pause is twice as long.
        longest_pause: seconds; a server that asks for a longer one is not waited for.
        connect, answer: seconds for a connection, and for a whole answer.
        most_bytes: of an answer.
    """

    tries: int = 5
    pause: float = 0.5
    longest_pause: float = 60.0
    connect: float = 10.0
    answer: float = 300.0
    most_bytes: int = 4 << 20


class NotThere(ModelError):
    """The server has nothing under a path."""


class Refused(ModelError):
    """The server does not take a question as it is asked."""


class Reply(NamedTuple):
    """What a server answered: the state, the body, and which software says it is."""

    status: int
    body: bytes
    software: str
    wait: str = ""
    location: str = ""


class Wire:
    """The connections to one server; several threads may ask at once.

    Args:
        connections: how many at once.
    """

    def __init__(
        self, address: Address, key: Key, connections: int, limits: Limits | None = None
    ) -> None:
        self.address, self._key, self._limits = address, key, limits or Limits()
        self._uneven = random.Random()  # of its own: a model draws from no common random state
        wait = httpx.Timeout(self._limits.answer, connect=self._limits.connect, pool=None)
        # A redirect is an error here: following it could take the key to another host.
        self._client = httpx.Client(
            headers=key.headers,
            timeout=wait,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=connections),
        )

    def ask(self, path: str, question: Any = None, stop: threading.Event | None = None) -> Reply:
        """Send a question as JSON, or fetch ``path`` if there is none; try again where it helps.

        Args:
            stop: set by another thread if the answer is not wanted any more.

        Raises:
            Unavailable: the server did not answer, or is busy or broken, at every try.
            ModelError: it refused, redirected, or said too much.
        """
        limits, stop = self._limits, stop or threading.Event()
        content = None if question is None else json.dumps(question, ensure_ascii=False).encode()
        for number in range(1, limits.tries + 1):
            pause = limits.pause * 2 ** (number - 1) * self._uneven.uniform(1.0, 1.25)
            try:
                reply = self._once(path, content)
            except _LOST as error:
                fault = f"does not answer ({in_a_sentence(error)})"
            except httpx.HTTPError as error:
                raise self.error(path, f"cannot be asked: {in_a_sentence(error)}") from None
            else:
                if reply.status not in _AGAIN:
                    return self._checked(path, reply)
                fault = f"answers {reply.status}{self._message(reply)}"
                pause = max(pause, _seconds(reply.wait))
            if pause > limits.longest_pause:
                told = f"{fault} and asks to be left alone for {pause:.0f} s"
                raise self._unavailable(path, told)
            if number == limits.tries or stop.wait(pause):
                break
        raise self._unavailable(path, f"{fault}, and so it did at each of {number} tries")

    def error(self, path: str, what: str) -> ModelError:
        """An error that names the URL; ``what`` continues the sentence."""
        return ModelError(self._told(path, what))

    def _unavailable(self, path: str, what: str) -> Unavailable:
        return Unavailable(self._told(path, what))

    def _told(self, path: str, what: str) -> str:
        return self._key.hidden(f"{self.address.url}{path}: the server {what}")

    def _once(self, path: str, content: bytes | None) -> Reply:
        limits, until = self._limits, time.monotonic() + self._limits.answer
        with self._client.stream(
            "GET" if content is None else "POST",
            self.address.url + path,
            content=content,
            headers={"Content-Type": "application/json"} if content else {},
        ) as answer:
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > limits.most_bytes:
                    raise self.error(path, f"says more than {limits.most_bytes:,} bytes")
                if time.monotonic() > until:
                    raise httpx.ReadTimeout(f"not done after {limits.answer:.0f} s")
            named = answer.headers
            return Reply(
                answer.status_code, bytes(body),
                self._key.hidden(printable(named.get("server", "")))[:80],
                named.get("retry-after", ""), named.get("location", ""),
            )  # fmt: skip

    def _checked(self, path: str, reply: Reply) -> Reply:
        """The reply, if the server gave what it was asked for."""
        status, said = reply.status, self._message(reply)
        if 200 <= status < 300:
            return reply
        if 300 <= status < 400:
            where = self._key.hidden(printable(reply.location))[:_SHOWN]
            raise self.error(path, f"redirects to {where!r}, which is not followed; give that URL")
        if status in (401, 403):
            shown = f"the key in {self._key.variable}" if self._key else "a question without a key"
            hint = (
                "" if self._key or self.address.private
                else f"; {self._key.variable} is sent in plain http only if its name is given"
            )  # fmt: skip
            raise self.error(path, f"refuses {shown} ({status}{said}){hint}")
        if status == 404:
            hint = "; most URLs end in /v1" if not self.address.url.endswith("/v1") else ""
            raise NotThere(self._told(path, f"has nothing there (404{said}){hint}"))
        if "logprob" in said:
            raise self.error(path, f"gives no log-probabilities ({status}{said}), which are needed")
        if "chat_template_kwargs" in said:
            raise self.error(
                path, f"takes no options of a chat template ({status}{said}): write template: {{}} "
                "in the asking file",
            )  # fmt: skip
        if status == 413:
            said += "; the picture is sent as it is, as PNG: make it smaller"
        raise Refused(self._told(path, f"refuses the question ({status}{said})"))

    def _message(self, reply: Reply) -> str:
        """What the server says about an error, behind a colon; empty if nothing."""
        text = reply.body[: 8 * _SHOWN].decode(errors="replace")
        try:
            found = json.loads(text)
            found = found.get("error", found)
            text = str(found.get("message", text) if isinstance(found, dict) else found)
        except (ValueError, AttributeError, RecursionError):
            pass
        plain = " ".join(self._key.hidden(printable(text)).split())
        return f": {plain[:_SHOWN]}" if plain else ""


def _seconds(wait: str) -> float:
    """What ``Retry-After`` asks for, in seconds: it is a number, or a date; 0 if it is neither."""
    try:
        return max(float(wait), 0.0) if wait else 0.0
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(wait).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0
