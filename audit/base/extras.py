"""The extras of the package: what they bring, and what to install where that is missing.

The core reads cases, runs and baselines, and needs none of them. A module that needs one of these
packages asks here before it imports it.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement

from audit.base.errors import MissingExtra

_TORCH = ("torch>=2.6", "torchvision")

EXTRAS = {
    "ofa": ("modelscope>=1.40", *_TORCH, "transformers>=4.57,<5"),
    "hf": ("huggingface_hub>=0.34", *_TORCH, "transformers>=4.57"),
    "app": ("gradio>=6.10,<7",),
    "data": ("pandas>=2.2", "pyarrow>=17"),
    "bulk": ("pandas>=2.2", "pyarrow>=17", "ray>=2.50"),
}
"""By extra, the packages without which nothing of it works, with the versions that will do."""


def lacking(extra: str) -> str:
    """What must be installed before anything of an extra can be used, in words; empty if nothing.

    It looks at what is installed and imports nothing, so it takes a millisecond or two.
    """
    faults = [fault for each in EXTRAS[extra] if (fault := _fault_of(Requirement(each)))]
    return f"needs {', '.join(faults)}: pip install 'ofa-audit[{extra}]'" if faults else ""


def require(extra: str, who: str) -> None:
    """Fail early and in one sentence if an extra is not installed.

    Raises:
        MissingExtra: it is not; the message begins with ``who``.
    """
    if told := lacking(extra):
        raise MissingExtra(f"{who} {told}")


def _fault_of(needed: Requirement) -> str:
    """The package, if it is missing, and its version, if that will not do; else empty."""
    try:
        # Not find_spec: a package can leave files behind when it is uninstalled, as gradio does.
        found = metadata.distribution(needed.name).version
    except metadata.PackageNotFoundError:
        return needed.name
    if needed.specifier.contains(found, prereleases=True):
        return ""
    return f"{needed.name}{needed.specifier} ({found} is installed)"
