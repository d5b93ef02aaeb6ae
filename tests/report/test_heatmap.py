"""The heatmap of a report: its title, its formats, and what a user's settings leave alone."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from audit.report.heatmap import FORMATS, heatmap, on_a_page
from audit.report.plotting import FONTS, colour_map
from audit.report.strips import sheet

DRAWN = """
import hashlib, io, sys
import numpy as np
from PIL import Image
from audit.report.heatmap import heatmap
from audit.report.pictures import difference
from audit.report.strips import animation, sheet
picture = Image.linear_gradient("L").convert("RGB")
p, q = np.diag([0.5, 0.3, 0.2]), np.full((3, 3), 1 / 9)
said = dict(colours="jet", boxes={"cat": [[0.1, 0.1, 0.5, 0.6]]})
for format in ("png", "svg", "pdf"):
    drawn = heatmap(picture, p, "two birds and a 鸟, นก, some $x_1$", format=format, **said)
    print(hashlib.sha256(drawn).hexdigest())
print(hashlib.sha256(sheet(picture, [("a", p), ("b", q)], title="t", scale="each")).hexdigest())
print(hashlib.sha256(difference(picture, p, q).tobytes()).hexdigest())
print("pyplot" if "matplotlib.pyplot" in sys.modules else "no window")
"""

STYLE = """
image.origin: lower
image.lut: 4
image.cmap: gray
savefig.bbox: tight
savefig.dpi: 30
savefig.facecolor: black
savefig.transparent: True
figure.facecolor: red
figure.titlesize: 40
axes.facecolor: blue
axes.grid: True
font.family: serif
font.size: 30
text.color: green
text.hinting: none
text.kerning_factor: 6
font.enable_last_resort: False
svg.fonttype: none
pdf.fonttype: 42
"""


def drawn_with(folder: Path, **settings: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    environment |= {"MPLCONFIGDIR": str(folder), **settings}
    done = subprocess.run(
        [sys.executable, "-c", DRAWN], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.split("\n")


def pictures_in(svg: bytes) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2])))
        for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}image")
        for key, value in element.attrib.items()
        if key.endswith("href")
    ]


@pytest.fixture
def picture() -> Image.Image:
    return Image.linear_gradient("L").convert("RGB")


@pytest.mark.slow
def test_what_a_user_set_for_other_plots_changes_nothing(tmp_path: Path) -> None:
    own, styled = tmp_path / "own", tmp_path / "styled"
    own.mkdir()
    styled.mkdir()
    (styled / "matplotlibrc").write_text(STYLE)
    (styled / "fonts").mkdir()
    # An installed font that calls itself as one of audit's does.
    other = TTFont(FONTS / "DejaVuSerif.ttf")
    for record in other["name"].names:
        record.string = "Noto Sans Thai"
    other.save(styled / "fonts" / "Thai.ttf")
    expected = drawn_with(own)
    assert expected[-2] == "no window"
    assert drawn_with(styled, XDG_DATA_HOME=str(styled)) == expected
    for backend in ("module://matplotlib_inline.backend_inline", "nonsense"):
        assert drawn_with(own, MPLBACKEND=backend) == expected, backend


@pytest.mark.slow
def test_a_backend_that_a_user_named_is_left_to_his_own_plots(tmp_path: Path) -> None:
    shown = "import audit.report.plotting, matplotlib, os;"
    shown += "print(matplotlib.rcParams['backend'], os.environ['MPLBACKEND'])"
    for backend in ("pdf", "nonsense"):
        done = subprocess.run(
            [sys.executable, "-c", shown], capture_output=True, text=True, check=True,
            env={**os.environ, "MPLBACKEND": backend, "MPLCONFIGDIR": str(tmp_path)},
        )  # fmt: skip
        assert backend in done.stdout.split()
        assert ("pdf pdf" in done.stdout) == (backend == "pdf")


def test_drawing_leaves_the_settings_of_the_process_alone(picture: Image.Image) -> None:
    with matplotlib.rc_context({"image.origin": "lower", "font.size": 33}):
        before = dict(matplotlib.rcParams)
        drawn = heatmap(picture, np.eye(2) / 2, "t", colours="jet", boxes={})
        sheet(picture, [("a", np.eye(2) / 2)], title="t", scale="each")
        assert dict(matplotlib.rcParams) == before
    assert drawn == heatmap(picture, np.eye(2) / 2, "t", colours="jet", boxes={})


@pytest.mark.parametrize("dpi", [30, 120, 300])
def test_the_heatmap_is_nine_inches_wide(dpi: int, picture: Image.Image) -> None:
    data = heatmap(picture, np.eye(2) / 2, "t", colours="jet", boxes={}, dpi=dpi)
    with Image.open(io.BytesIO(data)) as drawn:
        assert drawn.width == 9 * dpi
        assert round(drawn.info["dpi"][0]) == dpi


@pytest.mark.parametrize("title", ["a bird on a branch ", "树枝上有两只小鸟。", "a" * 15])
def test_a_long_title_is_broken_into_lines_and_stays_on_the_page(
    title: str, picture: Image.Image
) -> None:
    def page(title: str) -> Image.Image:
        data = heatmap(picture, np.eye(2) / 2, title, colours="jet", boxes={})
        return Image.open(io.BytesIO(data)).convert("L")

    short, long = page("bird"), page(title * 20)
    assert long.width == short.width == 1080
    assert long.height >= short.height + 3 * 24
    head = np.asarray(long)[: long.height - short.height]
    assert head[:, :8].min() == head[:, -8:].min() == 255
    assert head.min() < 100


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_is_what_it_says_and_the_same_every_time(
    format: str, picture: Image.Image
) -> None:
    def written() -> list[bytes]:
        kind = FORMATS[format]
        one = heatmap(picture, np.eye(2) / 2, "两只鸟", colours="jet", boxes={}, format=kind)
        return [one, sheet(picture, [("鸟", np.eye(2) / 2)], title="t", scale="each", format=kind)]

    for data in written():
        if format == "svg":
            assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert data.startswith({"png": b"\x89PNG", "pdf": b"%PDF"}[format])
    assert written() == written()


def test_a_page_holds_the_pixels_as_they_are() -> None:
    picture = Image.effect_noise((50, 40), 60).convert("RGB")
    (held,) = pictures_in(on_a_page(picture, "svg"))
    # An SVG of matplotlib's is drawn from below.
    assert np.array_equal(np.asarray(held.convert("RGB"))[::-1], np.asarray(picture))


def test_the_colour_maps_are_matplotlibs() -> None:
    for name in ("viridis", "jet", "RdBu_r", "tab10"):
        steps = np.linspace(0, 1, 256)
        assert np.array_equal(colour_map(name)(steps), matplotlib.colormaps[name](steps))


def test_a_heatmap_at_high_resolution_is_not_an_enlarged_one() -> None:
    """Stripes of two pixels are seen where a panel of 4 inches has room for them."""
    stripes = np.tile(np.array([0, 0, 255, 255], np.uint8), (600, 300))
    picture = Image.fromarray(stripes)

    def contrast(dpi: int) -> float:
        data = heatmap(picture, np.eye(2) / 2, "t", colours="jet", boxes={}, dpi=dpi)
        with Image.open(io.BytesIO(data)) as drawn:
            middle = np.asarray(drawn.convert("L"), dtype=float)[drawn.height // 2]
        return float(middle[drawn.width // 8 : drawn.width // 4].std())

    assert contrast(120) < 30
    assert contrast(300) > 60


@pytest.mark.parametrize("variable", ["HOME", "MPLCONFIGDIR"])
@pytest.mark.parametrize("folder", ["/proc/nope", "/dev/null"])
def test_matplotlib_says_nothing_of_a_folder_that_cannot_be_written(
    variable: str, folder: str
) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPLCONFIGDIR"))}
    command = [sys.executable, "-c", "from audit.report.plotting import figure; figure(1, 1)"]
    environment = {**kept, variable: folder}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
