"""Makes valid files of every kind that audit reads, for :mod:`benchmarks.fuzz` to change and read.

A probe changes the files of its seed and lets audit read them. It returns ``read`` or ``refused``;
any exception is a fault.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.mutations import bytes_changed, file_replaced, folder_changed, tree_changed
from benchmarks.source_probe import probe_sources

ROOT = Path(__file__).parents[1]

Probe = Callable[[int], str]
"""Reads the file of a seed, and returns ``read`` or ``refused``."""


# Case files

FULL = """\
x-look: &look {map: {method: answer_attention, layers: last:2}, tags: [slow_one]}
defaults: {drift: {mass: 0.1, probability: 0.05}}
cases:
  - id: everything
    <<: *look
    image: images/two-birds-on-a-branch.png
    text: >
      there are two birds
      on a branch
    premise: "a photo: birds"
    regions: {birds: [[0.1, 0.3, 0.9, 0.8]], branch: [[10, 300, 470, 400], [0, 10, 20, 30]]}
    critical: true
    repeat: 2
    expect:
      label: "yes"
      probability: {min: 0.5, max: 1}
      attention:
        - {metric: mass, region: birds, min: 0.1}
        - {metric: pointing, region: birds, tolerance: 1, min: 0}
        - {metric: iou, region: birds, threshold: quantile:0.9, min: 0}
        - {metric: js, against: {method: blank}, min: 0.01}
        - {metric: entropy, max: 1, map: {method: word_attention, word: birds, heads: [1, 2]}}
  - id: second
    image: images/two-birds-on-a-branch.png
    text: a cat
    xfail: known
    expect: {label: no}
"""


def probe_cases(folder: Path) -> Probe:
    """Case files, with changes in their bytes, or in their trees before they are written again."""
    from audit.base.errors import CaseError
    from audit.base.yamlfile import read
    from audit.cases.loading import load_cases

    (folder / "images").symlink_to(ROOT / "cases" / "images")
    full = folder / "full.yaml"
    full.write_text(FULL)
    sources = [full, *sorted((ROOT / "cases").glob("*.yaml"))]
    texts = [path.read_text() for path in sources]
    trees = [read(path).value for path in sources]
    pictures: Any = {}

    def probe(seed: int) -> str:
        rng = Random(seed)
        which = rng.choice((0, rng.randrange(len(texts))))
        path = folder / f"case-{seed}.yaml"
        if rng.random() < 0.5:
            path.write_bytes(bytes_changed(texts[which].encode(), rng))
        else:
            tree = tree_changed(trees[which], rng)
            path.write_text(yaml.safe_dump(tree, allow_unicode=True), errors="surrogatepass")
        try:
            load_cases(path, pictures)
        except CaseError:
            return "refused"
        finally:
            path.unlink()
        return "read"

    return probe


# Stored folders

CONFTEST = """\
import audit.runs.session
from tests.toy_model import ToyModel
audit.runs.session.load_model = lambda *_, **__: ToyModel()
"""


def project(folder: Path) -> None:
    """Make a project audited twice with a toy model: baselines, two runs and a review."""
    images = folder / "cases" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (80, 60), "red").save(images / "a.png")
    (folder / "cases" / "two.yaml").write_text(
        "cases:\n"
        "  - {id: birds, image: images/a.png, text: there are two birds, "
        "regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}, expect: {label: 'yes', attention: "
        "[{metric: mass, region: birds, min: 0.2}]}}\n"
        "  - {id: cat, image: images/a.png, text: a cat sleeps, expect: {label: 'no'}}\n"
    )
    (folder / "pytest.ini").write_text("[pytest]\naudit_baselines = baselines/toy\n")
    (folder / "conftest.py").write_text(CONFTEST)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("CI", "GITHUB_", "PYTEST"))
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    floors = folder / "baselines" / "toy" / "provenance"
    floors.mkdir(parents=True)
    shutil.copy(ROOT / "baselines" / "reference" / "provenance" / "noise.json", floors)
    for lean, run, more in (("0", "first", ["--audit-update=new"]), ("0.1", "second", [])):
        subprocess.run(
            [sys.executable, "-m", "pytest", "cases", "-q", "-p", "no:cacheprovider",
             f"--audit-run-dir={run}", *more],
            cwd=folder, env={**environment, "TOY_LEAN": lean}, stdout=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    ident = json.loads((folder / "second" / "run.json").read_text())["id"]
    review = [{"case": "birds", "decision": "accept", "reason": "looks right"}]
    (folder / "decisions.json").write_text(
        json.dumps({"format": 1, "run": ident, "decisions": review})
    )


COMMANDS = [
    command.split()
    for command in (
        "report second",
        "report second --all",
        "accept second",
        "accept second birds --reason x",
        "accept second --decisions decisions.json",
        "status",
        "status --json",
        "prune",
        "compare first second",
        "compare baselines/toy second --json",
    )
]


def probe_stored(folder: Path) -> Probe:
    """Changed run folders, baselines and reviews, read by commands."""
    from audit.commands.main import main

    project(folder / "sound")
    sound = folder / "sound"
    # Import everything before time is measured, and check that the unchanged folder is read.
    for command in COMMANDS:
        tried = folder / "tried"
        shutil.copytree(sound, tried)
        with contextlib.chdir(tried):
            if _called(main, command) == 2:
                raise AssertionError(f"audit {' '.join(command)} refuses the unchanged folder")
            _pytest(tried)
        shutil.rmtree(tried)
    kinds = [
        sorted(p for p in (sound / place).rglob("*") if p.is_file() and p.suffix != ".html")
        for place in ("second", "second", "baselines")
    ] + [[sound / "decisions.json"]]

    def probe(seed: int) -> str:
        rng = Random(seed)
        work = folder / f"stored-{seed}"
        shutil.copytree(sound, work)
        try:
            for _ in range(rng.choice((1, 1, 2))):
                files = [work / p.relative_to(sound) for p in rng.choice(kinds)]
                left = [p for p in files if p.is_file() and p.lstat().st_size < 1_000_000]
                if left:
                    folder_changed(work, rng, left)
            with contextlib.chdir(work):
                codes = {_called(main, command) for command in rng.sample(COMMANDS, 3)}
                if seed % 10 == 0:
                    codes.add(_pytest(work))
            return "refused" if 2 in codes else "read"
        finally:
            shutil.rmtree(work, ignore_errors=True)

    return probe


def _called(main: Callable[[], None], command: list[str]) -> int:
    """Run an audit command in this process, check that it prints no traceback, return the code."""
    said = io.StringIO()
    before, sys.argv = sys.argv, ["audit", *command]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
    except SystemExit as done:
        code = done.code
    finally:
        sys.argv = before
    if "Traceback" in said.getvalue() or code not in (0, 1, 2, None):
        raise AssertionError(f"audit {' '.join(command)}: exit {code}: {said.getvalue()[-2000:]}")
    return code or 0


def _pytest(work: Path) -> int:
    """Run a session against changed baselines: cases may fail, but pytest itself must not."""
    import pytest

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(
            [
                "cases",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:rerunfailures",
                "--audit-run-dir=third",
                "--rootdir",
                str(work),
            ]
        )
    if code not in (0, 1, 4) or "INTERNALERROR" in said.getvalue():
        raise AssertionError(f"pytest: exit {code}: {said.getvalue()[-3000:]}")
    return 0


# Pictures


def _pictures() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(7)
    base = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).resize((90, 70))
    deep = Image.fromarray(rng.integers(0, 65535, (20, 30), np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    palette, clear, pages = base.convert("P"), base.convert("RGBA"), [base.rotate(90).convert("P")]
    wanted: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("BMP", base, {}),
        ("GIF", palette, {}),
        ("GIF", palette, {"save_all": True, "append_images": pages}),
        ("JPEG", base, {"exif": turned}),
        ("JPEG", base, {"progressive": True}),
        ("JPEG", base.convert("CMYK"), {}),
        ("PNG", base, {}),
        ("PNG", deep, {}),
        ("PNG", clear, {}),
        ("PNG", palette, {"transparency": 3}),
        ("PNG", base.convert("1"), {}),
        ("TIFF", base, {"compression": "tiff_lzw"}),
        ("TIFF", base, {"compression": "jpeg"}),
        ("TIFF", base, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", deep, {}),
        ("WEBP", base, {}),
        ("WEBP", clear, {"lossless": True, "exif": turned}),
    ]
    for form, image, options in wanted:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        yield form.lower(), buffer.getvalue()


def probe_pictures(folder: Path) -> Probe:
    """Changed pictures of every format; those that open are drawn with a map over them."""
    from audit.base.errors import ImageError
    from audit.base.images import open_image
    from audit.report.pictures import overlay

    sound = list(_pictures())

    def probe(seed: int) -> str:
        rng = Random(seed)
        suffix, data = rng.choice(sound)
        path = folder / f"picture-{seed}.{suffix}"
        path.write_bytes(bytes_changed(data, rng) if rng.random() < 0.97 else data)
        if rng.random() < 0.01:
            file_replaced(path, rng)
        try:
            image = open_image(path)
        except ImageError:
            return "refused"
        finally:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(
                missing_ok=True
            )
        assert image.mode == "RGB"
        overlay(image, np.full((4, 4), 1 / 16), width=120)
        return "read"

    return probe


# Checkpoints


def probe_checkpoints(folder: Path) -> Probe:
    """Changed checkpoint folders in ModelScope's format; models that load are asked."""
    from audit import load_model
    from audit.base.errors import AuditError
    from audit.models.protocol import Query
    from tests.checkpoints import make_checkpoint

    sound = make_checkpoint(folder / "sound")
    files = [p for p in sorted(sound.iterdir()) if p.is_file()]
    light = [p for p in files if p.suffix == ".json"]
    picture = Image.new("RGB", (80, 60), "red")

    def probe(seed: int) -> str:
        rng = Random(seed)
        work = folder / f"checkpoint-{seed}"
        shutil.copytree(sound, work)
        try:
            chosen = light if rng.random() < 0.7 else files
            folder_changed(work, rng, [work / p.name for p in chosen])
            try:
                model = load_model(str(work), "cpu")
                (trace,) = model.trace([Query(picture, "there are two birds on a branch")])
            except AuditError:
                return "refused"
            assert abs(sum(trace.probabilities.values()) - 1) < 1e-4
            return "read"
        finally:
            shutil.rmtree(work, ignore_errors=True)

    return probe


PROBES: dict[str, Callable[[Path], Probe]] = {
    "cases": probe_cases,
    "stored": probe_stored,
    "pictures": probe_pictures,
    "checkpoints": probe_checkpoints,
    "sources": probe_sources,
}
