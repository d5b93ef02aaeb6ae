"""Translations are whole: every text of the code has one, with the same places, and is compiled."""

from __future__ import annotations

import gettext
import io
import re

import pytest

from audit.base.languages import DOMAINS, LANGUAGES
from tools import translations

FILES = [(language, domain) for language in LANGUAGES[1:] for domain in DOMAINS]
_HAN = "\u3400-\u9fff"


@pytest.mark.parametrize(("language", "domain"), FILES)
def test_every_text_of_the_code_is_in_the_file_and_no_other(language: str, domain: str) -> None:
    """Run ``python -m tools.translations`` if this fails, and translate what it names."""
    assert list(translations.read(language, domain)) == translations.texts(domain)


@pytest.mark.parametrize(("language", "domain"), FILES)
def test_every_text_is_translated_and_its_places_are_kept(language: str, domain: str) -> None:
    for text, said in translations.read(language, domain).items():
        assert said, text
        assert translations.places(said) == translations.places(text)


@pytest.mark.parametrize(("language", "domain"), FILES)
def test_what_is_read_is_what_the_file_compiles_to(language: str, domain: str) -> None:
    compiled = translations.place(language, domain, "mo").read_bytes()
    found = gettext.GNUTranslations(io.BytesIO(compiled))
    entries = translations.read(language, domain)
    fresh = gettext.GNUTranslations(io.BytesIO(translations.mo(language, entries)))
    for text in entries:
        assert found.gettext(text) == fresh.gettext(text)
    written = translations.place(language, domain).read_bytes()
    assert written == translations.po(language, entries)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_text_is_translated_alike_wherever_it_is(language: str) -> None:
    whole: dict[str, str] = {}
    for domain in DOMAINS:
        for text, said in translations.read(language, domain).items():
            assert whole.setdefault(text, said) == said, text


@pytest.mark.parametrize("domain", DOMAINS)
def test_chinese_is_set_as_the_table_of_terms_says(domain: str) -> None:
    """A space between Chinese and Latin; full-width punctuation after Chinese."""
    for said in translations.read("zh", domain).values():
        assert not re.search(rf"[{_HAN}][A-Za-z0-9{{]|[A-Za-z0-9][{_HAN}]", _filled(said)), said
        assert not re.search(rf"[{_HAN}][,;:?!.](?![A-Za-z/])", said), said


def _filled(said: str) -> str:
    """With names and figures in their places, and texts in those that are for texts."""
    said = re.sub(r"\{[A-Z_]+\}", "字", said)
    return re.sub(r"\{[a-z]\w*\}", "x", said)
