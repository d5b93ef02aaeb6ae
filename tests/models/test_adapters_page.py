"""The page about adapters: its example conforms, and it names every check."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from PIL import Image

from audit.base.geometry import Box
from audit.maps.trace import EACH_WORD
from audit.models import kit
from audit.models.kit.conformance import CHECKS
from audit.models.protocol import Query

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()


def test_the_example_conforms_and_sees_the_middle_square() -> None:
    adapter, check = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(adapter, names)
    exec(check, names)
    picture = Image.new("RGB", (90, 60), "white")
    picture.paste("red", (15, 0, 35, 20))
    (trace,) = names["Colours"]().trace([Query(picture, "a red square")], frozenset({EACH_WORD}))
    assert trace.label == "yes"
    assert trace.view == Box(15 / 90, 0.0, 75 / 90, 1.0)
    red = trace.readings[EACH_WORD._replace(word=1)].cells[0]
    assert red[:2, :2].min() > 0.99 > red[2:].max()


def test_every_check_is_documented() -> None:
    for name, check in CHECKS.items():
        first, *_ = (check.__doc__ or "").strip().splitlines()
        assert f"| `{name}` | {first} |" in PAGE


def test_every_name_of_the_kit_is_documented_with_its_arguments() -> None:
    for name in kit.__all__:
        given = inspect.signature(getattr(kit, name))
        plain = [each.replace(annotation=inspect.Parameter.empty) for each in
                 given.parameters.values()]  # fmt: skip
        signature = given.replace(parameters=plain, return_annotation=inspect.Signature.empty)
        assert f"`{name}{signature}`".replace("'", '"') in PAGE


def test_every_module_or_name_of_the_kit_that_the_page_names_is_there() -> None:
    for name in re.findall(r"`audit\.models\.kit\.(\w+)`", PAGE):
        assert name in kit.__all__
