"""What imports without any extra: everything but the adapters and what works on their weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NEED_AN_EXTRA = (
    r"audit\.app\.(blocks|look|page)",  # gradio's components
    r"audit\.bulk\..*",
    r"audit\.data\.(tables|writing)",
    r"audit\.report\.bulk_comparison_page",
    r"audit\.studies\.bulk\.(?!sums$).*",
    r"audit\.models\.kit\.(altering|attention|check|conformance|fingerprints|hardware|randomise|remains|rows|singleheads|spoiling|subject)",
    r"audit\.models\.(ofa|hf)\.(?!loaders$|sources$|embedded$|description$).*",
    r"audit\.reference\.(batches|export|network|tokens|training)",
    r"audit\.reference\.chat\.(batches|dense|export|language|network|pictures|stages|training)",
    r"audit\.studies\.power\.(altered|changes|copies|harmless|learning|measure|planted|session|weights)",
    r"audit\.studies\.(plainly|validity\.measure)",
)
"""The modules that may import an extra's packages while they are imported. All others must not."""

CODE = """
import importlib, json, pkgutil, sys
blocked = set(json.loads(sys.argv[1]))

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import audit
broken = {}
for each in pkgutil.walk_packages(audit.__path__, "audit.", onerror=print):
    try:
        importlib.import_module(each.name)
    except ImportError as error:
        broken[each.name] = str(error)
print(json.dumps(broken))
"""

BROUGHT = (
    "cv2", "datasets", "gradio", "huggingface_hub", "modelscope", "pandas", "pyarrow", "rapidfuzz",
    "ray", "safetensors", "timm", "tokenizers", "torch", "torchvision", "transformers",
    "unicodedata2", "zhconv",
)  # fmt: skip
"""What the extras bring."""


@pytest.mark.slow
def test_every_module_that_needs_no_model_imports_without_the_extras() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(BROUGHT)], cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    broken = json.loads(done.stdout)
    assert "audit.models.kit.hardware" in broken  # the packages are really kept out
    allowed = re.compile("|".join(NEED_AN_EXTRA))
    assert {name: why for name, why in broken.items() if not allowed.fullmatch(name)} == {}
