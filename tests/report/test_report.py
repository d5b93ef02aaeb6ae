"""The gallery and its pictures."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.cases.expectations import AttentionExpectation
from audit.gate.outcomes import DriftRow, State
from audit.gate.runfolder import Run
from audit.report.fragments import thumbnail_html
from audit.report.gallery import write_gallery
from audit.report.pictures import difference, overlay
from tests.outcomes import outcome

EVIL = '<script>alert("x")</script> \u202eabc'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    made.start({"model": {"source": EVIL, "digest": "f" * 64}, "started": "now", "baselines": ""})
    made.add_image("d" * 64, Image.new("RGB", (60, 40), "gray"))
    hot = np.zeros((2, 2))
    hot[0, 1] = 1.0
    maps = {"m": hot, "baseline:m": np.full((2, 2), 0.25)}
    drift = [DriftRow("entropy", "1", "0", -1.0, 0.02, "drifted")]
    made.add(replace(outcome("passes", State.PASSED)), {"m": hot})
    told = {"text": EVIL, "sentence": EVIL, "drift": drift, "metrics": {"m": {"entropy": 0.0}}}
    made.add(replace(outcome("fails", State.DRIFTED), **told), maps)
    made.add(replace(outcome("dies", State.ERROR), metrics={}, verdicts=[], default_map=""), {})
    return made


def article(page: str, case: str) -> str:
    return page.split(f'<article id="case-{case}"')[1].split("</article>", maxsplit=1)[0]


def data_of(page: str) -> Any:
    return json.loads(page.split('id="data">')[1].split("</script>", maxsplit=1)[0])


def test_the_gallery_needs_nothing_from_outside_and_runs_its_own_script_alone(run: Run) -> None:
    page = write_gallery(run).read_text()
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert page.count("<script") == 2
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0]
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = page.rsplit("<script>", maxsplit=1)[1].split("</script>", maxsplit=1)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "&lt;script&gt;" in page
    assert all(
        uri.startswith("data:image/webp;base64,") for uri in data_of(page)["images"].values()
    )


def test_failures_come_first_with_their_maps_and_tables(run: Run) -> None:
    page = write_gallery(run).read_text()
    places = [page.index(f'id="case-{c}"') for c in ("dies", "fails", "passes")]
    assert places == sorted(places)
    failed = article(page, "fails")
    for shown in ("entropy", "drifted", "0.02", "accept", "reject"):
        assert shown in failed
    assert "data-decide" not in article(page, "dies")
    assert "data-decide" not in article(page, "passes")
    cases = {case["id"]: case for case in data_of(page)["cases"]}
    assert [m["name"] for m in cases["fails"]["maps"]] == ["m"]
    assert [m["of"] for m in cases["fails"]["baselines"]] == ["m"]
    (now,), (before,) = cases["fails"]["maps"], cases["fails"]["baselines"]
    assert list(base64.b64decode(now["data"])) == [0, 255, 0, 0]
    assert now["peak"] == 1
    assert list(base64.b64decode(before["data"])) == [255] * 4
    assert before["peak"] == 0.25
    assert cases["fails"]["ratios"] == {"entropy": -50.0}
    assert cases["dies"]["maps"] == []


NAMES = {
    "entropy": {"metric": "entropy"},
    "mass[two birds]": {"metric": "mass", "region": "two birds"},
    "focus_area share=0.8": {"metric": "focus_area", "share": 0.8},
    "iou[birds] threshold=mass:0.5": {
        "metric": "iou", "region": "birds", "threshold": "mass:0.5",
    },
    "js against=(blank layers=last)": {
        "metric": "js", "against": {"method": "blank", "layers": "last"},
    },
}  # fmt: skip


def test_the_page_knows_how_an_expectation_asks_for_each_figure(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"model": {}, "baselines": ""})
    run.add(replace(outcome("a", State.PASSED), metrics={"m": dict.fromkeys(NAMES, 0.5)}), {})
    asked = data_of(write_gallery(run).read_text())["asked"]
    assert asked == NAMES
    for name, keys in asked.items():
        assert AttentionExpectation.model_validate({**keys, "min": 0.25}).key == name


def test_figures_of_another_version_are_drawn_as_they_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"model": {}, "baselines": ""})
    figures = {"depth[birds": 0.5, "depth": 0.25, "js against=(no map)": 0.5}
    drift = [DriftRow(name, "1", "0", -1.0, 0.1, "drifted") for name in ("label", *figures)]
    run.add(replace(outcome("a", State.DRIFTED), metrics={"m": figures}, drift=drift), {})
    data = data_of(write_gallery(run).read_text())
    (case,) = data["cases"]
    assert case["figures"] == figures
    assert case["moved"] == ["depth", "depth[birds", "js", "label"]
    assert data["asked"] == {
        "depth[birds": {"metric": "depth[birds"},
        "depth": {"metric": "depth"},
        "js against=(no map)": {"metric": "js", "against": "no map"},
    }


def test_a_passing_case_has_a_small_picture_unless_all_is_asked_for(run: Run) -> None:
    small = data_of(write_gallery(run).read_text())
    assert sorted(small["images"]) == [f"{'d' * 16}-220", f"{'d' * 16}-640"]
    passes = next(case for case in small["cases"] if case["id"] == "passes")
    assert not passes["full"]
    everything = data_of(write_gallery(run, "all").read_text())
    assert sorted(everything["images"]) == [f"{'d' * 16}-640"]
    assert all(case["full"] for case in everything["cases"])


def test_a_case_whose_picture_is_gone_still_appears(run: Run) -> None:
    run.image_path("d" * 64).unlink()
    page = write_gallery(run).read_text()
    assert data_of(page)["images"] == {}
    assert "so" in article(page, "dies")


def test_drawing_twice_gives_the_same_bytes(run: Run) -> None:
    first = write_gallery(run).read_bytes()
    assert write_gallery(run).read_bytes() == first


def test_thumbnails_escape_what_they_show(run: Run) -> None:
    fragment = thumbnail_html(run, run.outcome("fails"), "my run/gallery.html")
    assert "<script" not in fragment
    assert fragment.count("<img") == 4
    assert '<a href="my%20run/gallery.html#case-fails">' in fragment


def test_the_heat_lies_where_the_map_has_its_maximum() -> None:
    """Over a grey picture the largest change of colour is in the quadrant of the hot cell."""
    p = np.array([[0.0, 1.0], [0.0, 0.0]])
    ground = Image.new("RGB", (100, 100), "gray")
    drawn = np.asarray(overlay(ground, p, width=100), dtype=float)
    changed = np.abs(drawn - np.asarray(ground, dtype=float)).sum(-1)
    row, col = np.unravel_index(changed.argmax(), changed.shape)
    assert row < 50 <= col


def test_the_difference_of_equal_maps_leaves_the_picture_grey() -> None:
    p = np.full((3, 3), 1 / 9)
    drawn = np.asarray(difference(Image.new("RGB", (60, 60), "red"), p, p, width=60))
    assert np.ptp(drawn, axis=-1).max() == 0
