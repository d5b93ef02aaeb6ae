"""Sheets and animations: several maps of one picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image
from scipy import ndimage

from audit.maps.reading import Map
from audit.report.pictures import outlined, overlay
from audit.report.strips import Format, Scale, animation, sheet

Panels = list[tuple[str, Map]]

UNUSUAL = [
    "grandmother's",
    "$x_1$",
    "price_of_$5",
    "\\frac{a}{b}",
    "antidisestablishmentarianism",
    "a" * 400,
    "قطتي",
    "שלום",
    "猫が寝ている",
    "🐈\u200d⬛",
    "two\nlines\tand tabs",
    "\u202eturned round",
    "\ud800 half a character",
    "",
]


@pytest.fixture
def dark() -> Image.Image:
    """A picture that is nowhere white as paper, nor bright as the end of viridis."""
    return Image.new("RGB", (120, 90), (40, 30, 50))


def one_hot(cell: int, rows: int = 3, cols: int = 4) -> Map:
    p = np.zeros(rows * cols)
    p[cell] = 1.0
    return p.reshape(rows, cols)


def spread(share: float) -> Map:
    """A map with ``share`` in one corner and the rest even over the other cells."""
    p = np.full((4, 4), (1 - share) / 15)
    p[0, 0] = share
    return p


def layers(count: int, rows: int = 30, cols: int = 30) -> Panels:
    """Blobs over noise, sharper from layer to layer."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:rows, :cols]
    panels = []
    for n in range(count):
        p = 0.1 * random.random((rows, cols))
        for _ in range(3):
            row, col, size = random.uniform((0, 0, 1), (rows, cols, 8))
            p += np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * size**2))
        p **= 1 + n / 4
        panels.append((f"layer {n + 1}", p / p.sum()))
    return panels


def pixels(data: bytes) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)


def frames(data: bytes) -> list[NDArray[np.float64]]:
    with Image.open(io.BytesIO(data)) as moving:
        found = []
        for n in range(moving.n_frames):
            moving.seek(n)
            found.append(np.asarray(moving.convert("RGB"), dtype=float))
        return found


def places(page: NDArray[np.float64]) -> list[tuple[slice, slice]]:
    """Where the panels of a sheet lie, in reading order: what is too large for words and bar."""
    inked = ndimage.binary_fill_holes(page.min(axis=-1) < 250)  # an outline is white inside
    found = ndimage.find_objects(ndimage.label(inked)[0])
    return sorted(
        (rows, cols)
        for rows, cols in found
        if rows.stop - rows.start > 30 and cols.stop - cols.start > 30
    )


def hottest(picture: NDArray[np.float64], rows: int = 3, cols: int = 4) -> int:
    """The cell, counted in reading order, in which the picture is brightest."""
    y, x = np.unravel_index(picture.sum(axis=-1).argmax(), picture.shape[:2])
    return int(y * rows // picture.shape[0]) * cols + int(x * cols // picture.shape[1])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 24, 48])
def test_a_sheet_has_a_panel_for_every_map_and_a_bounded_width(
    count: int, dark: Image.Image
) -> None:
    page = pixels(sheet(dark, layers(count, 4, 4), title="layers", scale="shared"))
    assert len(places(page)) == count
    assert page.shape[1] <= 1280


def test_twelve_square_panels_are_three_rows_of_four() -> None:
    square = Image.new("RGB", (50, 50), "navy")
    found = places(pixels(sheet(square, layers(12), title="layers", scale="each")))
    assert len({rows.start for rows, _ in found}) == 3
    assert len({cols.start for _, cols in found}) == 4


def test_panels_stand_in_reading_order(dark: Image.Image) -> None:
    panels = [(f"layer {n + 1}", one_hot(n)) for n in range(12)]
    page = pixels(sheet(dark, panels, title="layers", scale="shared"))
    assert [hottest(page[place]) for place in places(page)] == list(range(12))


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_frames_come_in_the_order_of_the_panels(format: Format, dark: Image.Image) -> None:
    panels = [(f"layer {n + 1}", one_hot(n)) for n in range(12)]
    moving = frames(animation(dark, panels, scale="shared", format=format))
    assert [hottest(frame[:360]) for frame in moving] == list(range(12))


@pytest.mark.parametrize(("scale", "paler"), [("shared", True), ("each", False)])
def test_only_on_the_shared_scale_a_weaker_layer_is_paler(
    scale: Scale, paler: bool, dark: Image.Image
) -> None:
    panels = [("weak", spread(0.2)), ("strong", spread(0.8))]
    page = pixels(sheet(dark, panels, title="", scale=scale))
    weak, strong = (page[place].sum(axis=-1).max() for place in places(page))
    assert (weak < strong - 100) == paler
    assert paler or weak == pytest.approx(strong, abs=3)
    weak, strong = (
        frame[:360].sum(axis=-1).max()
        for frame in frames(animation(dark, panels, scale=scale, format="GIF"))
    )
    assert (weak < strong - 100) == paler


def test_the_sheet_says_which_scale_holds(dark: Image.Image) -> None:
    """With equal peaks the panels are the same on both scales; only the words can tell."""
    panels = [("a", one_hot(0)), ("b", one_hot(5))]
    shared = pixels(sheet(dark, panels, title="t", scale="shared"))
    each = pixels(sheet(dark, panels, title="t", scale="each"))
    for place in places(shared):
        assert np.array_equal(shared[place], each[place])
    top = min(rows.start for rows, _ in places(shared))
    assert not np.array_equal(shared[:top], each[:top])


def test_a_panel_shows_what_overlay_draws(dark: Image.Image) -> None:
    boxes = {"cat": [[0.2, 0.2, 0.6, 0.7]]}
    (name, p), *_ = layers(1, 3, 4)
    page = pixels(sheet(dark, [(name, p)], title="t", scale="each", boxes=boxes))
    (place,) = places(page)
    width = place[1].stop - place[1].start
    expected = overlay(outlined(dark, {}, width), p, boxes=boxes, width=width)
    assert np.array_equal(page[place], np.asarray(expected))


@pytest.mark.parametrize("word", UNUSUAL)
def test_any_word_can_name_a_panel(word: str, dark: Image.Image) -> None:
    panels = [(word, one_hot(0)), ("cat", one_hot(1))]
    page = pixels(sheet(dark, panels, title=word, scale="each", boxes={word: [[0, 0, 1, 1]]}))
    assert len(places(page)) == 2
    assert page.shape[1] <= 1280
    assert len(frames(animation(dark, panels, scale="each", format="GIF"))) == 2


def test_a_word_is_drawn_as_it_is_written(dark: Image.Image) -> None:
    """As a formula ``$a_b$`` would lose its signs and become narrower than they are."""

    def inked(name: str) -> int:
        page = pixels(sheet(dark, [(name, one_hot(0))], title="", scale="each"))
        ((rows, cols),) = places(page)
        heading = page[rows.start - 20 : rows.start, cols.start : cols.start + 200]
        return int((heading.min(axis=(0, 2)) < 128).nonzero()[0].max())

    assert inked("$a_b$") > inked("a_b") > inked("ab")


def test_words_of_a_hypothesis_share_one_line_with_their_peaks(dark: Image.Image) -> None:
    short = [("a", one_hot(0)), ("cat", one_hot(1))]
    lengthy = [("a", one_hot(0)), ("a" * 60, one_hot(1))]
    one, two = (pixels(sheet(dark, p, title="t", scale="each")) for p in (short, lengthy))
    assert places(two)[0][0].start > places(one)[0][0].start


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2000, 1), (640, 427), (90, 1000)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pictures_of_any_size_and_mode_can_be_drawn(size: tuple[int, int], mode: str) -> None:
    picture = Image.new(mode, size)
    boxes = {"speck": [[0.5, 0.5, 0.5001, 0.5001]]}
    page = pixels(sheet(picture, layers(5), title="odd", scale="shared", boxes=boxes))
    assert page.shape[1] <= 1280
    for format in ("GIF", "WEBP"):
        moving = frames(animation(picture, layers(2), scale="each", boxes=boxes, format=format))
        assert len(moving) == 2
        assert moving[0].shape[1] <= 480


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_an_animation_shows_two_panels_a_second_for_ever(format: Format) -> None:
    picture = Image.new("RGB", (640, 427), "navy")
    data = animation(picture, layers(12), scale="shared", format=format)
    with Image.open(io.BytesIO(data)) as moving:
        assert moving.format == format
        assert moving.n_frames == 12
        assert moving.info["loop"] == 0
        durations = []
        for n in range(12):
            moving.seek(n)
            moving.load()
            assert moving.width == 480
            assert moving.height > 320  # 480 x 427 / 640, and the caption
            durations.append(moving.info["duration"])
    assert durations == [500] * 12


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_a_single_panel_is_a_still(format: Format, dark: Image.Image) -> None:
    assert len(frames(animation(dark, layers(1), scale="each", format=format))) == 1


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_equal_maps_keep_a_frame_each(format: Format, dark: Image.Image) -> None:
    panels = [("cat", one_hot(0))] * 4
    assert len(frames(animation(dark, panels, scale="each", format=format))) == 4


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_the_caption_stands_below_the_picture_and_not_on_it(format: Format) -> None:
    picture = Image.linear_gradient("L").resize((200, 150))
    boxes = {"cat": [[0.1, 0.5, 0.6, 1.0]]}
    panels = layers(3)
    moving = frames(animation(picture, panels, scale="each", boxes=boxes, format=format))
    for frame, (_, p) in zip(moving, panels, strict=True):
        expected = np.asarray(overlay(picture, p, boxes=boxes, width=480), dtype=float)
        assert np.abs(frame[:360] - expected).mean() < 6
        caption = frame[364:]  # a lossy format blends across the edge
        assert np.median(caption) > 250
        assert caption.min() < 60
    assert not np.array_equal(moving[0][364:], moving[1][364:])


def test_all_frames_of_a_gif_have_one_palette(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow leaves a frame in palette mode only while its palette is the first one's."""
    strategy = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    monkeypatch.setattr(GifImagePlugin, "LOADING_STRATEGY", strategy)
    picture = Image.radial_gradient("L").convert("RGB")
    with Image.open(
        io.BytesIO(animation(picture, layers(5), scale="each", format="GIF"))
    ) as moving:
        for n in range(5):
            moving.seek(n)
            moving.load()
            assert moving.mode == "P"


def test_what_gets_no_heat_does_not_flicker() -> None:
    picture = Image.linear_gradient("L").rotate(90).resize((240, 240))
    panels = [(f"layer {n + 1}", one_hot(n, 4, 4)) for n in range(4)]  # the first row of cells
    moving = frames(animation(picture, panels, scale="shared", format="GIF"))
    still = [frame[240:480] for frame in moving]
    assert all(np.array_equal(frame, still[0]) for frame in still)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["shared", "each"])
def test_twelve_layers_over_a_photograph_stay_small(scale: Scale) -> None:
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as stored:
        photograph = stored.convert("RGB").crop((0, 0, 512, 512))
    boxes = {"face": [[0.3, 0.25, 0.65, 0.6]]}
    gif = animation(photograph, layers(12), scale=scale, boxes=boxes, format="GIF")
    webp = animation(photograph, layers(12), scale=scale, boxes=boxes, format="WEBP")
    with Image.open(io.BytesIO(gif)) as moving:
        assert moving.width == 480
    assert len(gif) < 1_000_000
    assert len(webp) < 300_000


def test_drawing_twice_gives_the_same_bytes_without_notes(dark: Image.Image) -> None:
    first = sheet(dark, layers(3), title="t", scale="shared")
    assert sheet(dark, layers(3), title="t", scale="shared") == first
    with Image.open(io.BytesIO(first)) as page:
        page.load()
        assert page.info == {}
    for format in ("GIF", "WEBP"):
        moving = animation(dark, layers(3), scale="shared", format=format)
        assert animation(dark, layers(3), scale="shared", format=format) == moving


def test_an_empty_map_is_drawn_as_one_without_heat(dark: Image.Image) -> None:
    panels = [("nothing", np.zeros((3, 4))), ("something", one_hot(3))]
    assert len(places(pixels(sheet(dark, panels, title="", scale="shared")))) == 2
    assert len(places(pixels(sheet(dark, panels[:1], title="", scale="shared")))) == 1


@pytest.mark.parametrize(
    ("panels", "options", "said"),
    [
        ([], {}, "no panels"),
        ([("cat", np.full((2, 2), np.nan))], {}, "'cat' is not a map"),
        ([("cat", np.full(4, 0.25))], {}, "'cat' is not a map"),
        ([("cat", np.zeros((0, 3)))], {}, "'cat' is not a map"),
        ([("cat", one_hot(0))], {"colours": "viridi"}, "did you mean 'viridis'"),
        ([("cat", one_hot(0))], {"scale": "shard"}, "did you mean 'shared'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    panels: Panels, options: dict[str, str], said: str, dark: Image.Image
) -> None:
    with pytest.raises(ValueError, match=said):
        sheet(dark, panels, title="t", **{"scale": "each", **options})
    with pytest.raises(ValueError, match=said):
        animation(dark, panels, format="GIF", **{"scale": "each", **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "WEBM"}, "did you mean 'WEBP'"),
        ({"format": "GIF", "seconds": 0.0}, "0.02 to 600 seconds"),
        ({"format": "GIF", "seconds": float("nan")}, "0.02 to 600 seconds"),
        ({"format": "GIF", "seconds": 700.0}, "0.02 to 600 seconds"),
    ],
)
def test_an_animation_refuses_other_formats_and_speeds(
    options: dict[str, object], said: str, dark: Image.Image
) -> None:
    with pytest.raises(ValueError, match=said):
        animation(dark, [("cat", one_hot(0))], scale="each", **options)


def test_an_overlay_refuses_an_unknown_colour_map(dark: Image.Image) -> None:
    with pytest.raises(ValueError, match="'infern' is not a colour map; did you mean 'inferno'"):
        overlay(dark, one_hot(0), colours="infern")
