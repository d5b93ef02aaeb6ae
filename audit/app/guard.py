"""What is checked before gradio sees a request: its host name, the page it comes from, its size.

Any web page that this machine's owner opens can send requests to a page on this machine. A browser
says which host name it asks (``Host``; with DNS rebinding, an attacker's name) and which page sends
the request (``Origin``, ``Sec-Fetch-Site``); both must be this page's own.
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from audit.app.hosts import Hosts


class Shelf:
    """The folder of uploads and drawings; the oldest files are removed when it gets too large."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._coming = 0

    def expect(self, size: int) -> bool:
        """Make room for ``size`` bytes; False if uploads on their way need all the room."""
        if self._coming + size > self._most:
            return False
        self._coming += size
        files = []
        for path in self._folder.rglob("*"):
            try:
                about = path.stat()
            except FileNotFoundError:  # removed meanwhile, with its answer
                continue
            if path.is_file():
                files.append((about.st_mtime_ns, about.st_size, path))
        total = self._coming + sum(size for _, size, _ in files)
        for _, size_of_it, path in sorted(files, key=lambda file: file[0]):
            if total <= self._most:
                break
            path.unlink(missing_ok=True)
            total -= size_of_it
        return True

    def arrived(self, size: int) -> None:
        """Stop expecting ``size`` bytes: they have arrived, or will not come."""
        self._coming -= size


class Guard:
    """ASGI middleware that refuses requests from other pages, and those that are too large."""

    def __init__(self, app: ASGIApp, hosts: Hosts, shelf: Shelf, longest: int) -> None:
        self._app, self._hosts, self._shelf, self._longest = app, hosts, shelf, longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it in one sentence."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await refusal(scope, receive, send)
            return
        size = int(Headers(scope=scope).get("content-length", "0"))
        if not size:
            await self._app(scope, receive, send)
            return
        if not self._shelf.expect(size):
            await _plain(503, "too much is being uploaded at once: try again")(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass  # an upload that was cut off: there is nobody to answer
        finally:
            self._shelf.arrived(size)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        known = self._hosts.knows(hosts[0]) if len(hosts) == 1 else None
        if known is None:
            return _plain(400, "a request needs exactly one Host header, with a host name")
        if not known:
            return _plain(
                403,
                "this page does not answer to that name; audit serve --allow-host NAME allows it",
            )
        if not self._is_own(scope, headers, hosts[0]):
            return _plain(403, "this page takes requests only from itself, not from other pages")
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers:
            return _plain(411, "a request must give its length in a Content-Length header")
        if not re.fullmatch(r"\d{1,15}", length) or int(length) > self._longest:
            return _plain(413, f"a request may have at most {self._longest:,} bytes")
        return None

    def _is_own(self, scope: Scope, headers: Headers, host: str) -> bool:
        origins = headers.getlist("origin")
        own = {f"http://{host.lower()}", f"https://{host.lower()}", f"https://{self._hosts.public}"}
        if any(origin.lower() not in own for origin in origins):
            return False
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return True
        # Other pages may link to this one, but not fetch from it, send to it, or embed it.
        return (
            scope.get("method") == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )


def _plain(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)
