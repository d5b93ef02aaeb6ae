"""What ``import audit`` gives: names on purpose, each from one home, imported when asked for."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import audit
from audit.models import kit

ROOT = Path(__file__).parents[1]


def printed(code: str) -> str:
    """What a new process prints that runs ``code``."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_importing_audit_imports_nothing_else() -> None:
    loaded = json.loads(
        printed("import audit, json, sys; dir(audit); print(json.dumps(sorted(sys.modules)))")
    )
    heavy = {"matplotlib", "numpy", "PIL", "pydantic", "scipy", "torch", "typer", "yaml"}
    assert heavy & set(loaded) == set()
    own = [name for name in loaded if name.startswith("audit")]
    assert own == ["audit", "audit.base", "audit.base.lazy"]


PUBLIC = [(package, name) for package in (audit, kit) for name in package.__all__]


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_every_public_name_is_there_and_shown(package: ModuleType, name: str) -> None:
    home = next(home for home, names in package._HOMES.items() if name in names)
    assert getattr(package, name) is getattr(importlib.import_module(home), name)
    assert name in dir(package)


@pytest.mark.parametrize("package", [audit, kit])
def test_the_names_and_their_homes_are_the_same(package: ModuleType) -> None:
    names = sorted(name for each in package._HOMES.values() for name in each)
    assert names == sorted(package.__all__) == package.__all__


def test_no_public_name_is_that_of_a_module_beside_it() -> None:
    """Importing the module would put it in the name's place."""
    for package in (audit, kit):
        beside = {path.stem for folder in package.__path__ for path in Path(folder).iterdir()}
        assert beside & set(package.__all__) == set()


def test_the_kit_takes_no_torch_for_what_needs_none() -> None:
    said = printed(
        "import sys\nfrom audit.models.kit import words_of, over_heads, picture_of\n"
        "print('torch' in sys.modules)"
    )
    assert said == "False\n"


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'audit' has no attribute 'explian'"):
        _ = audit.explian  # type: ignore[attr-defined]


def test_explain_stays_the_function_whatever_was_imported() -> None:
    said = printed(
        "import audit.app.desk, audit.explaining, audit\n"
        "from audit import explain\n"
        "print(callable(audit.explain), explain is audit.explaining.explain)"
    )
    assert said == "True True\n"


def test_public_names_take_no_torch_until_a_model_is_loaded() -> None:
    said = printed("import sys\nfrom audit import *\nprint('torch' in sys.modules)")
    assert said == "False\n"


def test_the_docs_import_public_names_alone() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            for home, names in re.findall(
                r"^from (audit\S*) import ([^(\n]+)$", block, re.MULTILINE
            ):
                public = {"audit": audit, "audit.models.kit": kit}[home].__all__
                assert {name.strip() for name in names.split(",")} <= set(public), page.name
            assert not re.search(r"^(import audit\.|from audit\S* import \()", block, re.MULTILINE)
