"""Make ``docs/gallery.png``: the gallery of an update that must not pass.

Run ``python -m tools.docs_picture`` where Debian's chromium is installed. The update is a copy of
the reference with one decoder layer's cross-attention weights shuffled.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tools.shuffled import shuffle_cross_attention

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Audit the broken copy and photograph its gallery."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        model = shuffle_cross_attention(work / "update")
        options = [f"--audit-model={model}", f"--audit-run-dir={work / 'run'}", "-k", "guide"]
        subprocess.run([sys.executable, "-m", "pytest", "cases", *options], cwd=ROOT, check=False)
        shot = work / "gallery.png"
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-background-networking",
                f"--user-data-dir={work / 'profile'}",
                "--window-size=1240,920",
                f"--screenshot={shot}",
                (work / "run" / "gallery.html").as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as picture:
            picture.convert("RGB").save(ROOT / "docs" / "gallery.png", optimize=True)


if __name__ == "__main__":
    main()
