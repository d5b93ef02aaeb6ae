"""Draw scenes with known contents: which animals, how many, where, with their exact boxes.

A scene has one to three animals of named kinds and colours on a support, indoors or outdoors, with
clutter around them. Everything comes from one seeded generator, so ``(seed, index)`` and the size
define a scene and nothing else needs to be stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from audit.base import geometry

SIZE = 480
"""Width and height in pixels of a square scene; others have about the same area."""

SCALE = 2  # scenes are drawn larger and scaled down once, since Pillow draws no smooth edges

Kind = Literal["bird", "cat", "dog", "rabbit"]
Colour = Literal["red", "blue", "yellow", "white", "black", "brown"]
Place = Literal["branch", "sofa", "grass", "table"]

Shape = Literal["disc", "triangle", "cross"]

KINDS: tuple[Kind, ...] = ("bird", "cat", "dog", "rabbit")
COLOURS: tuple[Colour, ...] = ("red", "blue", "yellow", "white", "black", "brown")
PLACES: tuple[Place, ...] = ("branch", "sofa", "grass", "table")
MARKS: tuple[Shape, ...] = ("disc", "triangle", "cross")

_RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (205, 40, 45),
    "blue": (40, 85, 205),
    "yellow": (240, 205, 40),
    "white": (245, 245, 240),
    "black": (38, 36, 40),
    "brown": (125, 78, 42),
}

Box = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in pixels; right and bottom are exclusive."""

Rgb = tuple[int, int, int]
_Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Animal:
    """One drawn animal and the tight box around its visible pixels."""

    kind: Kind
    colour: Colour
    box: Box


@dataclass(frozen=True)
class Group:
    """All the animals of one kind in a scene; they share a colour."""

    kind: Kind
    colour: Colour
    count: int


@dataclass(frozen=True)
class SceneSpec:
    """What a scene shows, before it is drawn. No two groups are of the same kind."""

    groups: tuple[Group, ...]
    place: Place | None
    outdoors: bool | None


NOTHING = SceneSpec((), None, None)
"""What an empty picture shows: nobody, nowhere."""


@dataclass(frozen=True)
class Mark:
    """A watermark in a corner: one of ``MARKS``, and the box that it fills."""

    shape: Shape
    box: Box


@dataclass(frozen=True)
class Scene:
    """A drawn scene: the picture in RGB and the truth about it.

    Boxes are counted in pixels of ``size``, (width, height): that of the picture, unless the
    picture was scaled after it was drawn. In a ``grey`` picture nobody can tell colours.
    """

    image: Image.Image
    spec: SceneSpec
    animals: tuple[Animal, ...]
    support: Box
    mark: Mark | None = None
    size: tuple[int, int] = (SIZE, SIZE)
    grey: bool = False

    def boxes(self, kind: str | None = None) -> tuple[Box, ...]:
        """Boxes of the animals of ``kind``, or of all animals."""
        return tuple(a.box for a in self.animals if kind is None or a.kind == kind)

    def fractions(self, boxes: tuple[Box, ...]) -> list[geometry.Box]:
        """The boxes in fractions of the picture's width and height."""
        width, height = self.size
        return [
            geometry.Box(left / width, top / height, right / width, bottom / height)
            for left, top, right, bottom in boxes
        ]


def draw_spec(rng: np.random.Generator) -> SceneSpec:
    """Sample what a scene shows: a place, and one or two groups of one to three animals in all."""
    place = PLACES[rng.integers(len(PLACES))]
    outdoors = place in ("branch", "grass") or (place == "table" and rng.random() < 0.5)
    kinds = rng.permutation(len(KINDS))
    colours = rng.permutation(len(COLOURS))
    if rng.random() < 0.6:
        counts = [int(rng.integers(1, 4))]
    else:
        counts = [[1, 1], [1, 2], [2, 1]][rng.integers(3)]
    groups = tuple(
        Group(KINDS[kinds[i]], COLOURS[colours[i]], count) for i, count in enumerate(counts)
    )
    return SceneSpec(groups, place, outdoors)


def scene(
    seed: int, index: int, spec: SceneSpec | None = None, size: tuple[int, int] = (SIZE, SIZE)
) -> Scene:
    """Draw scene ``index`` of ``seed``; ``spec`` fixes what the scene shows, not how it looks.

    ``size`` is between 3:4 and 4:3, with about the usual area, so that everything has its place.
    """
    rng = np.random.default_rng([seed, index])
    sampled = draw_spec(rng)
    return _render(spec or sampled, size, rng)


def _render(spec: SceneSpec, size: tuple[int, int], rng: np.random.Generator) -> Scene:
    assert spec.place, "nothing is drawn of an empty picture"
    across, down = size
    canvas = Image.new("RGB", (across * SCALE, down * SCALE))
    pen = _Pen(ImageDraw.Draw(canvas), across, down)
    horizon = rng.uniform(0.55, 0.7) * down
    if spec.outdoors:
        _outdoors(pen, rng, horizon)
    else:
        _indoors(pen, rng, horizon)
    support, line = _support(pen, rng, spec.place, horizon)

    members = [group for group in spec.groups for _ in range(group.count)]
    members = [members[i] for i in rng.permutation(len(members))]
    slot = across / len(members)
    widest = min(150.0, slot * 0.92)
    animals = []
    for i, member in enumerate(members):
        wide = rng.uniform(0.78, 1.0) * widest
        room = max(slot - wide, 0.0)
        middle = i * slot + slot / 2 + rng.uniform(-0.4, 0.4) * room
        foot = line(middle) + (rng.uniform(-35, 60) if spec.place == "grass" else rng.uniform(0, 5))
        foot = min(foot, down - 8.0)
        layer = _animal(member.kind, member.colour, wide, rng)
        left = round((middle - wide / 2) * SCALE)
        left = max(4, min(left, across * SCALE - layer.width - 4))
        top = round(foot * SCALE) - layer.height
        canvas.paste(layer, (left, top), layer)
        animals.append(
            Animal(
                member.kind,
                member.colour,
                (
                    left // SCALE,
                    top // SCALE,
                    -(-(left + layer.width) // SCALE),
                    -(-(top + layer.height) // SCALE),
                ),
            )
        )
    image = canvas.resize(size, Image.Resampling.BOX)
    pixels = np.asarray(image, dtype=np.int16)
    noise = rng.normal(0.0, 4.0, pixels.shape)
    image = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
    return Scene(image, spec, tuple(animals), support, size=size)


class _Pen:
    """Pillow's drawing calls in picture coordinates, on the enlarged canvas."""

    def __init__(self, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
        self.draw, self.width, self.height = draw, width, height
        self.tall = height / SIZE

    def ellipse(
        self, box: tuple[float, float, float, float], fill: Rgb, edge: Rgb | None = None
    ) -> None:
        self.draw.ellipse([v * SCALE for v in box], fill=fill, outline=edge, width=2 * SCALE)

    def box(self, box: tuple[float, float, float, float], fill: Rgb, radius: float = 0) -> None:
        self.draw.rounded_rectangle([v * SCALE for v in box], radius * SCALE, fill=fill)

    def polygon(self, points: _Points, fill: Rgb, edge: Rgb | None = None) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.draw.polygon(scaled, fill=fill, outline=edge, width=2 * SCALE)

    def line(self, points: _Points, fill: Rgb, width: float) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.draw.line(scaled, fill=fill, width=round(width * SCALE), joint="curve")


def _vary(rng: np.random.Generator, rgb: Rgb, by: int) -> Rgb:
    red, green, blue = (int(np.clip(c + rng.integers(-by, by + 1), 0, 255)) for c in rgb)
    return red, green, blue


def _shade(rgb: Rgb, factor: float) -> Rgb:
    red, green, blue = (int(np.clip(c * factor, 0, 255)) for c in rgb)
    return red, green, blue


def _outdoors(pen: _Pen, rng: np.random.Generator, horizon: float) -> None:
    pen.box((0, 0, pen.width, pen.height), _vary(rng, (165, 208, 235), 14))
    if rng.random() < 0.6:
        x, y, r = rng.uniform(40, pen.width - 40), rng.uniform(30, 90), rng.uniform(18, 30)
        pen.ellipse((x - r, y - r, x + r, y + r), (255, 225, 110))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, pen.width), rng.uniform(20, 150)
        for dx, r in ((-24, 15), (0, 22), (24, 16)):
            pen.ellipse((x + dx - r, y - r * 0.8, x + dx + r, y + r * 0.8), (236, 241, 246))
    if rng.random() < 0.7:
        hill = _vary(rng, (128, 172, 118), 12)
        x, r = rng.uniform(0, pen.width), rng.uniform(140, 260)
        pen.ellipse((x - r, horizon - r * 0.35, x + r, horizon + r), hill)
    pen.box((0, horizon, pen.width, pen.height), _vary(rng, (112, 168, 84), 14))
    for _ in range(rng.integers(4, 14)):
        x, y = rng.uniform(0, pen.width), rng.uniform(horizon + 8, pen.height)
        blade = _vary(rng, (74, 130, 56), 12)
        pen.line([(x - 4, y), (x, y - 12), (x + 4, y)], blade, 2)
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(0, pen.width), rng.uniform(horizon + 10, pen.height - 6)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), _vary(rng, (215, 120, 190), 25))
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), (250, 230, 120))


def _indoors(pen: _Pen, rng: np.random.Generator, horizon: float) -> None:
    wall = _vary(rng, (222, 205, 180), 16)
    pen.box((0, 0, pen.width, pen.height), wall)
    pen.box((0, horizon, pen.width, pen.height), _vary(rng, (170, 132, 98), 12))
    pen.line([(0, horizon), (pen.width, horizon)], _shade(wall, 0.8), 4)
    if rng.random() < 0.75:
        x, y = rng.uniform(20, pen.width - 150), rng.uniform(15, 50)
        w, h = rng.uniform(80, 130), rng.uniform(80, 120)
        pen.box((x - 6, y - 6, x + w + 6, y + h + 6), (250, 250, 248))
        pen.box((x, y, x + w, y + h), (170, 212, 238))
        pen.line([(x + w / 2, y), (x + w / 2, y + h)], (250, 250, 248), 5)
        pen.line([(x, y + h / 2), (x + w, y + h / 2)], (250, 250, 248), 5)
    if rng.random() < 0.5:
        x, y = rng.uniform(20, pen.width - 90), rng.uniform(20, 70)
        pen.box((x, y, x + 70, y + 52), (150, 110, 70))
        pen.box((x + 6, y + 6, x + 64, y + 46), _vary(rng, (190, 200, 170), 30))
    if rng.random() < 0.5:
        x = rng.uniform(30, pen.width - 30)
        pen.line([(x, 0), (x, 40)], (90, 90, 90), 2)
        pen.polygon([(x - 24, 66), (x + 24, 66), (x + 12, 38), (x - 12, 38)], (240, 190, 110))


def _support(pen: _Pen, rng: np.random.Generator, place: Place, horizon: float):  # type: ignore[no-untyped-def]
    """Draw the support; return its box and the height of its upper side at a given x."""
    if place == "grass":
        return (0, round(horizon), pen.width, pen.height), lambda _: horizon + 55.0
    if place == "branch":
        y = rng.uniform(285, 360) * pen.tall
        slope, bend = rng.uniform(-25, 25), rng.uniform(-14, 14)
        thick = rng.uniform(16, 26)
        wood = _vary(rng, (104, 72, 48), 10)

        def top(x: float) -> float:
            return y + slope * (x / pen.width - 0.5) + bend * math.sin(math.pi * x / pen.width)

        xs = np.linspace(-10, pen.width + 10, 40)
        pen.line([(float(x), top(float(x)) + thick / 2) for x in xs], wood, thick)
        for _ in range(rng.integers(3, 8)):
            x = rng.uniform(10, pen.width - 10)
            end = (x + rng.uniform(-30, 30), top(x) + thick + rng.uniform(15, 45))
            pen.line([(x, top(x) + thick * 0.6), end], _shade(wood, 0.9), 5)
            leaf = _vary(rng, (70, 140, 60), 18)
            pen.ellipse((end[0] - 14, end[1] - 8, end[0] + 14, end[1] + 8), leaf)
        low = min(top(0), top(pen.width), top(pen.width / 2))
        high = max(top(0), top(pen.width), top(pen.width / 2)) + thick
        return (0, round(low), pen.width, round(high)), top
    if place == "sofa":
        seat = rng.uniform(335, 375) * pen.tall
        cloth = _vary(rng, ((120, 150, 140), (150, 120, 150), (170, 140, 110))[rng.integers(3)], 12)
        back = seat - rng.uniform(110, 150)
        pen.box((14, back, pen.width - 14, seat + 70), _shade(cloth, 0.88), 26)
        pen.line([(pen.width / 2, back + 12), (pen.width / 2, seat)], _shade(cloth, 0.72), 4)
        pen.box((4, seat - 8, pen.width - 4, seat + 62), cloth, 16)
        pen.box((0, seat - 50, 34, seat + 74), _shade(cloth, 0.95), 14)
        pen.box((pen.width - 34, seat - 50, pen.width, seat + 74), _shade(cloth, 0.95), 14)
        for x in (40, pen.width - 52):
            pen.box((x, seat + 66, x + 12, seat + 88), (84, 60, 44))
        return (0, round(back), pen.width, round(seat + 88)), lambda _: seat
    top_side = rng.uniform(310, 360) * pen.tall
    wood = _vary(rng, (176, 128, 78), 14)
    pen.box((6, top_side, pen.width - 6, top_side + 22), wood, 6)
    pen.box((6, top_side + 16, pen.width - 6, top_side + 24), _shade(wood, 0.75), 4)
    for x in (34, pen.width - 52):
        pen.box((x, top_side + 22, x + 18, pen.height - 6), _shade(wood, 0.85))
    if rng.random() < 0.6:
        x = rng.uniform(80, pen.width - 80)
        pen.box((x - 16, top_side + 52, x + 16, top_side + 84), _vary(rng, (120, 160, 170), 30), 6)
    return (6, round(top_side), pen.width - 6, pen.height - 6), lambda _: top_side + 3


def _animal(kind: Kind, colour: Colour, size: float, rng: np.random.Generator) -> Image.Image:
    """One animal on a transparent layer, cropped to its visible pixels, ``size`` pixels wide."""
    side = 240
    layer = Image.new("RGBA", (side * SCALE, side * SCALE), (0, 0, 0, 0))
    pen = _Pen(ImageDraw.Draw(layer), side, side)
    coat = _vary(rng, _RGB[colour], 10)
    edge = _shade(coat, 0.55) if colour != "black" else (110, 108, 114)
    {"bird": _bird, "cat": _cat, "dog": _dog, "rabbit": _rabbit}[kind](pen, coat, edge)
    layer = layer.crop(layer.getbbox())
    if rng.random() < 0.5:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Kinds share a common height as well as width, so that size does not give the kind away.
    ratio = size * SCALE / max(layer.width, layer.height * 0.86)
    return layer.resize(
        (round(layer.width * ratio), round(layer.height * ratio)), Image.Resampling.LANCZOS
    )


def _eye(pen: _Pen, x: float, y: float) -> None:
    pen.ellipse((x - 6, y - 6, x + 6, y + 6), (252, 252, 252), (20, 20, 20))
    pen.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), (15, 15, 15))


def _bird(pen: _Pen, coat: Rgb, edge: Rgb) -> None:
    for x in (108, 130):
        pen.line([(x, 165), (x - 4, 200)], (220, 140, 40), 5)
    pen.polygon([(60, 130), (4, 158), (14, 124), (66, 100)], _shade(coat, 0.75), edge)
    pen.ellipse((44, 80, 176, 178), coat, edge)
    pen.ellipse((128, 34, 200, 106), coat, edge)
    pen.polygon([(196, 62), (232, 76), (196, 88)], (245, 150, 30), (150, 80, 10))
    pen.ellipse((62, 98, 136, 150), _shade(coat, 0.72), edge)
    _eye(pen, 172, 64)


def _cat(pen: _Pen, coat: Rgb, edge: Rgb) -> None:
    tail: _Points = [(150, 196), (196, 190), (214, 150), (204, 110)]
    pen.line(tail, edge, 20)
    pen.line(tail, coat, 15)
    pen.ellipse((62, 92, 172, 212), coat, edge)
    pen.polygon([(66, 66), (62, 8), (104, 36)], coat, edge)
    pen.polygon([(164, 66), (168, 8), (126, 36)], coat, edge)
    pen.ellipse((60, 26, 170, 118), coat, edge)
    _eye(pen, 94, 66)
    _eye(pen, 136, 66)
    pen.polygon([(109, 80), (121, 80), (115, 88)], (230, 120, 140))
    for dy in (-4, 6):
        pen.line([(104, 88), (58, 88 + dy)], _shade(edge, 0.9), 2)
        pen.line([(126, 88), (172, 88 + dy)], _shade(edge, 0.9), 2)
    for x in (92, 136):
        pen.ellipse((x - 15, 192, x + 15, 214), coat, edge)


def _dog(pen: _Pen, coat: Rgb, edge: Rgb) -> None:
    for x in (46, 74, 128, 152):
        pen.box((x - 2, 140, x + 18, 208), edge, 8)
        pen.box((x, 140, x + 16, 206), coat, 8)
    tail: _Points = [(40, 118), (14, 88), (12, 66)]
    pen.line(tail, edge, 15)
    pen.line(tail, coat, 11)
    pen.ellipse((30, 94, 178, 168), coat, edge)
    pen.ellipse((134, 38, 212, 118), coat, edge)
    pen.ellipse((180, 74, 236, 112), coat, edge)
    pen.ellipse((220, 78, 238, 94), (20, 20, 20))
    pen.ellipse((130, 46, 160, 122), _shade(coat, 0.68), edge)
    _eye(pen, 184, 66)


def _rabbit(pen: _Pen, coat: Rgb, edge: Rgb) -> None:
    pen.ellipse((22, 150, 64, 192), (250, 250, 250), edge)
    pen.ellipse((38, 106, 164, 208), coat, edge)
    for x in (122, 158):
        pen.ellipse((x - 15, 0, x + 15, 84), coat, edge)
        pen.ellipse((x - 7, 12, x + 7, 74), (240, 170, 180))
    pen.ellipse((98, 62, 188, 142), coat, edge)
    _eye(pen, 156, 94)
    pen.ellipse((178, 104, 192, 116), (230, 120, 140))
    pen.ellipse((110, 180, 176, 212), coat, edge)
    pen.ellipse((46, 182, 110, 212), coat, edge)
