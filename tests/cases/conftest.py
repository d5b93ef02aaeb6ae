"""What tests of case files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the picture that the case files of ``tests.case_files`` name."""
    Image.new("RGB", (80, 40)).save(tmp_path / "a.png")
    return tmp_path
