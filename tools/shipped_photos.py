"""Lists the shipped cases about pictures of other shapes, and in sentences as people write them.

They all have the same limits, which were not measured on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.reference.scenes import Group, SceneSpec
from tools.shipped_cases import Shipped


@dataclass(frozen=True)
class Photo:
    """A picture that is saved as JPEG in another shape, size or quality than the scenes above.

    Attributes:
        size: width and height of the scene, before ``longest``.
        longest: the longer side of the saved picture in pixels; 0 leaves the scene's.
        orientation: EXIF's number for how the saved picture must be turned; 1 is not at all.
    """

    spec: SceneSpec
    size: tuple[int, int] = (480, 480)
    longest: int = 0
    quality: int = 88
    orientation: int = 1
    grey: bool = False


_TALL, _WIDE = (416, 554), (554, 416)

PHOTOS: dict[str, Photo] = {
    "three-red-birds-tall": Photo(SceneSpec((Group("bird", "red", 3),), "branch", True), _TALL),
    "white-cat-and-brown-rabbit-wide": Photo(
        SceneSpec((Group("cat", "white", 1), Group("rabbit", "brown", 1)), "sofa", False), _WIDE
    ),
    "two-blue-dogs-turned-right": Photo(
        SceneSpec((Group("dog", "blue", 2),), "grass", True), _WIDE, orientation=6
    ),
    "yellow-bird-and-black-cat-turned-left": Photo(
        SceneSpec((Group("bird", "yellow", 1), Group("cat", "black", 1)), "table", False),
        _TALL,
        orientation=8,
    ),
    "brown-rabbit-upside-down": Photo(
        SceneSpec((Group("rabbit", "brown", 1),), "grass", True), orientation=3
    ),
    "two-white-dogs-small": Photo(
        SceneSpec((Group("dog", "white", 2),), "sofa", False), _WIDE, longest=96, quality=92
    ),
    "three-black-rabbits-large": Photo(
        SceneSpec((Group("rabbit", "black", 3),), "grass", True), _WIDE, longest=2000, quality=60
    ),
    "two-yellow-cats-poor-jpeg": Photo(
        SceneSpec((Group("cat", "yellow", 2),), "table", True), _TALL, quality=22
    ),
    "bird-and-two-dogs-grey": Photo(
        SceneSpec((Group("bird", "white", 1), Group("dog", "black", 2)), "branch", True), grey=True
    ),
}


_BIRDS = "two-birds-on-a-branch"
_GRASS = "white-rabbit-and-black-dog-on-grass"
_CATS = "three-yellow-cats-on-a-sofa"
_TABLE = "blue-bird-and-two-brown-dogs-on-a-table"
_CAT = "black-cat-on-a-table-outdoors"
_RABBITS = "two-rabbits-on-a-sofa"
_TALL_BIRDS = "three-red-birds-tall"
_WIDE_CAT = "white-cat-and-brown-rabbit-wide"
_RIGHT_DOGS = "two-blue-dogs-turned-right"
_LEFT_BIRD = "yellow-bird-and-black-cat-turned-left"
_DOWN_RABBIT = "brown-rabbit-upside-down"
_SMALL_DOGS = "two-white-dogs-small"
_LARGE_RABBITS = "three-black-rabbits-large"
_POOR_CATS = "two-yellow-cats-poor-jpeg"
_GREY_BIRD = "bird-and-two-dogs-grey"

PHOTOGRAPHED: dict[str, tuple[str, list[Shipped]]] = {
    "shapes": (
        "Tall and wide pictures, and pictures that EXIF says must be turned.",
        [
            Shipped("tall-three-birds", _TALL_BIRDS, "yes", "There are three birds.", "bird"),
            Shipped("tall-birds-red", _TALL_BIRDS, "yes", "the birds are red", "bird"),
            Shipped("tall-not-one-bird", _TALL_BIRDS, "no", "There is only 1 bird.", "bird"),
            Shipped("tall-birds-tired", _TALL_BIRDS, "maybe", "the birds are tired", "bird"),
            Shipped("wide-white-cat", _WIDE_CAT, "yes", "There's a white cat on the sofa.", "cat"),
            Shipped("wide-two-animals", _WIDE_CAT, "yes", "2 animals are indoors", "animals"),
            Shipped(
                "wide-rabbit-not-white",
                _WIDE_CAT,
                "no",
                "the rabbit is white",
                "rabbit",
                note="the cat is",
            ),
            Shipped("wide-no-dogs", _WIDE_CAT, "no", "Two dogs are sitting on the sofa!", ""),
            Shipped("right-two-dogs", _RIGHT_DOGS, "yes", "there are two blue dogs", "dog"),
            Shipped("right-dogs-indoors", _RIGHT_DOGS, "no", "The dogs are indoors.", "dog"),
            Shipped(
                "right-dogs-name", _RIGHT_DOGS, "maybe", "two dogs on the grass have a name", "dog"
            ),
            Shipped("left-yellow-bird", _LEFT_BIRD, "yes", "There is a yellow bird.", "bird"),
            Shipped("left-cat-on-table", _LEFT_BIRD, "yes", "a cat is sitting on a table", "cat"),
            Shipped("left-bird-not-black", _LEFT_BIRD, "no", "the bird is black", "bird"),
            Shipped("left-cat-music", _LEFT_BIRD, "maybe", "The black cat likes music.", "cat"),
            Shipped(
                "down-rabbit", _DOWN_RABBIT, "yes", "On the grass, there is a rabbit.", "rabbit"
            ),
            Shipped("down-no-cat", _DOWN_RABBIT, "no", "there is a cat on the grass", ""),
            Shipped(
                "down-rabbit-hungry", _DOWN_RABBIT, "maybe", "the brown rabbit is hungry", "rabbit"
            ),
        ],
    ),
    "files": (
        "Small and large pictures, a poor JPEG, and a picture without colours.",
        [
            Shipped("small-white-dogs", _SMALL_DOGS, "yes", "There are two white dogs.", "dog"),
            Shipped("small-not-grass", _SMALL_DOGS, "no", "2 dogs are on the grass", "dog"),
            Shipped("small-dogs-nearby", _SMALL_DOGS, "maybe", "two dogs live nearby", "dog"),
            Shipped("large-three", _LARGE_RABBITS, "yes", "There are 3 rabbits.", "rabbit"),
            Shipped("large-not-brown", _LARGE_RABBITS, "no", "the rabbits are brown", "rabbit"),
            Shipped(
                "large-afraid",
                _LARGE_RABBITS,
                "maybe",
                "the rabbits are afraid of thunder",
                "rabbit",
            ),
            Shipped("poor-cats-outdoors", _POOR_CATS, "yes", "two cats are outdoors", "cat"),
            Shipped("poor-no-birds", _POOR_CATS, "no", "There are birds on the table.", ""),
            Shipped("poor-cats-farmer", _POOR_CATS, "maybe", "The cats belong to a farmer.", "cat"),
            Shipped("grey-two-dogs", _GREY_BIRD, "yes", "there are two dogs on a branch", "dog"),
            Shipped("grey-bird", _GREY_BIRD, "yes", "A bird can be seen.", "bird"),
            Shipped("grey-not-two-birds", _GREY_BIRD, "no", "There are 2 birds.", "bird"),
            Shipped(
                "grey-dogs-dreaming", _GREY_BIRD, "maybe", "the dogs are dreaming of the sea", "dog"
            ),
        ],
    ),
    "wording": (
        "Sentences as people write them: capitals, punctuation, digits, negations.",
        [
            Shipped("capitals", _BIRDS, "yes", "There Are TWO Birds On A Branch.", "bird"),
            Shipped("question-mark", _GRASS, "yes", "There is a rabbit on the grass?", "rabbit"),
            Shipped("digits-three-cats", _CATS, "yes", "3 cats are sitting on the sofa.", "cat"),
            Shipped("digits-not-one-dog", _TABLE, "no", "There is only 1 dog.", "dog"),
            Shipped("three-years-in-digits", _CAT, "maybe", "The cat is 3 years old.", "cat"),
            Shipped("dashes", _BIRDS, "yes", "On a branch - there are two birds.", "bird"),
            Shipped("dots-first", _GRASS, "no", "...the dog is white", "dog", note="the rabbit is"),
            Shipped("quotes", _RABBITS, "yes", '"There are two rabbits on a sofa."', "rabbit"),
            Shipped("apostrophe", _CAT, "yes", "There's a black cat on a table.", "cat"),
            Shipped("comma", _TABLE, "yes", "On the table, there are two dogs.", "dog"),
            Shipped("denied-and-there", _BIRDS, "no", "There are no birds on the branch.", "bird"),
            Shipped("denied-and-absent", _CATS, "yes", "There aren't any dogs.", ""),
            Shipped("denied-colour", _GRASS, "yes", "The rabbit isn't black.", "rabbit"),
            Shipped("denied-place", _RABBITS, "no", "The rabbits are not on the sofa.", "rabbit"),
        ],
    ),
    "long": (
        "Long premises: what settles the answer stands at their end.",
        [
            Shipped(
                "long-premise-settles-it",
                _GRASS,
                "yes",
                "The black dog has a name.",
                "dog",
                premise="There are two animals on the grass. The rabbit is white. There is a dog "
                "outdoors. One white rabbit can be seen. The black dog has a name.",
            ),
            Shipped(
                "long-premise-does-not-help",
                _CATS,
                "no",
                "The cats are blue.",
                "cat",
                premise="Three animals can be seen on the sofa. The cats are yellow. There are "
                "cats indoors. On a sofa, there are 3 yellow cats.",
            ),
            Shipped(
                "long-premise-and-true",
                _TABLE,
                "yes",
                "There is a blue bird.",
                "bird",
                premise="There are 3 animals. Two brown dogs are sitting on the table. The dogs "
                "are brown. There are animals indoors.",
            ),
        ],
    ),
}
"""Cases about ``PHOTOS``, and sentences as people write them; all have the same limits."""
