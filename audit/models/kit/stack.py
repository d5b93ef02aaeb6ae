"""What a process computes with, besides a model's own weights: packages, processor, options."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scipy", "POT")
"""What pictures, passes, maps and figures are computed with, whatever the model."""

_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Environment variables that change how sums are computed."""

_CPUINFO = Path("/proc/cpuinfo")


def stack(device: str) -> dict[str, str]:
    """What this process computes with on ``device``, by name, for a record of provenance.

    Nothing here is part of a model's digest. What torch is set to is told if the process has
    loaded it: a model may do without. On a GPU the settings of TF32 are included: with convolutions
    in TF32, which is torch's default, probabilities moved by 4e-4 on an H100.
    """
    found = {
        **{name: installed(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "processor": _processor(),
        **{name: os.environ.get(name, "unset") for name in _VARIABLES},
    }
    torch = sys.modules.get("torch")
    return found if torch is None else found | _of_torch(torch, device)


def installed(package: str) -> str:
    """The version of an installed package, or ``not installed``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _of_torch(torch: Any, device: str) -> dict[str, str]:
    backends, told = torch.backends, torch.__config__.show()
    found = {
        "threads": str(torch.get_num_threads()),
        "instruction set": backends.cpu.get_cpu_capability(),
        "MKL": _built_with(told, r"Math Kernel Library Version (\S+)", backends.mkl),
        "oneDNN": _built_with(told, r"MKL-DNN v(\S+)", backends.mkldnn),
        "float32 products": torch.get_float32_matmul_precision(),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
    }
    if device.startswith("cuda") and torch.cuda.is_available():
        found |= {
            "GPU": torch.cuda.get_device_name(torch.device(device)),
            "CUDA": str(torch.version.cuda or torch.version.hip or "none"),
            "cuDNN": str(backends.cudnn.version() or "none"),
            "TF32 in convolutions": _switch(lambda: backends.cudnn.allow_tf32),
            "TF32 in products": _switch(lambda: backends.cuda.matmul.allow_tf32),
        }
    return found


def _processor() -> str:
    """The processor's name, or at least its kind."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _built_with(told: str, version_of: str, backend: Any) -> str:
    if not backend.is_available():
        return "none"
    named = re.search(version_of, told)
    return named[1] if named else "yes"


def _switch(read: Callable[[], bool]) -> str:
    try:
        return "on" if read() else "off"
    except RuntimeError:  # torch refuses to read its older names once a newer one was set
        return "unknown"
