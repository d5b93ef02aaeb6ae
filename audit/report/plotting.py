"""All use of matplotlib, kept apart from what a user has set up for other plots."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audit.base.errors import nearest
from audit.base.quiet import silenced

# matplotlib cannot be imported while MPLBACKEND names a backend that is not installed, as it may in
# programs started from a notebook. No backend is needed here; other code in the process still gets
# the one that was named, if it exists.
_named = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
# Its notes on import do not matter here: that it has no folder for its list of fonts, or that it is
# making the list.
with silenced("matplotlib"):
    try:
        import matplotlib
    finally:
        if _named is not None:
            os.environ["MPLBACKEND"] = _named
    if _named:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = _named

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.font_manager import (
        FontEntry,
        FontProperties,
        findSystemFonts,
        fontManager,
        get_font,
    )
    from matplotlib.ft2font import FaceFlags, FT2Font

__all__ = [
    "FONTS",
    "FT2Font",
    "FaceFlags",
    "Figure",
    "FontEntry",
    "FontProperties",
    "Normalize",
    "ScalarMappable",
    "colour_map",
    "colour_maps",
    "figure",
    "findSystemFonts",
    "fontManager",
    "get_font",
    "plain",
]

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
"""The fonts that come with matplotlib."""

# Leave the backend as it is: a notebook or a user's own test may be drawing with it.
_OWN = {
    key: value
    for key, value in matplotlib.rcParamsDefault.items()
    if key not in ("backend", "backend_fallback", "interactive", "toolbar", "timezone")
} | {"svg.hashsalt": "audit"}  # otherwise names in an SVG are random


@contextmanager
def plain() -> Iterator[None]:
    """Draw with matplotlib's own settings, whatever ``matplotlibrc`` or a style says."""
    with matplotlib.rc_context(_OWN), warnings.catch_warnings():
        # audit.report.lettering warns of it once, and says what to install.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


class _Shown(Figure):
    """A figure that a notebook shows by itself, though pyplot knows nothing of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with plain():
            self.savefig(buffer, format="png")
        return buffer.getvalue()


def figure(width: float, height: float, dpi: int = 100) -> Figure:
    """An empty figure of a size in inches, without a window; use it within :func:`plain`."""
    made = _Shown(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(made)
    return made


def colour_map(name: str) -> Colormap:
    """A matplotlib colour map by name.

    Raises:
        ValueError: there is no colour map of that name.
    """
    known = matplotlib.colormaps
    if not isinstance(name, str):
        raise ValueError(f"a colour map is given by its name, such as 'viridis', not as {name!r}")
    if name not in known:
        raise ValueError(f"{name!r} is not a colour map; {nearest(name, known)}")
    found = known[name]
    # matplotlib computed it in as many steps as a user's image.lut says.
    return found.resampled(256) if isinstance(found, LinearSegmentedColormap) else found


def colour_maps() -> list[str]:
    """The names of all colour maps."""
    return sorted(matplotlib.colormaps)
