"""The worked examples in docstrings hold, of every module that has some."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import audit

MODULES = [found.name for found in pkgutil.walk_packages(audit.__path__, "audit.")]


def has_examples(module: str) -> bool:
    """Read from its text: importing all modules would import gradio and modelscope."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ">>> " in Path(spec.origin).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [name for name in MODULES if has_examples(name)])
def test_the_worked_examples_in_the_docstrings_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    "module",
    [
        "app.casefile", "base.errors", "base.files", "base.geometry", "base.statistics",
        "base.strictjson", "base.texts", "base.words", "cases.expectations", "cases.writing",
        "gate.ending", "maps.spec", "metrics.distances", "metrics.keys", "metrics.measuring",
        "metrics.placement", "metrics.registry", "metrics.shape", "report.markdown",
        "report.pictures", "runs.evidence",
    ],
)  # fmt: skip
def test_what_is_shown_by_examples_keeps_them(module: str) -> None:
    assert f"audit.{module}" in MODULES
    assert has_examples(f"audit.{module}")
