"""Makes changed copies on disk: of a checkpoint, and of case files with their pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import ExifTags, Image, PngImagePlugin
from safetensors.torch import load_file, save_file

from audit.base.files import write_json
from audit.base.images import open_image
from audit.base.yamlfile import read
from audit.cases.loading import Case
from audit.models.kit.altering import NotPossible

Redraw = Callable[[Image.Image, Path], Path]
"""Writes a picture, upright and in RGB; takes a path without a suffix, returns that of the file."""


def copied(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint in another folder."""
    return Path(shutil.copytree(checkpoint, folder / checkpoint.name))


def saved_again(checkpoint: Path, folder: Path) -> Path:
    """A copy of the checkpoint, with weights loaded and saved again."""
    copy = copied(checkpoint, folder)
    for path in copy.glob("*.bin"):
        torch.save(torch.load(path, weights_only=True), path)
    for path in copy.glob("*.safetensors"):
        save_file(load_file(path), path, metadata={"format": "pt"})
    return copy


def as_safetensors(checkpoint: Path, folder: Path) -> Path:
    """A copy of the checkpoint, with weights in ``model.safetensors``.

    Raises:
        NotPossible: there are no other weights.
    """
    copy = copied(checkpoint, folder)
    paths = [*copy.glob("*.bin")]
    if not paths:
        raise NotPossible("its weights are safetensors already")
    for path in paths:
        stored = torch.load(path, weights_only=True)
        kept = {name: value.clone().contiguous() for name, value in stored.items()}
        save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
        path.unlink()
    return copy


def in_two_files(checkpoint: Path, folder: Path) -> Path:
    """A copy of the checkpoint, with half of the tensors in a file of their own.

    Raises:
        NotPossible: the weights are not one file of safetensors.
    """
    copy = copied(checkpoint, folder)
    paths = [*copy.glob("*.safetensors")]
    if len(paths) != 1:
        raise NotPossible("its weights are not one file of safetensors")
    tensors = load_file(paths[0])
    paths[0].unlink()
    names = sorted(tensors)
    index: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        path = copy / f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, path, metadata={"format": "pt"})
        index |= dict.fromkeys(part, path.name)
    size = sum(value.nbytes for value in tensors.values())
    write_json(
        copy / "model.safetensors.index.json",
        {"metadata": {"total_size": size}, "weight_map": index},
    )
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
