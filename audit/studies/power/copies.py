"""Makes changed copies on disk: of a checkpoint, and of case files with their pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import ExifTags, Image, PngImagePlugin
from safetensors.torch import save_file

from audit.base.images import open_image
from audit.base.yamlfile import read
from audit.cases.loading import Case
from audit.models.ofa.sources import Checkpoint

Redraw = Callable[[Image.Image, Path], Path]
"""Writes a picture, upright and in RGB; takes a path without a suffix, returns that of the file."""


def copied(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint in another folder."""
    target = folder / checkpoint.folder.name
    shutil.copytree(checkpoint.folder, target)
    return replace(checkpoint, folder=target)


def saved_again(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """A copy of the checkpoint, with weights loaded and saved again."""
    copy = copied(checkpoint, folder)
    for path in copy.folder.glob("*.bin"):
        torch.save(torch.load(path, weights_only=True), path)
    return copy


def as_safetensors(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """A copy of the checkpoint, with weights in ``model.safetensors``."""
    copy = copied(checkpoint, folder)
    for path in copy.folder.glob("*.bin"):
        stored = torch.load(path, weights_only=True)
        kept = {name: value.clone().contiguous() for name, value in stored.items()}
        save_file(kept, copy.folder / "model.safetensors", metadata={"format": "pt"})
        path.unlink()
    return copy


def saved(suffix: str, mode: str = "RGB", **options: Any) -> Redraw:
    """Written in another format, without a loss."""

    def write(image: Image.Image, stem: Path) -> Path:
        path = stem.with_suffix(suffix)
        image.convert(mode).save(path, **options)
        return path

    return write


def with_metadata(image: Image.Image, stem: Path) -> Path:
    """A PNG with a text, EXIF data and a resolution."""
    about, exif = PngImagePlugin.PngInfo(), Image.Exif()
    about.add_text("Software", "an editor")
    exif[ExifTags.Base.ImageDescription] = "a picture"
    path = stem.with_suffix(".png")
    image.save(path, pnginfo=about, exif=exif, dpi=(300, 300))
    return path


def on_its_side(image: Image.Image, stem: Path) -> Path:
    """A PNG that is stored on its side, with EXIF data that say so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = stem.with_suffix(".png")
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    return path


def copy_cases(cases: Sequence[Case], folder: Path, redraw: Redraw | None) -> list[Path]:
    """Copy the files of these cases, with these cases alone, and their pictures.

    Args:
        redraw: how pictures are written; None copies the files. Either way they get new names.

    Returns:
        The case files, in folders of their own.
    """
    found = []
    for number, file in enumerate(sorted({case.file.resolve() for case in cases})):
        home = folder / str(number)
        (home / "pictures").mkdir(parents=True)
        wanted = {case.source.id for case in cases if case.file.resolve() == file}
        value = read(file).value
        names: dict[str, str] = {}
        kept = [each for each in value["cases"] if each["id"] in wanted]
        swapped = [made for each in kept for made in each.get("variants", ()) if "swap" in made]
        for each, key in [*((each, "image") for each in kept), *((m, "swap") for m in swapped)]:
            written = each[key]
            if written not in names:
                stem = home / "pictures" / f"copy-{len(names)}"
                names[written] = _copy(file.parent / written, stem, redraw).name
            each[key] = f"pictures/{names[written]}"
        about = {"defaults": value["defaults"]} if "defaults" in value else {}
        path = home / file.name
        text = yaml.safe_dump({**about, "cases": kept}, allow_unicode=True, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        found.append(path)
    return found


def _copy(source: Path, stem: Path, redraw: Redraw | None) -> Path:
    if redraw is not None:
        return redraw(open_image(source), stem)
    path = stem.with_suffix(source.suffix)
    shutil.copyfile(source, path)
    return path
