"""Instruction sets that a processor can be held to, and the variables that hold it."""

from __future__ import annotations

from typing import Literal

InstructionSet = Literal["", "sse4", "avx2", "avx512"]
"""Instructions that a processor is held to; empty for all that it has."""

INSTRUCTIONS: dict[InstructionSet, dict[str, str]] = {
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "sse4": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}
"""The variables that hold torch's own loops, oneDNN and MKL to what another machine would have.
They are read once, when torch is loaded."""

CAPABILITY: dict[InstructionSet, tuple[str, ...]] = {
    "avx512": ("AVX512",),
    "avx2": ("AVX2",),
    "sse4": ("DEFAULT", "NO AVX"),
}
"""What torch calls them; versions of torch differ in the name of the least."""
