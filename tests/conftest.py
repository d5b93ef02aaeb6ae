"""A browser, which tests of several modules share, and what workers beside each other need."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers get the files with the most slow tests first.

    So that none has minutes of work left when the others have none; needs --no-loadscope-reorder.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def a_thread_for_each_worker() -> Iterator[None]:
    """Beside other workers torch has one thread: with more, they wait for each other's cores."""
    if "PYTEST_XDIST_WORKER" not in os.environ or importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
