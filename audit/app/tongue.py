"""The language of the page: that of each visitor's browser, or one for all.

gradio builds a page once, for everybody. Here it is built once for each language, with the same
parts under the same numbers, and each visitor gets the texts of one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.app.phrases import PHRASES
from audit.base.languages import TAGS, Choice, Language, accepted, message
from audit.cases.phrases import PHRASES as OF_CASES
from audit.cases.phrases import Teller
from audit.report.phrases import stored

_language: ContextVar[Language] = ContextVar("language", default="en")

_TELLER = Teller([*PHRASES, *OF_CASES])


def language() -> Language:
    """The language of the request that is being answered."""
    return _language.get()


@contextmanager
def spoken(language: Language) -> Iterator[None]:
    """Speak this language to whoever is answered now."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def t(text: str, /, **values: object) -> str:
    """A text of the page in the language of the request, with its places filled.

    >>> with spoken("zh"):
    ...     t("Picture ({formats})", formats="PNG")
    '图片（PNG）'
    """
    return message(text, **values).said(language())


def told(text: str) -> str:
    """A finished message of the tool in the language of the request, as far as it is known."""
    said = _TELLER.told(text, language())
    if said != text or language() == "en":
        return said
    found = stored(text)
    return found if isinstance(found, str) else found.said(language())


def language_of(choice: Choice, header: str | None) -> Language:
    """The language for a request: the one for all, or what its ``Accept-Language`` asks for."""
    return accepted(header or "") if choice == "auto" else choice


class Tongue:
    """ASGI middleware that answers each request in its language."""

    def __init__(self, app: ASGIApp, choice: Choice) -> None:
        self._app, self._choice = app, choice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the page itself says in its markup which language it has."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        chosen = language_of(self._choice, Headers(scope=scope).get("accept-language"))
        with spoken(chosen):
            if scope["path"] in ("", "/") and scope["method"] == "GET":
                await self._app(scope, receive, _Marked(send, chosen))
            else:
                await self._app(scope, receive, send)


class _Marked:
    """Sends a page of gradio, whose markup says English whatever the language is."""

    def __init__(self, send: Send, language: Language) -> None:
        self._send, self._language = send, language
        self._start: Message | None = None
        self._body: list[bytes] = []

    async def __call__(self, sent: Message) -> None:
        """Keep the answer until it is whole, then send it on."""
        if sent["type"] == "http.response.start":
            self._start = sent
            return
        self._body.append(sent.get("body", b""))
        if sent.get("more_body") or self._start is None:
            return
        body = marked_up(b"".join(self._body), self._language)
        headers = MutableHeaders(raw=self._start["headers"])
        headers["content-length"] = str(len(body))
        headers["content-language"] = TAGS[self._language]
        headers.add_vary_header("accept-language")
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})


_HEAD = re.compile(rb'(<html\s+lang=")en(".*?<head>)', re.DOTALL)


def marked_up(page: bytes, language: Language) -> bytes:
    """The page with its language, for screen readers, and for gradio's own words.

    gradio translates its words, such as those of a field for files, by ``navigator.language``.
    """
    tag = TAGS[language]
    own = f"Object.defineProperty(navigator, 'language', {{ get: () => {json.dumps(tag)} }})"
    return _HEAD.sub(
        lambda found: found[1] + tag.encode() + found[2] + f"<script>{own}</script>".encode(),
        page,
        count=1,
    )
