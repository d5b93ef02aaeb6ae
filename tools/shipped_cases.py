"""Lists the shipped cases without their limits, which come from measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit.reference.scenes import Group, SceneSpec

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
    """One shipped case; ``about`` is a kind of animal, ``animals`` for all, or empty if absent."""

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
    return {"method": "word_attention", "word": word}


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
"""Cases that are asked again about pictures with a watermark that gives the label away."""
