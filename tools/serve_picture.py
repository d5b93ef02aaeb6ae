"""Makes ``docs/serve.png``: the page of ``audit serve``, with an answer and a region.

Run ``python -m tools.serve_picture`` where Debian's chromium is installed.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Serve the page, ask about an example, and take a screenshot."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "audit", "serve", f"--port={port}"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        try:
            address = server.stdout.readline().removeprefix("page: ").strip()
            with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium",
                    args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
                )
                page = browser.new_page(viewport={"width": 1240, "height": 1080})
                page.goto(address)
                _ask(page)
                shot = Path(temporary) / "serve.png"
                page.screenshot(path=shot)
                browser.close()
                with Image.open(shot) as picture:
                    picture.convert("RGB").save(ROOT / "docs" / "serve.png", optimize=True)
        finally:
            server.terminate()


def _ask(page: Any) -> None:
    page.click("#example input")
    page.fill("#example input", "two-birds-on-a-branch:")
    page.locator("#example [role=option]").get_by_text("two-birds-on-a-branch:").first.click()
    page.wait_for_selector(".stage .box")
    page.click("#ask")
    page.wait_for_selector("#heatmap img")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
