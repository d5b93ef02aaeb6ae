"""The docs as a site: it builds without a warning, reads as on GitHub, and fetches nothing."""

from __future__ import annotations

import doctest
import functools
import html
import json
import logging
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import audit
from tools import docs_roles
from tools.docs_site import OUTSIDE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.slow


def built_into(site: Path, docs: Path = DOCS) -> Path:
    build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(site)))
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning would have stopped it."""
    return built_into(tmp_path_factory.mktemp("site"))


def pages(site: Path) -> dict[str, str]:
    found = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert len(found) > 40
    return found


def test_a_page_that_is_not_in_the_navigation_fails_the_build_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten\n")
    with caplog.at_level(logging.WARNING), pytest.raises(Abort):
        built_into(tmp_path / "site", tmp_path / "docs")
    (told,) = [record.getMessage() for record in caplog.records]
    assert 'not included in the "nav"' in told
    assert told.endswith("- forgotten.md")


def test_a_notebook_is_a_page_that_links_to_it_lead_to(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    cells = [
        {"cell_type": "markdown", "source": ["# Three examples\n", "\n", "See [speed](speed.md)."]},
        {"cell_type": "code", "source": ["import audit\n", "audit.__version__"]},
    ]
    (tmp_path / "docs" / "tried.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    with (tmp_path / "docs" / "speed.md").open("a") as page:
        page.write("\n[tried](tried.ipynb)\n")
    config = load_config(
        str(ROOT / "mkdocs.yml"), docs_dir=str(tmp_path / "docs"), site_dir=str(tmp_path / "site")
    )
    config.nav = [*config.nav, "tried.md"]
    build(config)
    shown = (tmp_path / "site" / "tried.html").read_text()
    assert '<a href="speed.html">speed</a>' in shown
    assert '<a href="tried.ipynb" download>' in shown
    assert (tmp_path / "site" / "tried.ipynb").exists()
    assert '<a href="tried.html">tried</a>' in (tmp_path / "site" / "speed.html").read_text()


def test_a_link_that_leads_nowhere_fails_the_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    with (tmp_path / "docs" / "speed.md").open("a") as page:
        page.write("\n[gone](../audit/gone.py) [moved](maps.md#moved)\n")
    with caplog.at_level(logging.INFO), pytest.raises(Abort):
        built_into(tmp_path / "site", tmp_path / "docs")
    told = "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    assert "../audit/gone.py" in told
    assert "maps.md#moved" in told


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for name, page in pages(site).items():
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)", page)
        loaded += re.findall(r"<link\b[^>]*\bhref=[\"']?([^\"' >]+)", page)
        assert [u for u in loaded if re.match(r"(?:https?:)?//", u)] == [], name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", path.read_text()), path.name


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site behind a server; its search needs one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_reader_finds_a_page_needs_no_sideways_scrolling_and_asks_nobody_else(
    browser: Any, address: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    for name in ("index.html", "cli.html", "api.html", "decisions/019-extras.html"):
        page.goto(address + name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    page.set_viewport_size({"width": 1240, "height": 900})
    page.click(".md-search__input")
    page.keyboard.type("focus_area")
    page.wait_for_selector(".md-search-result__item a")
    # Not the decision that has the words, too.
    assert "metrics.html" in page.locator(".md-search-result__item a").first.get_attribute("href")
    context.close()
    assert said == []
    assert [u for u in asked if not u.startswith((address, "data:", "blob:"))] == []


def test_a_word_of_chinese_is_found_inside_of_a_sentence(browser: Any, address: str) -> None:
    """Chinese has no spaces between words, and nothing here knows where they end."""
    context = browser.new_context(viewport={"width": 1240, "height": 900})
    page = context.new_page()
    page.goto(address + "zh/gallery.html")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.click(".md-search__input")
    page.keyboard.insert_text("色觉障碍")
    page.keyboard.up("Enter")  # the search listens for keys that come up, as those of an IME do
    page.wait_for_selector(".md-search-result__item a")
    found = page.locator(".md-search-result__item a").first
    assert "zh/gallery.html" in found.get_attribute("href")
    context.close()


class Read(HTMLParser):
    """What a reader sees of a page: each heading, item, cell, ... and what it is inside of."""

    BLOCKS = frozenset(("ol", "ul", "li", "blockquote", "table"))
    KINDS = BLOCKS | {"h1", "h2", "h3", "h4", "td", "th", "pre", "img", "code", "em", "strong"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in self.KINDS:
            self.counts[" ".join((*self._inside, tag))] += 1
        if tag in self.BLOCKS:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.BLOCKS:
            assert self._inside.pop() == tag


def source_of(uri: str) -> Path:
    outside = {there: path for path, there in OUTSIDE.items()}
    return ROOT / outside.get(uri, f"docs/{uri}")


def texts() -> list[str]:
    own = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    # The reference of Python is written by its docstrings.
    return sorted({*own, *OUTSIDE.values()} - {"api.md"})


@pytest.mark.parametrize("uri", texts())
def test_a_page_has_the_same_headings_lists_tables_and_code_as_on_github(
    site: Path, uri: str
) -> None:
    """GitHub reads CommonMark with tables; the site's Markdown takes some lists for paragraphs."""
    page = (site / uri).with_suffix(".html").read_text()
    article = re.search(r"<article[^>]*>(.*?)</article>", page, re.DOTALL)
    assert article is not None
    # What mkdocs adds: the line numbers' and the permalinks' marks are no content.
    there = Read(article[1]).counts
    here = Read(MarkdownIt("commonmark").enable("table").render(source_of(uri).read_text())).counts
    assert there == here
    assert "](" not in html.unescape(
        re.sub(r"<(pre|code).*?</\1>", "", article[1], flags=re.DOTALL)
    )


def test_roles_of_sphinx_become_code_or_links() -> None:
    assert doctest.testmod(docs_roles).failed == 0


def test_every_public_name_is_on_the_page_of_python(site: Path) -> None:
    page = (site / "api.html").read_text()
    for name in audit.__all__:
        assert f'id="audit.{name}"' in page, name
    assert not re.search(r":(?:class|func|data|meth|mod):", page)
