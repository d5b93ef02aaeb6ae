"""Case files that tests write and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.base.errors import CaseError
from audit.cases.loading import Case, load_cases
from audit.cases.pictures import Pictures

PLAIN = """\
cases:
  - id: birds
    image: a.png
    text: there are two birds
    regions: {birds: [[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]}
    expect:
      label: yes
      probability: {min: 0.6}
      attention:
        - {metric: mass, region: birds, min: 0.4}
        - {metric: entropy, max: 0.9, map: {layers: "last:2", heads: [1, 3]}}
"""

OPTIONS = """\
cases:
  - id: birds
    image: a.png
    text: there are two birds
    regions: {birds: [[0.1, 0.2, 0.3, 0.4]]}
    map: {layers: last}
    expect:
      label: yes
      attention:
        - {metric: pointing, region: birds, min: 1, tolerance: 1}
        - {metric: iou, region: birds, min: 0.2, threshold: mass:0.50}
        - {metric: focus_area, max: 0.5, share: 0.8, map: {method: relevance}}
        - {metric: js, min: 0.1, against: {method: blank, layers: last}}
        - {metric: pointing, region: birds, min: 1, tolerance: 0}
        - {metric: deletion_margin, min: 0}
"""


def load(folder: Path, text: str | bytes, pictures: Pictures | None = None) -> list[Case]:
    path = folder / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_cases(path, pictures)


def problems(folder: Path, text: str | bytes) -> list[str]:
    """The lines of the error about a file that is refused, without the path of its folder."""
    with pytest.raises(CaseError) as caught:
        load(folder, text)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]
