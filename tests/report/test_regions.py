"""Regions of a gallery: their colours, and what each gained and lost."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.gate.outcomes import DriftRow, State
from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from audit.report.regions import PALETTE, colours_of, legend, moved_between
from tests.outcomes import outcome

# Machado, Oliveira & Fernandes 2009, table 1, severity 1, in linear RGB.
SEEN_BY = {
    "everyone": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear RGB."""
    scaled = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_any_two_colours_differ_for_all_eyes(eyes: str) -> None:
    seen = [lab(SEEN_BY[eyes] @ linear(colour)) for colour in PALETTE]
    # 10 is seen at a glance; 2.3 is just noticeable.
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 25


@pytest.mark.parametrize("ground", ["#ffffff", "#fcfcfd", "#131517", "#1b1e21"])
@pytest.mark.parametrize("colour", PALETTE)
def test_each_colour_stands_out_from_the_page_by_3_to_1(colour: str, ground: str) -> None:
    low, high = sorted(float(XYZ[1] @ linear(each)) for each in (colour, ground))
    assert (high + 0.05) / (low + 0.05) >= 3


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=4), max_size=6))
def test_a_name_keeps_its_colour_and_the_first_case_has_no_colour_twice(
    cases: list[list[str]],
) -> None:
    found = colours_of(cases)
    assert set(found) == {name for case in cases for name in case}
    assert all(0 <= colour < len(PALETTE) for colour in found.values())
    for first in cases[:1]:
        assert len({found[name] for name in first}) == len(first)


def test_a_region_tells_its_share_now_and_before_and_the_change_in_points() -> None:
    row = DriftRow("mass[birds]", "0.85", "0.5", -0.35, 0.02, "drifted")
    case = replace(outcome("a", State.DRIFTED), drift=[row])
    (entry,) = legend(case, {"birds": "#d08000"})
    assert (entry.name, entry.now, entry.was, entry.points) == ("birds", "50 %", "85 %", "−35")
    (entry,) = legend(replace(case, drift=[]), {"birds": "#d08000"})
    assert (entry.now, entry.was, entry.points) == ("50 %", "", "")


def test_what_a_region_gained_is_the_difference_of_the_maps_inside_it() -> None:
    before, now = np.array([[0.9, 0.1], [0.0, 0.0]]), np.array([[0.2, 0.1], [0.0, 0.7]])
    case = replace(
        outcome("a", State.DRIFTED),
        regions={"birds": [(0.0, 0.0, 0.5, 0.5)], "mark": [(0.75, 0.5, 1.0, 1.0)]},
    )
    # The box of the mark covers half of its cell.
    assert moved_between(case, before, now) == {"birds": "−70", "mark": "+35"}
    assert moved_between(case, before, np.full((3, 3), 1 / 9)) == {}
    assert moved_between(case, before, None) == {}


def test_the_page_has_the_names_the_colours_and_what_moved(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"id": "r", "model": {}, "baselines": ""})
    row = DriftRow("mass[birds]", "0.85", "0.5", -0.35, 0.02, "drifted")
    now, before = np.array([[0.5, 0.5], [0.0, 0.0]]), np.array([[0.85, 0.15], [0.0, 0.0]])
    case = replace(outcome("a", State.DRIFTED), drift=[row])
    run.add(case, {"m": now, "baseline:m": before})
    page = write_gallery(run, language="en").read_text()
    said = page.replace("\N{NO-BREAK SPACE}", " ")
    assert '<bdi>birds</bdi>: 50 % of the map, was 85 % (−35 <a class="term"' in said
    data = json.loads(page.split('id="data">')[1].split("</script>", maxsplit=1)[0])
    assert data["regions"] == {"birds": PALETTE[0]}
    (baseline,) = data["cases"][0]["baselines"]
    assert baseline["moved"] == {"birds": "−35"}
    assert base64.b64decode(baseline["data"])[0] == 255
