"""What is imported, and when: nothing that visual entailment does not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"


def printed(code: str, **environment: str) -> str:
    """What a new process prints that runs ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_loading_and_explaining_import_no_data_sets_compiler_or_other_tasks(
    tmp_path: Path,
) -> None:
    loaded = json.loads(
        printed(
            "import json, sys\n"
            "from pathlib import Path\n"
            "import audit\n"
            "model = audit.load_model('reference', 'cpu')\n"
            f"found = audit.explain({str(PICTURE)!r}, 'two birds', model)\n"
            f"found.draw(Path({str(tmp_path)!r}), 'a', 'two birds')\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    heavy = {
        "aiohttp", "datasets", "modelscope.msdatasets", "modelscope.pipelines", "pandas", "pyarrow",
        "sklearn", "sympy", "timm", "torch._dynamo", "torch._inductor", "torch.distributed.tensor",
        "zhconv",
    }  # fmt: skip
    assert heavy & set(loaded) == set()


REAL = (
    "import sys\n"
    "from audit.models.ofa.standins import LATE\n"
    "assert not set(LATE) & set(sys.modules), 'a stand-in is left'\n"
    "import importlib\n"
    "for name in LATE:\n"
    "    module = importlib.import_module(name)\n"
    "    assert module.__file__\n"
    "    for each in LATE[name]:\n"
    "        assert getattr(module, each).__class__.__name__ != '_LateMeta'\n"
    "print('real')"
)


HELD = (
    "import torch\n"
    "from transformers import modeling_utils\n"
    "print(isinstance(torch.ones(1), modeling_utils.DTensor))\n"
    "from transformers.loss import loss_for_object_detection as losses\n"
    "print(*losses.linear_sum_assignment([[4, 1], [1, 4]]))\n"
    "from modelscope.preprocessors.ofa.ocr_recognition import convert\n"
    "print(convert('漢字', 'zh-hans'))"
)

COMPILED = (
    "import sys\n"
    "assert 'torch._dynamo' not in sys.modules\n"
    "from transformers import PreTrainedModel\n"
    "from torch._dynamo.trace_rules import is_callable_allowed\n"
    "print(is_callable_allowed(PreTrainedModel.can_record_outputs.fget))\n"
    "from audit.models.ofa import standins\n"
    "print([f for f in sys.meta_path if type(f).__module__ == standins.__name__])"
)
PARTED = """
import json, os, sys
import audit.models.ofa.adapter

for code in json.loads(sys.stdin.read()):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        exec(code, {})
        sys.stdout.flush()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit("it failed: " + code)
    print("---", flush=True)
"""
"""Imports the adapter once, and goes on from there in a process of its own for each code."""


@pytest.fixture(scope="module")
def after_import() -> dict[str, str]:
    """What each code prints in a process that imported the adapter and nothing after it."""
    codes = (REAL, HELD, COMPILED)
    done = subprocess.run(
        [sys.executable, "-c", PARTED], cwd=ROOT, input=json.dumps(codes), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(codes, done.stdout.split("---\n"), strict=False))


@pytest.mark.slow
def test_what_was_put_off_is_the_real_thing_for_everybody_else(
    after_import: dict[str, str],
) -> None:
    assert after_import[REAL] == "real\n"


@pytest.mark.slow
def test_what_was_put_off_works_for_those_who_hold_it(after_import: dict[str, str]) -> None:
    assert after_import[HELD] == "False\n[0 1] [1 0]\n汉字\n"


@pytest.mark.slow
def test_the_compiler_knows_what_transformers_told_it_once_it_is_imported(
    after_import: dict[str, str],
) -> None:
    assert after_import[COMPILED] == "True\n[]\n"


@pytest.mark.slow
def test_a_name_that_was_not_foreseen_is_imported_at_once() -> None:
    said = printed(
        "import sys\n"
        "from audit.models.ofa.standins import stand_ins\n"
        "with stand_ins():\n"
        "    from sklearn.metrics import roc_curve\n"
        "    assert 'sklearn.base' not in sys.modules\n"
        "    from sklearn.metrics import accuracy_score\n"
        "    import sklearn\n"
        "    assert sklearn.__version__\n"
        "print(accuracy_score([1], [1]), roc_curve.__name__, sklearn is sys.modules['sklearn'])"
    )
    assert said == "1.0 roc_curve True\n"


@pytest.mark.parametrize(
    ("given", "spins"), [({}, "0"),
     pytest.param({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000", marks=pytest.mark.slow),
     pytest.param({"GOMP_SPINCOUNT": "7"}, "7", marks=pytest.mark.slow)],
)  # fmt: skip
def test_torch_waits_passively_unless_the_user_has_set_how(
    given: dict[str, str], spins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    code = "import audit, torch"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, **given, "OMP_DISPLAY_ENV": "VERBOSE"},
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
