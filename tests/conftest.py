"""A browser, which tests of several modules share."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, driven by playwright; without either the test skips."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    have = importlib.util.find_spec("playwright") is not None and chromium is not None
    if not have and os.environ.get("AUDIT_REQUIRE_BROWSER") != "1":
        pytest.skip(
            "needs playwright and Debian's chromium (AUDIT_REQUIRE_BROWSER=1 makes this an error)"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"],
        )  # fmt: skip
        yield started
        started.close()
