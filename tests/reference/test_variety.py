"""Scenes of other shapes, in other lights and sizes, with truths that stay true."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from audit.reference.batches import Batcher, Item, entailment, premised
from audit.reference.data import coverage, dense_labels, place_label
from audit.reference.export import SHIPPED
from audit.reference.recipe import GRID, RECIPE
from audit.reference.scenes import NOTHING, SIZE, Group, SceneSpec, scene
from audit.reference.tokens import MOST_TOKENS, load_tokenizer
from audit.reference.variety import cropped, empty, photographed, shape, varied
from audit.reference.watermarks import watermarked

WHITE_CAT = SceneSpec((Group("cat", "white", 1),), "table", True)


def test_square_scenes_are_what_they_were_before_there_were_others() -> None:
    """The shipped pictures, and all figures measured on scenes, hang on it."""
    digest = hashlib.sha256()
    for index in range(3):
        drawn = scene(777, index)
        digest.update(drawn.image.tobytes())
        digest.update(repr((drawn.animals, drawn.support)).encode())
    assert digest.hexdigest() == (
        "cd2831d6174c58964f0df1863d9187d2fb4de43662d5654cfaf1af5567968e7b"
    )


def test_shapes_lie_between_3_to_4_and_4_to_3_with_the_area_of_the_square() -> None:
    sides = [shape(5, index) for index in range(300)]
    ratios = [width / height for width, height in sides]
    assert 0.74 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.34
    assert all(abs(width * height / SIZE**2 - 1) < 0.01 for width, height in sides)
    assert 100 < sum(ratio == 1 for ratio in ratios) < 200


@pytest.mark.parametrize("size", [(416, 554), (554, 416)])
def test_animals_of_scenes_of_other_shapes_fill_their_boxes_inside_the_picture(
    size: tuple[int, int],
) -> None:
    for index in range(12):
        drawn = scene(5, index, size=size)
        assert drawn.image.size == drawn.size == size
        for left, top, right, bottom in drawn.boxes():
            assert 0 <= left < right <= size[0]
            assert 0 <= top < bottom <= size[1]


def test_a_box_is_exact_in_a_scene_of_another_shape() -> None:
    """A white animal differs from the dark one at the same place exactly inside its box."""
    size = (554, 416)
    white = scene(8, 2, WHITE_CAT, size)
    red = scene(8, 2, SceneSpec((Group("cat", "red", 1),), "table", True), size)
    assert white.boxes() == red.boxes()
    apart = np.abs(np.asarray(white.image, int) - np.asarray(red.image, int)).max(-1) > 60
    rows, columns = np.nonzero(apart)
    left, top, right, bottom = white.boxes()[0]
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.subtract(found, (left, top, right, bottom))).max() <= 3


def test_coverage_counts_in_fractions_of_each_side() -> None:
    half = coverage(((0, 0, 200, 400),), 4, (400, 400))
    assert half.tolist() == [[1, 1, 0, 0]] * 4
    stretched = coverage(((0, 0, 200, 300),), 4, (400, 300))
    assert stretched.tolist() == half.tolist()


def test_a_watermark_is_at_the_same_cells_whatever_the_shape() -> None:
    square, wide = scene(8, 2), scene(8, 2, size=(554, 416))
    cells = []
    for drawn in (square, wide):
        marked = watermarked(drawn, "disc")
        assert marked.mark is not None
        cells.append(coverage((marked.mark.box,), GRID, drawn.size))
    assert np.abs(cells[0] - cells[1]).max() < 0.1


def test_cropping_leaves_every_animal_whole_and_moves_its_box() -> None:
    rng = np.random.default_rng(0)
    for index in range(20):
        drawn = scene(9, index)
        less = cropped(drawn, rng)
        assert less.image.size == less.size
        assert less.size[0] >= 0.79 * SIZE
        assert less.size[1] >= 0.79 * SIZE
        for before, after in zip(drawn.boxes(), less.boxes(), strict=True):
            assert np.array_equal(
                np.asarray(drawn.image.crop(before)), np.asarray(less.image.crop(after))
            )


def test_a_grey_picture_has_no_colours_to_learn_or_to_speak_of() -> None:
    rng = np.random.default_rng(1)
    for index in (8, 9):
        drawn = varied(12, index)
        assert drawn.grey
        pixels = np.asarray(drawn.image, int)
        assert np.ptp(pixels, axis=-1).max() <= 8  # JPEG may leave a trace
        kind, colour, _ = dense_labels(drawn, GRID)
        assert set(colour[kind > 0]) <= {-1}
        colours = {"red", "blue", "yellow", "white", "black", "brown"}
        for _ in range(40):
            asked = entailment(drawn, rng)
            assert not colours & set(asked.prompt.split())


def test_a_scaled_picture_keeps_its_boxes_in_fractions() -> None:
    rng = np.random.default_rng(3)
    drawn = scene(8, 2, WHITE_CAT)
    shapes = set()
    for _ in range(40):
        seen = photographed(drawn, rng)
        assert seen.boxes() == drawn.boxes()
        assert seen.size == drawn.size
        shapes.add(seen.image.size)
    assert len(shapes) > 3
    (box,) = drawn.fractions(drawn.boxes())
    left, top, right, bottom = drawn.boxes()[0]
    assert box == (left / SIZE, top / SIZE, right / SIZE, bottom / SIZE)


def test_an_empty_picture_has_nobody_and_no_place() -> None:
    drawn = empty(np.random.default_rng(0))
    assert drawn.spec == NOTHING
    assert drawn.boxes() == ()
    assert place_label(drawn) == -100
    kind, colour, centre = dense_labels(drawn, GRID)
    assert not kind.any()
    assert not colour.any()
    assert not centre.any()
    assert len(np.unique(np.asarray(drawn.image).reshape(-1, 3), axis=0)) == 1


def test_marked_scenes_are_never_empty() -> None:
    for index in (34, 152):
        assert not varied(3, index).animals
        assert varied(3, index, marked=True).animals


@pytest.fixture(scope="module")
def batcher() -> Batcher:
    tokenizer = load_tokenizer(SHIPPED / "reference")
    pictures = [varied(3, index) for index in range(20)]
    return Batcher(RECIPE, tokenizer, pictures)


def test_every_word_that_has_a_truth_is_one_token_of_its_own(batcher: Batcher) -> None:
    words = (
        *("bird", "birds", "cat", "cats", "dog", "dogs", "rabbit", "rabbits", "animal", "animals"),
        *("red", "blue", "yellow", "white", "black", "brown", "branch", "sofa", "grass", "table"),
        *("outdoors", "indoors", "nature", "one", "two", "three", "1", "2", "3", "no", "not"),
        *("yes", "maybe"),
    )
    ids = [batcher.ids(f" {word}") for word in words]
    assert {word: len(i) for word, i in zip(words, ids, strict=True) if len(i) != 1} == {}
    assert len({i[0] for i in ids}) == len(words)


def test_prompts_fit_what_the_model_reads(batcher: Batcher) -> None:
    rng = np.random.default_rng(2)
    for truth in batcher.truths:
        for _ in range(10):
            prompt = premised(truth, rng).prompt
            assert len(batcher.tokenizer.tokenize(prompt)) <= MOST_TOKENS


def test_a_noun_is_found_before_punctuation_and_between_quotes_it_is_left_out(
    batcher: Batcher,
) -> None:
    box = ((0, 0, 240, 240),)
    found = [
        batcher.collate([Item(f' "{text} "?', "yes", box, {"birds": True}, {"birds": box})])
        for text in (" there are 2 birds.", " there are birds, outdoors", ' there are "birds"')
    ]
    assert [len(batch.nouns) for batch in found] == [1, 1, 0]
    for batch in found[:2]:
        (truth,) = batch.truth
        place = int(batch.nouns[0, 1])
        assert truth[place] == 1
        assert int((truth >= 0).sum()) == 1
