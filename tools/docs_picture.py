"""Makes ``docs/gallery.png``: the gallery of an update that must not pass.

Run ``python -m tools.docs_picture`` where Debian's chromium is installed. The update is the
embedded model that relies on watermarks.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Audit the shortcut model and take a screenshot of its gallery."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        options = ["--audit-model=shortcut", f"--audit-run-dir={work / 'run'}"]
        command = [sys.executable, "-m", "pytest", "cases/watermarked.yaml", *options]
        subprocess.run(command, cwd=ROOT, check=False)
        shot = work / "gallery.png"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            page = browser.new_page(viewport={"width": 1240, "height": 1400})
            page.goto((work / "run" / "gallery.html").as_uri())
            page.wait_for_selector("article.whole[data-drawn]")
            page.click("#how summary")  # folded, so that the maps are in the picture
            page.screenshot(path=shot)
            browser.close()
        with Image.open(shot) as picture:
            picture.convert("RGB").save(ROOT / "docs" / "gallery.png", optimize=True)


if __name__ == "__main__":
    main()
