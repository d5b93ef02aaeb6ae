"""A page of evidence: one self-contained HTML file about a run, to be filed, and its check.

The page holds its statement as JSON and is drawn from it alone. So a check draws it again and
compares, computes the digest of the run again, and checks the signature of the statement if there
is one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from audit.base import strictjson
from audit.base.errors import RunError
from audit.base.files import read_bytes, shown_path, write_atomically
from audit.base.records import MEGABYTE
from audit.gate.rundigest import digests_of, whole_digest
from audit.gate.runfolder import Run
from audit.report.points import COVERED, NOT_COVERED
from audit.report.statement import FORMAT, Statement, measured, version
from audit.report.templates import template

_SHORTEST_KEY = 16
_LIMIT = 256 * MEGABYTE
_HELD = re.compile(r'<script type="application/json" id="statement">(.*?)</script>', re.DOTALL)
_NAMED = 5


def read_key(path: Path) -> bytes:
    """The key in a file, without the line end that an editor adds.

    Raises:
        RunError: the file cannot be read, or the key is too short to be one.
    """
    try:
        key = read_bytes(path, MEGABYTE).rstrip(b"\r\n")
    except OSError as error:
        raise RunError(f"{shown_path(path)}: cannot be read: {error.strerror}") from None
    if len(key) < _SHORTEST_KEY:
        raise RunError(
            f"{shown_path(path)}: {len(key)} bytes are too short for a key, at least "
            f"{_SHORTEST_KEY} are needed: openssl rand -hex 32"
        )
    return key


def write_evidence(path: Path, statement: Statement, key: bytes | None = None) -> Path:
    """Write the page, signed if a key is given, and return its path."""
    signed = {**statement, "signature": "" if key is None else _signature(statement, key)}
    # As a check reads it, in which the keys of an object have another order.
    write_atomically(path, _page(json.loads(_canonical(signed))).encode())
    return path


def _page(statement: Statement) -> str:
    return template("evidence.html.j2").render(
        s=statement, covered=COVERED, not_covered=NOT_COVERED, embedded=_embedded(statement)
    )


def _canonical(statement: Statement) -> str:
    """The statement in one form: sorted keys, no spaces, ASCII."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _signature(statement: Statement, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) of the statement without its signature, in hexadecimal."""
    without = {name: value for name, value in statement.items() if name != "signature"}
    return hmac.new(key, _canonical(without).encode(), hashlib.sha256).hexdigest()


def _embedded(statement: Statement) -> str:
    """JSON that cannot close the script element around it."""
    text = _canonical(statement)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass
class Check:
    """What a check of a page found.

    Attributes:
        faults: why the page is not what it says to be, one sentence each; empty if it is.
        held: what was checked and holds.
    """

    faults: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def verify(page: Path, run: Path, key: bytes | None = None) -> Check:
    """Check a page against the run that it is about.

    Raises:
        RunError: the page is none of evidence, or the run is not whole.
    """
    text, statement = _read(page)
    found = Check()
    digests = digests_of(run)
    stated = statement["run"]["files"]
    differ = [name for name in {**stated, **digests} if stated.get(name) != digests.get(name)]
    if differ or whole_digest(digests) != statement["run"]["digest"]:
        some = ", ".join(map(shown_path, differ[:_NAMED]))
        more = f" and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
        found.faults.append(f"the run is not the one of the page; what differs: {some}{more}")
    else:
        found.held.append(f"the run has the digest of the page, {statement['run']['digest']}")
        _check_measured(statement, run, found)
    _check_text(text, statement, page, found)
    _check_signature(statement, key, found)
    return found


def _check_measured(statement: Statement, run: Path, found: Check) -> None:
    """Check what the page says of the run; another version may say it in another form."""
    if statement["audit"] != version():
        return
    said = json.loads(_canonical(measured(Run(run))))
    wrong = [key for key, value in said.items() if statement.get(key) != value]
    if wrong:
        found.faults.append(f"the page says what the run does not: {', '.join(wrong)}")
    else:
        found.held.append("the page says what the run says")


def _check_text(text: str, statement: Statement, page: Path, found: Check) -> None:
    try:
        drawn = _page(statement)
    except (TemplateError, TypeError, ValueError, AttributeError):
        raise _no_page(page) from None
    if drawn == text:
        found.held.append("the page says what its statement says")
    elif statement["audit"] == version():
        found.faults.append("the page was changed: it does not say what its statement says")
    else:
        found.faults.append(
            f"the words of the page cannot be checked: audit {shown_path(statement['audit'])} "
            f"wrote it, and this is {version()}; check it with that version"
        )


def _check_signature(statement: Statement, key: bytes | None, found: Check) -> None:
    signature = statement["signature"]
    if key is None:
        found.held.append(
            "the page is signed; --key checks by whose key" if signature else "it is not signed"
        )
    elif not signature:
        found.faults.append("the page is not signed")
    elif hmac.compare_digest(signature.encode(), _signature(statement, key).encode()):
        found.held.append("the signature was made with this key")
    else:
        found.faults.append("the signature was not made with this key, or the statement changed")


def _read(page: Path) -> tuple[str, Statement]:
    try:
        text = read_bytes(page, _LIMIT).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{shown_path(page)}: cannot be read: {error}") from None
    parts = _HELD.findall(text)
    try:
        statement: Any = strictjson.loads(parts[0]) if len(parts) == 1 else None
    except ValueError:
        raise _no_page(page) from None
    if not isinstance(statement, dict) or statement.get("format") != FORMAT:
        raise _no_page(page)
    run = statement.get("run")
    texts = (statement.get("signature"), statement.get("audit"))
    if not (isinstance(run, dict) and isinstance(run.get("files"), dict)):
        raise _no_page(page)
    if not all(isinstance(each, str) for each in (*texts, run.get("digest"))):
        raise _no_page(page)
    return text, statement


def _no_page(page: Path) -> RunError:
    return RunError(f"{shown_path(page)}: not a page that audit evidence wrote")
