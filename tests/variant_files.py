"""A case with variants, for tests of them: all makers, and what one mistake is told as."""

from __future__ import annotations

from pathlib import Path

from audit.cases.loading import Case
from tests.case_files import load, problems

CASE = """\
cases:
  - id: birds
    image: a.png
    text: {text}
    tags: [guide]
    regions: {{birds: [[0.125, 0.25, 0.25, 0.5]], sky: [[0.0, 0.0, 1.0, 0.125]]}}
    map: {{layers: last}}
    expect: {{label: yes, attention: [{{metric: mass, region: birds, min: 0.4}}]}}
    drift: {{entropy: 0.5}}
    critical: true
    xfail: known
    repeat: 2
    variants:
"""


EVERY = """\
      - {mirror: true, follows: true, js: 0.1}
      - {crop: [0.0, 0.25, 0.5, 0.75], follows: true, js: 0.1}
      - {brightness: 1.5}
      - {jpeg: 50}
      - {blur: 2}
      - {blank: true, label: other, probability: falls}
      - {swap: b.png, label: no}
      - {paraphrase: two birds are there}
      - {negate: there is no bird, probability: {falls: 0.4}}
"""


def written(folder: Path, variants: str, text: str = "there are two birds") -> dict[str, Case]:
    return {case.id: case for case in load(folder, CASE.format(text=text) + variants)}


def refused(folder: Path, variant: str, text: str = "there are two birds") -> str:
    (line,) = problems(folder, CASE.format(text=text) + f"      - {variant}\n")
    return line.removeprefix("x.yaml:14:")
