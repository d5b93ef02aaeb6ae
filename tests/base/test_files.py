"""Files, pictures, outcomes and runs."""

from __future__ import annotations

import io
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from audit.base import files, images
from audit.base.errors import ImageError, RunError
from audit.cases.expectations import Verdict
from audit.gate.outcomes import Outcome, Run, State, totals


def test_a_write_that_fails_midway_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def fail(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_json(path, {"new": 2})
    assert path.read_text() == '{\n "old": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_numbers_that_are_none(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.to_json({"x": [value]})


def test_digests_tell_where_parts_end() -> None:
    assert files.digest("ab", "c") != files.digest("a", "bc")
    assert files.digest("ab") == files.digest(b"ab")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_every_mode_come_back_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (5, 4)).save(path)
    found = images.open_image(path)
    assert (found.mode, found.size) == ("RGB", (5, 4))


def test_pictures_that_cannot_be_used_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="no such picture"):
        images.open_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match="not a picture, or damaged"):
        images.open_image(tmp_path / "text.png")
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:3000])
    for lenient in (False, True):  # modelscope makes Pillow lenient for the whole process
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        with pytest.raises(ImageError, match="damaged"):
            images.open_image(tmp_path / "cut.png")
        assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES
    (tmp_path / "whole.png").write_bytes(buffer.getvalue())
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="60 x 60 pixels, more than the limit of 100"):
        images.open_image(tmp_path / "whole.png")


def test_threads_that_open_pictures_leave_the_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(images.open_image, [tmp_path / "a.png"] * 400))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert warnings.filters == before


def test_one_picture_is_decoded_while_another_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    both = threading.Barrier(2, timeout=20)
    original = images._decoded

    def met(data: bytes) -> Image.Image:
        both.wait()  # breaks if the second thread waits for the first
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        return original(data)

    monkeypatch.setattr(images, "_decoded", met)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(images.open_image, [tmp_path / "a.png"] * 2))
    assert [image.size for image in found] == [(3, 2)] * 2


def outcome(name: str, state: State, line: int = 1) -> Outcome:
    return Outcome(
        case=name, file="cases/a.yaml", line=line, state=state, sentence="so", text="two <b>birds</b>",
        premise=None, tags=["t"], expected="yes", image="a.png", image_digest="d" * 64,
        image_size=(40, 40), case_digest="c" * 64, regions={"birds": [(0.0, 0.0, 0.5, 0.5)]},
        label="yes", probabilities={"yes": 0.75, "no": 0.25}, prompt="p", tokens=["a"], grid=(2, 2),
        default_map="m", metrics={"m": {"mass[birds]": 0.5, "lift[birds]": "the region is empty"}},
        verdicts=[Verdict("label", True, "yes", "yes", "fine")],
    )  # fmt: skip


def test_outcomes_survive_the_run_folder_worst_first(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"model": {}, "started": "now", "baselines": ""})
    stored = [
        outcome("fine", State.PASSED),
        outcome("late", State.BROKEN, line=9),
        outcome("early", State.BROKEN, line=2),
        outcome("worst", State.ERROR),
    ]
    for one in stored:
        run.add(one, {"m": np.full((2, 2), 0.25)})
    found = run.outcomes()
    assert [o.case for o in found] == ["worst", "early", "late", "fine"]
    assert found[3] == stored[0]
    assert totals(found) == {"error": 1, "contract broken": 2, "passed": 1}
    assert run.maps("fine")["m"].sum() == 1
    assert (
        '"undefined": "the region is empty"' in (run.folder / "outcomes" / "fine.json").read_text()
    )


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run"):
        Run(tmp_path).about()
    files.write_json(tmp_path / "run.json", {"format": 99})
    with pytest.raises(RunError, match="format 99"):
        Run(tmp_path).about()
    (tmp_path / "outcomes").mkdir()
    stored = {**outcome("a", State.PASSED).to_dict(), "more": 1}
    files.write_json(tmp_path / "outcomes" / "a.json", stored)
    with pytest.raises(RunError, match=r"a.json:.*: more: unknown key"):
        Run(tmp_path).outcomes()
