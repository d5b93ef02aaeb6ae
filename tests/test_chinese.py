"""The pages in Chinese say what the English ones say: the same commands, names, links and parts.

Only the sentences are translated. So a changed command, option or link in an English page fails
here until the Chinese page has it too.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from pathlib import Path

import pytest

from audit.gate.outcomes import State

ROOT = Path(__file__).parents[1]
WHOLE = {
    "README.zh.md": "README.md",
    "docs/zh/first-case.md": "docs/first-case.md",
    "docs/zh/gallery.md": "docs/gallery.md",
    "docs/zh/guide.md": "docs/guide.md",
}
"""Pages that are translated as a whole."""

PAGES = {**WHOLE, "docs/zh/cli.md": "docs/cli.md"}
TERMS = "docs/zh/terms.md"

_BLOCK = re.compile(r"^ *```\w+\n.*?^ *```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
_HAN = "\u3400-\u9fff"


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[str]:
    return _BLOCK.findall(read(page))


def prose(page: str) -> str:
    return _BLOCK.sub("", read(page))


def names(page: str) -> set[str]:
    """What is written as code inside of sentences."""
    return set(_SPAN.findall(prose(page)))


def links(page: str) -> list[str]:
    """Files that a page links to, as paths of the English pages."""
    found = []
    for target, _ in _LINK.findall(_SPAN.sub("", prose(page))):
        if target and ":" not in target:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
            found.append(PAGES.get(path, path))
    return found


def sections(page: str) -> list[tuple[int, int, int, int]]:
    """Of each part below a heading: its level, and how many paragraphs, items and rows it has."""
    found = []
    for part in re.split(r"^(?=#+ )", prose(page), flags=re.MULTILINE)[1:]:
        lines = [line for line in part.splitlines() if line.strip()]
        level = len(lines[0]) - len(lines[0].lstrip("#"))
        items = sum(bool(re.match(r"(- |\d+\. )", line)) for line in lines)
        rows = sum(line.startswith("|") for line in lines)
        found.append((level, len(lines), items, rows))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_and_its_counterpart_lead_to_each_other(page: str) -> None:
    english = PAGES[page]
    for one, other in ((page, english), (english, page)):
        target = posixpath.relpath(other, posixpath.dirname(one) or ".")
        assert f"]({target})" in read(one).split("\n\n")[1], one


@pytest.mark.parametrize("page", WHOLE)
def test_the_code_is_that_of_the_english_page(page: str) -> None:
    assert blocks(page) == blocks(WHOLE[page])


@pytest.mark.parametrize("page", WHOLE)
def test_names_in_sentences_are_those_of_the_english_page(page: str) -> None:
    assert names(page) ^ names(WHOLE[page]) == set()


@pytest.mark.parametrize(
    "page", ["docs/zh/first-case.md", "docs/zh/gallery.md", "docs/zh/guide.md"]
)
def test_links_lead_where_those_of_the_english_page_lead(page: str) -> None:
    chinese, english = Counter(links(page)), Counter(links(WHOLE[page]))
    chinese[TERMS] = 0
    # The links between the two pages themselves.
    for own in (page, WHOLE[page]):
        chinese[own] = english[own] = 0
    assert +chinese == +english


def test_the_chinese_readme_leads_to_every_page_that_the_english_one_leads_to() -> None:
    assert set(links("README.md")) - set(links("README.zh.md")) - {"README.zh.md"} == set()


@pytest.mark.parametrize("page", ["docs/zh/gallery.md", "docs/zh/guide.md"])
def test_parts_have_as_many_paragraphs_items_and_rows_as_in_the_english_page(page: str) -> None:
    chinese, english = sections(page), sections(WHOLE[page])
    # Which page in which language, and how its words are written, is said at the top.
    assert [part[0] for part in chinese] == [part[0] for part in english]
    assert chinese[1:] == english[1:]


def test_the_table_of_commands_has_the_rows_of_the_english_one() -> None:
    def rows(page: str) -> list[str]:
        return re.findall(r"^\| (`(?:audit|python) .*?`) \|", read(page), re.MULTILINE)

    assert len(rows("docs/cli.md")) > 20
    assert rows("docs/zh/cli.md") == rows("docs/cli.md")


def test_the_page_of_commands_has_code_options_and_headings_of_the_english_one() -> None:
    page, english = "docs/zh/cli.md", "docs/cli.md"
    assert blocks(page)
    assert [block for block in blocks(page) if block not in blocks(english)] == []
    explained = {*names(english), "`pytest`", "`audit 命令 --help`"}
    plugin = names("docs/pytest.md") | set(re.findall(r"--audit-[a-z-]+", read("docs/pytest.md")))
    for name in sorted(names(page) - explained):
        assert name in plugin or name.strip("`").partition("=")[0] in plugin, name
    headings = re.findall(r"^## (`.*)$", read(page), re.MULTILINE)
    assert [h for h in headings if f"## {h}\n" not in read(english) and "pytest" not in h] == []


def test_every_option_of_explain_is_on_the_chinese_page_too() -> None:
    def options(page: str) -> list[str]:
        part = read(page).partition("## `audit explain`\n")[2].partition("\n## ")[0]
        return re.findall(r"^\| (`--.*?) \|", part, re.MULTILINE)

    assert options("docs/cli.md") == options("docs/zh/cli.md") != []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_the_chinese_page_where_there_is_one(page: str) -> None:
    """Those to a part that only the English page has say which part."""
    for target, part in _LINK.findall(_SPAN.sub("", prose(page))):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if path in PAGES.values() and path != PAGES[page]:
            assert part, target


def test_the_table_of_terms_has_every_state() -> None:
    states = re.findall(r"^\| ([^|]+) \|", read(TERMS), re.MULTILINE)
    assert [state.value for state in State if state.value not in states] == []


@pytest.mark.parametrize("page", [*PAGES, TERMS])
def test_chinese_is_set_as_the_table_of_terms_says(page: str) -> None:
    """A space between Chinese and Latin; full-width punctuation after Chinese."""
    text = _LINK.sub("]", _SPAN.sub("x", prose(page))).replace("*", "")
    for line in text.splitlines():
        assert not re.search(rf"[{_HAN}][A-Za-z0-9]|[A-Za-z0-9][{_HAN}]", line), line
        assert not re.search(rf"[{_HAN}][,;:?!.]", line), line
