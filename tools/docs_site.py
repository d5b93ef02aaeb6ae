"""Hooks of mkdocs: what the site has beyond the pages of ``docs/``, and where links lead.

Pages are written for the repository, where a link is a path to a file. On the site a link to a file
that is a page there leads to that page. Other files that pages link to, such as sources, become
pages of their own under ``files/``, so that the site of a version shows the files of that version.
A notebook becomes a page, too.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

OUTSIDE = {
    "README.md": "index.md",
    "README.zh.md": "zh/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "audit/reference/README.md": "embedded-models.md",
}
"""Files outside of ``docs/`` that are pages of the site, and where."""

INDEX = "decisions/index.md"

CHINESE = "zh/"
"""The pages in Chinese."""

NOTEBOOK = ".ipynb"

BACKGROUND = ("decisions/", "files/", "changes.md", "contributing.md")
"""Pages that a search lists after those about the same thing that are for users."""

_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#]*)(?P<rest>(#[^)\s]*)?\))")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]*`)", re.DOTALL | re.MULTILINE)

_LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the decisions into the navigation, where it says ``decisions/*.md``."""
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in ``docs/``."""
    for path, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text("utf-8")))
    files.append(File.generated(config, INDEX, content=_index()))
    for notebook in [file for file in files.media_files() if file.src_uri.endswith(NOTEBOOK)]:
        page = notebook_page(notebook.content_string, notebook.name + NOTEBOOK)
        files.append(File.generated(config, _uri(_path(notebook.src_uri)), content=page))
    pages = {file.src_uri for file in files}
    for path in sorted(set(_linked(files))):
        if _uri(path) not in pages and (ROOT / path).is_file():
            files.append(File.generated(config, _uri(path), content=_as_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to their pages."""
    del config
    pages = {file.src_uri for file in files}
    uri = page.file.src_uri
    if uri.startswith(BACKGROUND):
        page.meta.setdefault("search", {"boost": 0.2})
    if uri.startswith("files/"):
        return markdown

    def led(target: str) -> str:
        there = _uri(_joined(_path(uri), target))
        return posixpath.relpath(there, posixpath.dirname(uri)) if there in pages else target

    return _relinked(markdown, led)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Say which language a page is in: screen readers, fonts and line breaks go by it."""
    if not page.file.src_uri.startswith(CHINESE):
        return output
    language = config.theme["language"]
    return output.replace(f'<html lang="{language}"', '<html lang="zh-CN"', 1)


def _expanded(item: Any) -> Any:
    if isinstance(item, list):
        return [_expanded(each) for each in item]
    if isinstance(item, dict):
        return {name: _expanded(each) for name, each in item.items()}
    if isinstance(item, str) and item.endswith("*.md"):
        return [INDEX, *(f"decisions/{path.name}" for path in _decisions())]
    return item


def _decisions() -> list[Path]:
    found = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    return [path for path in found if path.name != "000-template.md"]


def _index() -> str:
    """The list of decisions: a file's first line is its number and title."""
    rows = []
    for path in _decisions():
        number, title = path.read_text("utf-8").splitlines()[0].removeprefix("# ").split(": ", 1)
        rows.append(f"| {number} | [{title}]({path.name}) |")
    return "\n".join(
        [
            "# Decisions",
            "",
            "What was decided, why, and what would make us look at it again.",
            "",
            "| number | decision |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


def _relinked(markdown: str, led: Callable[[str], str]) -> str:
    """The text with every relative link changed, except in code."""

    def changed(found: re.Match[str]) -> str:
        target = found["target"]
        if not target or _SCHEME.match(target):
            return found[0]
        return f"{found['before']}{led(target)}{found['rest']}"

    parts = _CODE.split(markdown)
    # What is between the pieces of code is at even places.
    return "".join(_LINK.sub(changed, part) if n % 2 == 0 else part for n, part in enumerate(parts))


def _linked(files: Files) -> Iterator[str]:
    """Paths in the repository of all files that pages link to."""
    for file in files.documentation_pages():
        found: list[str] = []

        def note(target: str, found: list[str] = found) -> str:
            found.append(target)
            return target

        _relinked(file.content_string, note)
        yield from (_joined(_path(file.src_uri), target) for target in found)


def _joined(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _path(uri: str) -> str:
    """Where a page lies in the repository."""
    outside = {there: path for path, there in OUTSIDE.items()}
    return outside.get(uri, f"docs/{uri}")


def _uri(path: str) -> str:
    """Where a file of the repository is on the site, if it is there."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if path == "docs/decisions":
        return INDEX
    if path.startswith("docs/"):
        page = path.removesuffix(NOTEBOOK) + ".md" if path.endswith(NOTEBOOK) else path
        return page.removeprefix("docs/")
    return f"files/{path}.md"


def notebook_page(text: str, name: str) -> str:
    """The cells of a notebook as Markdown, without outputs; the last line offers the file itself.

    Args:
        text: the notebook as JSON, of format 4.
        name: of its file, which lies beside the page.
    """
    cells = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        cells.append(f"````python\n{source}\n````" if cell["cell_type"] == "code" else source)
    # As HTML, for a link of Markdown would be changed to lead here.
    cells.append(f'<a href="{name}" download>Download this notebook</a>')
    return "\n\n".join(cells) + "\n"


def _as_page(path: str) -> str:
    """A file of the repository as a page that shows it."""
    language = _LANGUAGES.get(PurePosixPath(path).suffix, "text")
    text = (ROOT / path).read_text("utf-8")
    return f"# {path}\n\n````{language}\n{text.rstrip(os.linesep)}\n````\n"
