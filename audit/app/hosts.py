"""The host names that the page answers to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from audit.base.errors import AuditError

_HOST = re.compile(
    r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*))(?::\d{1,5})?", re.ASCII
)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, and cannot be reached from any other."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class Hosts:
    """The names that the page answers to: loopback, the address it is served at, allowed names.

    If it is served at all addresses of the machine, it answers to any address. That is safe: an
    attacker can make a name point to this machine, but not an address.

    Raises:
        AuditError: an allowed name is not a host name.
    """

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        address = _address(host)
        self._any_address = address is not None and address.is_unspecified
        self._names = {host.lower()}
        self.public = ""
        for name in allowed:
            self.allow(name)

    def allow(self, name: str) -> None:
        """Answer to ``name`` too, at any port."""
        known = self._name_in(f"[{name}]" if ":" in name else name)
        if known is None or known != name.lower():
            raise AuditError(f"--allow-host: {name!r} is not a host name: give it without a port")
        self._names.add(known)

    def share(self, name: str) -> None:
        """Answer to the name of a tunnel, even if its requests arrive under another name."""
        self.allow(name)
        self.public = name.lower()

    def knows(self, header: str) -> bool | None:
        """Whether a Host header names the page; None if it cannot be read."""
        name = self._name_in(header)
        if name is None:
            return None
        if name in self._names or is_loopback(name):
            return True
        return self._any_address and _address(name) is not None

    @staticmethod
    def _name_in(header: str) -> str | None:
        match = _HOST.fullmatch(header.lower())
        return (match["six"] or match["name"]) if match else None
