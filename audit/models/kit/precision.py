"""Whether this machine computes well in the precision that was asked for; needs no torch."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
"""Where Linux lists what the processor can do."""

_FLAGS = ("flags", "Features")
"""How the line of a processor's abilities begins: on Intel and AMD, and on ARM."""

_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def note_on_dtype(device: str, dtype: str) -> str:
    """A warning to give before anything runs in this precision; empty if none is due.

    A processor that has no instructions for bfloat16 converts every number: a case of OFA-large
    took 6.9 s, and 1.8 s in float32.
    """
    if dtype != "bfloat16" or device != "cpu" or _has_bfloat16():
        return ""
    return "this processor has no bfloat16 units: bfloat16 will be slower here than float32"


def _has_bfloat16() -> bool:
    """Whether the processor lists it; if it lists nothing, it is assumed to have it."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    lines = [ln.partition(":")[2].split() for ln in text.splitlines() if ln.startswith(_FLAGS)]
    return not lines or any(unit in line for line in lines for unit in _BFLOAT16)
