"""Keeps the translations in step with the code: ``python -m tools.translations``.

It gathers every text that is to be translated, brings the ``.po`` files up to date (new texts are
added without a translation, those that are gone are removed) and compiles them to ``.mo``. It ends
with an error as long as a translation is missing. Texts are gathered from the calls that mark them
in Python, in templates and in scripts, and from tables such as the registry of metrics.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from audit.app.phrases import PHRASES as APP
from audit.base.files import write_atomically
from audit.base.languages import DOMAINS, LANGUAGES, PLACE
from audit.cases.phrases import PHRASES as CASES
from audit.maps.methods import METHODS
from audit.metrics.registry import METRICS
from audit.report import wording
from audit.report.glossary import DIRECTIONS, METRIC, METRIC_OF_SIZES, WORDS
from audit.report.phrases import STORED

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "audit" / "base" / "translations"

_KEYWORDS: Mapping[str, tuple[int, ...] | None] = {
    "message": None, "marked": None, "plural": (1, 2), "t": None, "many": (1, 2),
    "aria": (2,), "tagged": (2,),
}  # fmt: skip
"""The calls whose texts are translated, and which of their arguments these are; None: the first."""

_METHODS = {".py": "python", ".j2": "jinja2.ext:babel_extract", ".js": "javascript"}

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "report": ("audit/report",),
    "app": ("audit/app",),
    "cases": ("audit/cases", "audit/sources"),
}
"""The folders whose texts a domain has."""


def _of_causes() -> Iterator[str]:
    yield from wording.TITLES.values()
    yield from (text for pair in wording.LOOKS.values() for text in pair)
    yield from (wording.NAMED_THINGS, wording.SET_OFF)
    yield from wording.SENTENCES.values()
    yield from wording.ADVICE.values()


def _of_the_glossary() -> Iterator[str]:
    yield from WORDS
    yield from WORDS.values()
    yield from (METRIC, METRIC_OF_SIZES, "{low} to {high}", *DIRECTIONS.values())
    for row in METRICS.values():
        yield from (row.summary, row.chance)


def _of_methods() -> Iterator[str]:
    yield from (row.about for row in METHODS.values())


TABLES: Mapping[str, tuple[Callable[[], Iterable[str]], ...]] = {
    "report": (_of_causes, _of_the_glossary, lambda: STORED),
    "app": (_of_methods, lambda: APP),
    "cases": (lambda: CASES,),
}
"""Functions that give the texts of tables which do not mark them one by one."""


def texts(domain: str) -> list[str]:
    """Every text of a domain, in the order of files and within them."""
    found: dict[str, None] = {}
    for folder in FOLDERS[domain]:
        for path in sorted((ROOT / folder).rglob("*")):
            if method := _METHODS.get(path.suffix):
                found |= dict.fromkeys(_marked(path, method))
    for table in TABLES[domain]:
        found |= dict.fromkeys(text for text in table() if text)
    return list(found)


def _marked(path: Path, method: str) -> Iterator[str]:
    with path.open("rb") as file:
        for _, text, _, _ in extract(method, file, keywords=dict(_KEYWORDS)):
            # Of a pair, for one thing and for several, each is a text of its own.
            yield from filter(None, [text] if isinstance(text, str) else text)


def place(language: str, domain: str, kind: str = "po") -> Path:
    """Where the translations of a domain are."""
    return FOLDER / language / "LC_MESSAGES" / f"{domain}.{kind}"


def read(language: str, domain: str) -> dict[str, str]:
    """What a ``.po`` file translates; a text that is doubtful counts as not translated."""
    path = place(language, domain)
    if not path.exists():
        return {}
    catalogue = read_po(io.BytesIO(path.read_bytes()), locale=language)
    return {str(m.id): "" if m.fuzzy else str(m.string) for m in catalogue if m.id}


def _catalogue(language: str, entries: Mapping[str, str]) -> Catalog:
    """A catalogue that depends on its entries alone: not on the day, nor on Babel's version."""
    made = Catalog(locale=language, charset="utf-8", fuzzy=False)
    made.header_comment = ""
    made.creation_date = made.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    for text, said in entries.items():
        made.add(text, said)
    return made


def po(language: str, entries: Mapping[str, str]) -> bytes:
    """The content of a ``.po`` file."""
    written = io.BytesIO()
    write_po(written, _catalogue(language, entries), width=96, omit_header=True)
    header = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    return f'{header}"Language: {language}\\n"\n\n'.encode() + written.getvalue().lstrip()


def mo(language: str, entries: Mapping[str, str]) -> bytes:
    """The content of a ``.mo`` file; without what is not translated."""
    written = io.BytesIO()
    write_mo(written, _catalogue(language, {k: v for k, v in entries.items() if v}))
    return written.getvalue()


def places(text: str) -> list[str]:
    """The places of a text, which its translation must have as well."""
    return sorted(set(PLACE.findall(text)))


def updated(language: str, domain: str) -> dict[str, str]:
    """The texts of a domain as they are in the code, each with its translation or nothing."""
    known: dict[str, Any] = read(language, domain)
    return {text: known.get(text, "") for text in texts(domain)}


def main() -> int:
    """Bring every file up to date; returns how many texts have no translation, or a wrong one."""
    missing = 0
    for language in LANGUAGES[1:]:
        for domain in DOMAINS:
            entries = updated(language, domain)
            write_atomically(place(language, domain), po(language, entries))
            write_atomically(place(language, domain, "mo"), mo(language, entries))
            bad = [k for k, v in entries.items() if not v or places(k) != places(v)]
            for text in bad:
                print(f"{language}/{domain}: {text!r}")
            missing += len(bad)
    print(f"{missing} texts without a translation that has their places")
    return missing


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
