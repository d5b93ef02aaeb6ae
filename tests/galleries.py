"""What tests of the gallery in a browser share: its toy cases, and what is seen of them."""

from __future__ import annotations

from typing import Any

import numpy as np

EVIL = "<script>document.title='owned'</script> \"quoted\" \u202eright to left ünïcode"

CASES = """\
cases:
  - {id: birds, image: images/a.png, text: there are two birds, tags: [guide],
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]},
     expect: {label: yes, attention: [{metric: mass, region: birds, min: 0.5}]}}
  - {id: more-birds, image: images/a.png, text: there are birds,
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}, expect: {label: yes}}
  - {id: hungry, image: images/b.png, text: the birds are hungry, expect: {label: maybe}}
  - {id: no-cat, image: images/a.png, text: a cat is sleeping, tags: [guide],
     expect: {label: no}}
"""


def shown(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "article:not([hidden])", "all => all.filter(a => a.offsetParent).map(a => a.dataset.case)"
    )
    return found


def pixels(page: Any, selector: str) -> np.ndarray:
    drawn = page.eval_on_selector(
        selector,
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data, c.width]",
    )
    return np.asarray(drawn[:-1], dtype=float).reshape(-1, drawn[-1], 4)[..., :3]


def panel(case: str, number: int) -> str:
    return f"#case-{case} .view > .strip figure:nth-child({number}) canvas"
