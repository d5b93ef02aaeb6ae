"""What an explanation draws: strips, heatmaps, animations and what a notebook shows."""

from __future__ import annotations

import io
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import audit
from audit.maps.reading import layer_maps, word_maps
from tests.toy_model import ToyModel, ToyOfWords

ROOT = Path(__file__).parents[2]
WHITE = Image.new("RGB", (64, 48), "white")


def test_layers_and_words_are_sequences_that_draw_themselves() -> None:
    found = audit.explain(WHITE, "two birds sing", ToyOfWords())
    assert [n for n, _ in found.layers] == [n for n, _ in layer_maps(found.evidence, found.spec)]
    for (word, p), (expected, q) in zip(found.words, word_maps(found.trace), strict=True):
        assert word == expected
        assert (p == q).all()
    assert len(found.words[1:]) == 2
    for drawn in (found.layers(), found.words(), found.layers("answer_attention layers=last")):
        assert pixels(drawn).size > 0


def test_a_strip_has_the_pixels_of_the_sheet_that_is_written(tmp_path: Path) -> None:
    found = audit.explain(WHITE, "two birds", ToyOfWords(), layers=True)
    written = np.asarray(Image.open(found.draw(tmp_path)["layers"]).convert("RGB"))
    assert (pixels(found.layers()) == written).all()


def pixels(drawn: object) -> np.ndarray:
    """What a notebook would show."""
    data = drawn._repr_png_()  # type: ignore[attr-defined]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_heatmap_is_a_figure_that_can_be_saved_and_styled(tmp_path: Path) -> None:
    found = audit.explain(WHITE, "two birds", ToyModel())
    drawn = found.heatmap()
    assert [axes.get_ylabel() for axes in drawn.axes[2:]] == ["Attention Intensity"]
    for kind in ("png", "svg", "pdf"):
        drawn.savefig(tmp_path / f"heat.{kind}")
        assert (tmp_path / f"heat.{kind}").stat().st_size > 1000
    assert (pixels(found.heatmap(colours="jet")) != pixels(drawn)).any()
    assert (pixels(found.heatmap(alpha=0.3)) != pixels(drawn)).any()
    assert pixels(found.heatmap(dpi=60)).shape[1] == 540
    with pytest.raises(ValueError, match="did you mean 'viridis'"):
        found.heatmap(colours="virdis")
    with pytest.raises(ValueError, match="by its name, such as 'viridis'"):
        found.heatmap(colours=matplotlib.colormaps["jet"])  # type: ignore[arg-type]
    for alpha in (3, "half", -0.1, float("nan")):
        with pytest.raises(ValueError, match="alpha is a number from 0 to 1, not"):
            found.heatmap(alpha=alpha)  # type: ignore[arg-type]


def test_nothing_is_left_in_pyplot_and_its_settings_change_nothing() -> None:
    code = (
        "import sys, audit\n"
        "from PIL import Image\n"
        "from tests.toy_model import ToyOfWords\n"
        "found = audit.explain(Image.new('RGB', (9, 9)), 'two birds', ToyOfWords())\n"
        "drawn = [found.heatmap(), found.layers(), found.words()]\n"
        "found._repr_html_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'pandas' not in sys.modules\n"
        "before = drawn[0]._repr_png_()\n"
        "import matplotlib.pyplot as plt\n"
        "plt.rcParams['figure.facecolor'] = 'red'\n"
        "plt.rcParams['font.size'] = 30\n"
        "assert found.heatmap()._repr_png_() == before\n"
        "print(plt.get_fignums())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_an_animation_has_a_frame_for_each_map(tmp_path: Path) -> None:
    found = audit.explain(WHITE, "two birds sing", ToyOfWords())
    saved = found.animate("words", seconds=0.25).save(tmp_path / "words.gif")
    with Image.open(saved) as moving:
        assert (moving.format, moving.n_frames, moving.info["duration"]) == ("GIF", 3, 250)
    played = found.animate(format="webp")
    assert played._repr_html_().startswith('<img src="data:image/webp;base64,')
    with Image.open(io.BytesIO(played.data)) as moving:
        assert moving.n_frames == 2
    with pytest.raises(ValueError, match="did you mean 'layers'"):
        found.animate("layer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'PNG' is not a format"):
        found.animate(format="png")
    with pytest.raises(ValueError, match=r"is a GIF, .* animate\(\.\.\., format='WEBP'\)"):
        found.animate().save(tmp_path / "words.webp")
    with pytest.raises(ValueError, match=r"is a WEBP, whose file's name ends in \.webp$"):
        played.save(tmp_path / "words.mp4")
    assert played.save(tmp_path / "words.WebP").exists()


class Tags(HTMLParser):
    """Tags and texts of a page, and every address in it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_picture_label_probabilities_and_heatmaps() -> None:
    page = Tags()
    found = audit.explain(WHITE, "two birds", ToyModel(), maps=["answer_attention", "centre"])
    page.feed(found._repr_html_())
    said = " ".join(page.texts)
    for each in ("“two birds”", "yes", "90.0%", "maybe", "5.0%", "answer_attention", "centre"):
        assert each in said
    assert page.tags.count("img") == 3
    assert all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    assert "script" not in page.tags


def test_whatever_comes_from_outside_is_escaped_in_a_notebook() -> None:
    evil = "<script>alert(1)</script> \"'&"

    class Evil(ToyModel):
        labels = (evil, "yes", "maybe")

        def trace(self, queries, need=frozenset()):  # type: ignore[no-untyped-def]
            return [
                type(each)(
                    {evil: 0.9, "yes": 0.1}, evil, each.prompt, each.tokens, each.grid,
                    readings=each.readings,
                )
                for each in super().trace(queries, need)
            ]  # fmt: skip

    page = Tags()
    found = audit.explain(WHITE, evil, Evil(), premise=evil)
    page.feed(found._repr_html_())
    assert "script" not in page.tags
    assert sum(evil in text for text in page.texts) >= 3
