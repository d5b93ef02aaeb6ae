"""What a process computes with is recorded as short texts, with torch or without."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import __version__ as pillow_version

from audit.models.kit import stack as module
from audit.models.kit.hardware import threads_set
from audit.models.kit.stack import stack


def test_packages_processor_threads_and_options_are_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    with threads_set(1):
        found = stack("cpu")
    assert found["numpy"] == np.__version__
    assert found["pillow"] == pillow_version
    assert found["threads"] == "1"
    assert found["instruction set"] == torch.backends.cpu.get_cpu_capability()
    assert (found["MKL_CBWR"], found["ONEDNN_MAX_CPU_ISA"]) == ("COMPATIBLE", "unset")
    assert found["processor"]
    assert {type(value) for value in found.values()} == {str}
    assert not [name for name in found if "TF32 in" in name]


def test_a_process_without_torch_is_told_without_loading_it() -> None:
    code = (
        "import sys; from audit.models.kit.stack import stack; found = stack('cpu'); "
        "assert 'threads' not in found and found['numpy']; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_setting_that_torch_refuses_to_tell_is_unknown() -> None:
    def refuses() -> bool:
        raise RuntimeError("mix of old and new names")

    assert module._switch(refuses) == "unknown"
