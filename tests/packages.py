"""Packages as pip installs them, for tests of models that other packages bring."""

from __future__ import annotations

import textwrap
from pathlib import Path

TOY = """
    from audit import Known
    from tests.toy_model import ToyModel

    about = "a toy"
    accepted = "toy:ANYTHING"
    options = {"speed": ("slow", "fast"), "note": ()}

    def accepts(source):
        return source.startswith("toy:")

    def known(source, *, fetch=False):
        return Known(ToyModel.labels, ToyModel.methods)

    def load(source, *, device, dtype, threads, **options):
        model = ToyModel()
        model.given = (source, device, dtype, threads, options)
        return model
"""
"""A module that is itself a loader, for the toy model."""


def install(folder: Path, package: str, entries: dict[str, str], **modules: str) -> Path:
    """Install a package into a folder of the import path.

    Args:
        entries: its entry points in ``audit.models``, by scheme.
        modules: the source of its modules, by name.
    """
    about = folder / f"{package.replace('-', '_')}-1.5.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    lines = [f"{scheme} = {value}\n" for scheme, value in entries.items()]
    (about / "entry_points.txt").write_text(f"[audit.models]\n{''.join(lines)}")
    for name, content in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(content))
    return folder
