"""Where a served model is, and the key to it, which never shows in anything that is written."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from audit.base.errors import ModelError

SCHEME = "openai:"
DEFAULT_VARIABLE = "OPENAI_API_KEY"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Address:
    """A server and one of its models.

    Attributes:
        source: what the user wrote.
        url: the base to which ``/chat/completions`` is added, without a slash at its end.
        model: the name by which the server knows the model.
    """

    source: str
    url: str
    model: str

    @property
    def name(self) -> str:
        """The model's name, fit for the name of a folder."""
        return re.sub(r"[^A-Za-z0-9._-]+", "--", self.model).strip(".-")[:120] or "model"

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read what is sent: TLS, or this machine itself."""
        url = httpx.URL(self.url)
        return url.scheme == "https" or _is_loopback(url.host)


def is_address(source: str) -> bool:
    """Whether a source has the form of an address."""
    try:
        parsed(source)
    except ModelError:
        return False
    return True


def parsed(source: str) -> Address:
    """The address that a source ``openai:URL#MODEL`` names.

    Raises:
        ModelError: it has another form.
    """
    written, mark, model = source.removeprefix(SCHEME).partition("#")
    try:
        url = httpx.URL(written)
    except (httpx.InvalidURL, ValueError):
        raise ModelError(f"{SCHEME}…: this is not a URL") from None
    if url.userinfo:
        # Not shown: what stands there may be a password.
        raise ModelError(f"{SCHEME}…: a URL has no user or password here; give a key instead")
    if url.scheme not in ("http", "https") or not url.host:
        raise ModelError(f"{source}: the URL must begin with http:// or https:// and name a host")
    if url.query:
        raise ModelError(f"{SCHEME}…: a URL has no query (?…) here")
    if not mark or not model.strip() or not model.isprintable():
        raise ModelError(f"{source}: name a model of the server behind the URL: {SCHEME}URL#MODEL")
    return Address(source, str(url).rstrip("/"), model.strip())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Key:
    """The key from an environment variable.

    Its value is in no attribute that is shown: neither ``repr`` nor a traceback with its locals
    has it.
    """

    def __init__(self, variable: str, value: str) -> None:
        def read() -> str:
            return value

        self.variable, self._read = variable, read

    def __repr__(self) -> str:
        """The variable's name alone."""
        return f"Key({self.variable!r})"

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._read())

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs to show it."""
        return {"Authorization": f"Bearer {self._read()}"} if self else {}

    def hidden(self, text: str) -> str:
        """A text of the server, in which the key, if it is repeated there, is replaced by ``…``."""
        return text.replace(self._read(), "…") if self else text


def key_for(address: Address, variable: str = "") -> Key:
    """The key of an address; there may be none.

    Args:
        variable: the environment variable that the user named. Without one, it is
            ``OPENAI_API_KEY``, which is not sent where others could read it on the way: it is set
            on many machines, and not for every server.

    Raises:
        ModelError: the variable is not set although it was named, or its value cannot be a key.
    """
    name = variable or DEFAULT_VARIABLE
    if not _VARIABLE.fullmatch(name):
        # Somebody may have given the key itself, so it is not repeated.
        raise ModelError(
            "the option for the key takes the name of an environment variable, such as "
            f"{DEFAULT_VARIABLE}, and not a key"
        )
    value = os.environ.get(name, "").strip()
    if variable and not value:
        raise ModelError(f"the environment variable {name}, which is to hold the key, is not set")
    if not variable and not address.private:
        value = ""
    if not all(0x21 <= ord(character) <= 0x7E for character in value):
        raise ModelError(f"the environment variable {name} holds no key: it has odd characters")
    return Key(name, value)
