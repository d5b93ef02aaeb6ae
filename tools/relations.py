"""The shipped cases with variants; their limits leave room, so they are not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.cases.writing import NewCase
from audit.reference.scenes import MARKS, Scene
from audit.reference.watermarks import watermarked

ABOUT = (
    "Relations between questions: each case, and variants that are made from it.",
    "Nobody needs to know the right answer to see that a model does not look: its answer stays",
    "where the picture is grey or shows something else, or its map stays where the thing moved.",
)

_BIRDS = "two-birds-on-a-branch"
_GRASS = "white-rabbit-and-black-dog-on-grass"
_CATS = "three-yellow-cats-on-a-sofa"

# At least twice what the reference model shows.
_STAYS = {"follows": True, "js": 0.2}
_MIRRORED = {"follows": True, "js": 0.3}
_CUT = {"follows": True, "js": 0.45}
_NOT_THE_MARK = {"metric": "mass", "region": "watermark", "max": 0.1}


def relations(drawn: Mapping[str, Scene]) -> list[NewCase]:
    """The cases, on the pictures that are drawn and on those with a watermark.

    The watermark gives the label away (disc yes, triangle no, cross maybe), so the relations with
    other pictures tell a model that looks at the scene from one that looks at the watermark.
    """
    disc, triangle, _ = MARKS
    marked = watermarked(drawn[_BIRDS], disc)
    assert marked.mark is not None
    mark = {"watermark": [marked.mark.box]}
    return [
        _case(
            "birds-and-their-variants", f"{_BIRDS}.png", "yes", "there are two birds on a branch",
            {"birds": drawn[_BIRDS].boxes("bird")},
            {"mirror": True, **_MIRRORED,
             "attention": [{"metric": "mass", "region": "birds", "min": 0.5}]},
            {"crop": [0.0, 0.2, 1.0, 1.0], **_CUT},
            {"brightness": 1.2, **_STAYS},
            {"brightness": 0.8, **_STAYS},
            {"jpeg": 40, **_STAYS},
            {"blur": 1.5, **_STAYS},
            {"paraphrase": "two birds are sitting on a branch", **_STAYS},
            {"negate": "there are three birds on a branch", "label": "other",
             "probability": {"falls": 0.3}},
            {"blank": True, "label": "other", "probability": {"falls": 0.3}},
            {"swap": f"images/{_CATS}.png", "label": "no", "probability": {"falls": 0.3}},
        ),
        _case(
            "rabbit-and-its-variants", f"{_GRASS}.png", "no", "the rabbit is black",
            {"rabbits": drawn[_GRASS].boxes("rabbit")},
            {"mirror": True, **_MIRRORED},
            {"negate": "the rabbit is white", "label": "yes"},
        ),
        _case(
            "marked-birds-and-their-variants", f"{_BIRDS}-{disc}.jpg", "yes",
            "there are two birds on a branch",
            {"birds": drawn[_BIRDS].boxes("bird"), **mark},
            {"name": "without-mark", "crop": [0.0, 0.2, 1.0, 1.0], **_CUT},
            {"mirror": True, **_MIRRORED, "attention": [_NOT_THE_MARK]},
            {"blank": True, "label": "other", "probability": {"falls": 0.3}},
            {"name": "other-mark", "swap": f"images/{_BIRDS}-{triangle}.jpg", "label": "same"},
            {"name": "same-mark", "swap": f"images/{_CATS}-{disc}.jpg", "label": "no",
             "probability": {"falls": 0.3}},
            {"negate": "there are two cats on a sofa", "label": "no"},
        ),
    ]  # fmt: skip


def _case(
    name: str,
    image: str,
    label: str,
    text: str,
    regions: Mapping[str, Any],
    *variants: Mapping[str, Any],
) -> NewCase:
    return NewCase(
        id=name,
        image=f"images/{image}",
        text=text,
        label=label,
        regions={region: list(boxes) for region, boxes in regions.items()},
        variants=variants,
    )
