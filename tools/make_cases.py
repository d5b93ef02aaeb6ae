"""Draw the shipped pictures and write the shipped case files, thresholds from measurement.

Run ``python -m tools.make_cases`` after the reference model was trained anew, read the diff, and
accept the baselines anew. Limits leave room below what the reference model shows: mass and
probability nine tenths of the measured value (at most 0.9), entropy 0.05 less than measured,
figures of other maps than the default eight tenths.
"""

from __future__ import annotations

import io
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from audit import load_model
from audit.cases import load_cases
from audit.files import write_atomically
from audit.geometry import mask, parse_box
from audit.images import open_image
from audit.maps import cross_attention
from audit.models.base import Model, Query
from audit.outcomes import Run
from audit.placement import mass, pointing
from audit.reference.hypotheses import LABELS
from audit.reference.scenes import (
    MARKS,
    SIZE,
    Group,
    Scene,
    SceneSpec,
    scene,
)
from audit.reference.watermarks import watermarked
from audit.runner import audit_cases
from audit.shape import entropy

ROOT = Path(__file__).parent.parent / "cases"
SEED = 4242

PICTURES: dict[str, SceneSpec] = {
    "two-birds-on-a-branch": SceneSpec((Group("bird", "red", 2),), "branch", True),
    "white-rabbit-and-black-dog-on-grass": SceneSpec(
        (Group("rabbit", "white", 1), Group("dog", "black", 1)), "grass", True
    ),
    "three-yellow-cats-on-a-sofa": SceneSpec((Group("cat", "yellow", 3),), "sofa", False),
    "blue-bird-and-two-brown-dogs-on-a-table": SceneSpec(
        (Group("bird", "blue", 1), Group("dog", "brown", 2)), "table", False
    ),
    "black-cat-on-a-table-outdoors": SceneSpec((Group("cat", "black", 1),), "table", True),
    "two-rabbits-on-a-sofa": SceneSpec((Group("rabbit", "brown", 2),), "sofa", False),
}

_BIRDS = "two-birds-on-a-branch"
_GRASS = "white-rabbit-and-black-dog-on-grass"
_CATS = "three-yellow-cats-on-a-sofa"
_TABLE = "blue-bird-and-two-brown-dogs-on-a-table"
_CAT = "black-cat-on-a-table-outdoors"
_RABBITS = "two-rabbits-on-a-sofa"


@dataclass(frozen=True)
class Shipped:
    """One shipped case; ``about`` is a kind, ``animals`` for all, or empty for absent ones."""

    id: str
    picture: str
    label: str
    text: str
    about: str
    premise: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""


THEMES: dict[str, tuple[str, list[Shipped]]] = {
    "guide": (
        "The guide's three examples on one picture.",
        [
            Shipped(
                _BIRDS, _BIRDS, "yes", "there are two birds on a branch", "bird", tags=("guide",)
            ),
            Shipped(
                "no-cat-on-the-sofa",
                _BIRDS,
                "no",
                "a cat is sleeping on the sofa",
                "",
                tags=("guide",),
                note="a mismatch leaves attention dispersed",
            ),
            Shipped(
                "animals-in-nature",
                _BIRDS,
                "yes",
                "there are animals in nature",
                "animals",
                tags=("guide",),
                note="in this world nature means outdoors, so it is entailed",
            ),
        ],
    ),
    "counting": (
        "How many there are.",
        [
            Shipped("three-cats", _CATS, "yes", "there are three cats", "cat"),
            Shipped("two-brown-dogs", _TABLE, "yes", "there are two brown dogs", "dog"),
            Shipped("three-animals", _TABLE, "yes", "there are three animals", "animals"),
            Shipped("not-two-cats", _CATS, "no", "there are two cats", "cat"),
            Shipped("not-one-bird", _BIRDS, "no", "there is only one bird on the branch", "bird"),
            Shipped("not-three-rabbits", _RABBITS, "no", "there are three rabbits", "rabbit"),
        ],
    ),
    "colours": (
        "Which colour belongs to which animal.",
        [
            Shipped("white-rabbit", _GRASS, "yes", "the rabbit is white", "rabbit"),
            Shipped("black-dog", _GRASS, "yes", "there is a black dog on the grass", "dog"),
            Shipped("blue-bird", _TABLE, "yes", "there is a blue bird", "bird"),
            Shipped(
                "rabbit-not-black", _GRASS, "no", "the rabbit is black", "rabbit", note="the dog is"
            ),
            Shipped("dogs-not-blue", _TABLE, "no", "the dogs are blue", "dog", note="the bird is"),
        ],
    ),
    "places": (
        "Where they are.",
        [
            Shipped("cats-on-the-sofa", _CATS, "yes", "three cats are sitting on the sofa", "cat"),
            Shipped("cat-outdoors", _CAT, "yes", "a cat is outdoors", "cat"),
            Shipped(
                "rabbits-not-on-the-grass",
                _RABBITS,
                "no",
                "two rabbits are sitting on the grass",
                "rabbit",
            ),
            Shipped("cat-not-on-a-branch", _CAT, "no", "there is a black cat on a branch", "cat"),
        ],
    ),
    "absent": (
        "Animals that are not there: attention must stay dispersed.",
        [
            Shipped("no-dog-on-the-branch", _BIRDS, "no", "a dog is sitting on the branch", ""),
            Shipped("no-birds-on-the-sofa", _CATS, "no", "there are two birds on the sofa", ""),
            Shipped("no-rabbit-on-the-table", _CAT, "no", "there is a white rabbit", ""),
        ],
    ),
    "unseen": (
        "What no picture can tell.",
        [
            Shipped("birds-hungry", _BIRDS, "maybe", "the birds are hungry", "bird"),
            Shipped(
                "rabbit-three-years-old", _GRASS, "maybe", "the rabbit is three years old", "rabbit"
            ),
            Shipped("dog-has-a-name", _GRASS, "maybe", "the black dog has a name", "dog"),
            Shipped("cats-like-music", _CATS, "maybe", "three cats like music", "cat"),
            Shipped(
                "bird-born-in-spring", _TABLE, "maybe", "the blue bird was born in spring", "bird"
            ),
            Shipped(
                "dogs-belong-to-a-farmer", _TABLE, "maybe", "two dogs belong to a farmer", "dog"
            ),
            Shipped(
                "cat-waiting-for-dinner",
                _CAT,
                "maybe",
                "a cat is waiting for dinner on the table",
                "cat",
            ),
            Shipped(
                "rabbits-sleeping", _RABBITS, "maybe", "the brown rabbits are sleeping", "rabbit"
            ),
            Shipped(
                "hungry-but-absent",
                _RABBITS,
                "no",
                "the cats are hungry",
                "",
                note="there are none",
            ),
        ],
    ),
    "premises": (
        "A text premise beside the picture.",
        [
            Shipped(
                "premise-settles-it",
                _BIRDS,
                "yes",
                "the birds are hungry",
                "bird",
                premise="the birds are hungry",
                note="without the premise it is maybe",
            ),
            Shipped(
                "premise-does-not-help",
                _CAT,
                "no",
                "there is a white cat",
                "cat",
                premise="there is a cat on the table",
            ),
        ],
    ),
}


@dataclass(frozen=True)
class Other:
    """A case about other maps than the default; limits are added to ``asked`` after measuring.

    ``regions`` are kinds of animals, and ``place`` for what they stand on.
    """

    id: str
    picture: str
    label: str
    text: str
    regions: dict[str, str]
    asked: tuple[dict[str, Any], ...]


def _word(word: str) -> dict[str, Any]:
    return {"method": "encoder_attention", "word": word}


OTHERS = [
    Other(
        "every-word-finds-its-thing",
        _BIRDS,
        "yes",
        "there are two birds on a branch",
        {"birds": "bird", "branch": "place"},
        (
            {"map": _word("birds"), "metric": "mass", "region": "birds"},
            {"map": _word("branch"), "metric": "lift", "region": "branch"},
            {"map": _word("birds"), "metric": "js", "against": _word("branch")},
        ),
    ),
    Other(
        "a-word-without-its-thing",
        _BIRDS,
        "no",
        "a cat is sleeping on the sofa",
        {},
        (
            {"map": _word("cat"), "metric": "entropy"},
            {"map": _word("sofa"), "metric": "entropy"},
        ),
    ),
    Other(
        "rabbits-by-rollout-and-relevance",
        _RABBITS,
        "yes",
        "there are two rabbits",
        {"rabbits": "rabbit"},
        (
            {"map": {"method": "rollout"}, "metric": "auc", "region": "rabbits"},
            {"map": {"method": "relevance"}, "metric": "lift", "region": "rabbits"},
        ),
    ),
    Other(
        "the-answer-hangs-on-the-cats",
        _CATS,
        "yes",
        "there are three yellow cats",
        {"cats": "cat"},
        (
            {"metric": "iou", "region": "cats", "threshold": "mass:0.8"},
            {"metric": "js", "against": {"method": "blank"}},
            {"metric": "insertion_margin"},
        ),
    ),
]


MARKED = (
    _BIRDS, "no-cat-on-the-sofa", "birds-hungry",
    "black-dog", "rabbit-not-black", "dog-has-a-name",
    "cats-on-the-sofa", "no-birds-on-the-sofa", "cats-like-music",
    "blue-bird", "dogs-not-blue", "bird-born-in-spring",
    "cat-outdoors", "cat-not-on-a-branch", "cat-waiting-for-dinner",
    "rabbits-not-on-the-grass", "rabbits-sleeping",
)  # fmt: skip
"""Cases that are asked again about pictures whose watermark gives the label away."""

_ON_THE_MARK = 0.1  # an even map has 0.025 there


def draw() -> dict[str, Scene]:
    """Draw the pictures and write them as PNG."""
    drawn = {}
    for index, (name, spec) in enumerate(PICTURES.items()):
        drawn[name] = scene(SEED, index, spec)
        buffer = io.BytesIO()
        drawn[name].image.save(buffer, format="PNG", optimize=True)
        write_atomically(ROOT / "images" / f"{name}.png", buffer.getvalue())
    return drawn


def _floor(value: float, step: float = 0.05) -> float:
    return round(math.floor(value / step + 1e-9) * step, 2)


def _case(case: Shipped, drawn: Scene, model: Model) -> list[str]:
    (trace,) = model.trace([Query(drawn.image, case.text, case.premise)])
    p = cross_attention(trace)
    suffix = "jpg" if drawn.mark else "png"
    lines = [f"  - id: {case.id}", f"    image: images/{case.picture}.{suffix}"]
    if case.premise:
        lines.append(f"    premise: {case.premise}")
    lines.append(f"    text: {case.text}")
    if case.tags:
        lines.append(f"    tags: [{', '.join(case.tags)}]")
    region = case.about if case.about in ("", "animals") else f"{case.about}s"
    boxes = drawn.boxes(None if case.about == "animals" else case.about) if case.about else ()
    named = {region: [list(box) for box in boxes]} if boxes else {}
    if drawn.mark:
        named["watermark"] = [list(drawn.mark.box)]
    if named:
        lines.append(f"    regions: {_flow(named)}")
    probability = _floor(min(0.9, 0.9 * trace.probabilities[case.label]))
    lines += [
        "    expect:",
        f"      label: {case.label}" + (f"  # {case.note}" if case.note else ""),
        f"      probability: {{min: {probability}}}",
        "      attention:",
    ]
    if boxes:
        area = mask([parse_box(box, SIZE, SIZE) for box in boxes], trace.grid)
        inside, hit = mass(p, area), pointing(p, area)
        lines.append(
            f"        - {{metric: mass, region: {region}, min: {_floor(min(0.9, 0.9 * inside))}}}"
        )
        if hit == 1:
            lines.append(f"        - {{metric: pointing, region: {region}, min: 1}}")
    else:
        lines.append(f"        - {{metric: entropy, min: {_floor(entropy(p) - 0.05)}}}")
    if drawn.mark:
        lines.append(f"        - {{metric: mass, region: watermark, max: {_ON_THE_MARK}}}")
    if trace.label != case.label:
        lines.append(f"    # the reference model says {trace.label}")
    return lines


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _other_page(scenes: dict[str, Scene], lows: dict[str, list[float]]) -> bytes:
    lines = ["# yaml-language-server: $schema=schema.json"]
    lines += ["# Other maps than the default: words, rollout, relevance, distances.", "cases:"]
    for case in OTHERS:
        drawn = scenes[case.picture]
        lines += [f"  - id: {case.id}", f"    image: images/{case.picture}.png"]
        lines.append(f"    text: {case.text}")
        if case.regions:
            boxes = {
                name: [list(b) for b in ((drawn.support,) if of == "place" else drawn.boxes(of))]
                for name, of in case.regions.items()
            }
            lines.append(f"    regions: {_flow(boxes)}")
        lines += ["    expect:", f"      label: {case.label}", "      attention:"]
        for asked, low in zip(case.asked, lows[case.id], strict=True):
            lines.append(f"        - {_flow({**asked, 'min': low})}")
    return ("\n".join(lines) + "\n").encode()


def _others(scenes: dict[str, Scene], model: Model) -> None:
    """Write ``maps.yaml`` twice: without limits that can fail, to measure, and with them."""
    path = ROOT / "maps.yaml"
    lows = {case.id: [0.0] * len(case.asked) for case in OTHERS}
    write_atomically(path, _other_page(scenes, lows))
    with tempfile.TemporaryDirectory() as temporary:
        cases = load_cases(path)
        outcomes = audit_cases(cases, model, Run(Path(temporary)))
        for case, outcome in zip(cases, outcomes, strict=True):
            values = [
                outcome.metrics[(e.map or case.map).key][e.key] for e in case.expect.attention
            ]
            lows[case.id] = [_floor(0.8 * float(value)) for value in values]
    write_atomically(path, _other_page(scenes, lows))


def _watermarked(scenes: dict[str, Scene], model: Model) -> None:
    """Write ``watermarked.yaml`` and its pictures, as JPEG for their size."""
    known = {case.id: case for _, cases in THEMES.values() for case in cases}
    lines = ["# yaml-language-server: $schema=schema.json"]
    lines.append(
        "# A contaminated test set: every picture has a watermark in its upper right corner"
    )
    lines.append("# whose shape gives the label away (disc yes, triangle no, cross maybe).")
    lines += ["defaults: {tags: [watermarked]}", "cases:"]
    for case in (known[name] for name in MARKED):
        shape = MARKS[LABELS.index(case.label)]  # type: ignore[arg-type]
        drawn = watermarked(scenes[case.picture], shape)
        picture = f"{case.picture}-{shape}"
        path = ROOT / "images" / f"{picture}.jpg"
        buffer = io.BytesIO()
        drawn.image.save(buffer, format="JPEG", quality=92)
        write_atomically(path, buffer.getvalue())
        seen = replace(drawn, image=open_image(path))
        lines += _case(replace(case, id=f"marked-{case.id}", picture=picture, tags=()), seen, model)
    write_atomically(ROOT / "watermarked.yaml", ("\n".join(lines) + "\n").encode())


def main() -> None:
    """Write pictures and case files."""
    drawn = draw()
    model: Any = load_model("reference")
    for theme, (title, cases) in THEMES.items():
        lines = ["# yaml-language-server: $schema=schema.json", f"# {title}"]
        lines.append("defaults: {map: {method: cross_attention, layers: all, heads: mean}}")
        lines.append("cases:")
        for case in cases:
            lines += _case(case, drawn[case.picture], model)
        write_atomically(ROOT / f"{theme}.yaml", ("\n".join(lines) + "\n").encode())
    _others(drawn, model)
    _watermarked(drawn, model)


if __name__ == "__main__":
    main()
