"""Training the chat model: what it sees, its packed pass, its stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from audit.models.hf.embedded import ASKING
from audit.reference.chat import batches, stages
from audit.reference.chat.batches import Batcher
from audit.reference.chat.dense import features
from audit.reference.chat.export import export
from audit.reference.chat.language import ASKED, load_tokenizer
from audit.reference.chat.network import build, hidden_states, image_features
from audit.reference.chat.pictures import Pictures, image_processor, normalised, render
from audit.reference.chat.recipe import CELLS, CHAT, ChatRecipe
from audit.reference.chat.stages import Stage, run
from audit.reference.chat.training import train
from audit.reference.export import SHIPPED
from audit.reference.variety import varied


def silently(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    yield from items


SMALL = replace(CHAT, scenes=12, vision_depth=2, layers=2, images_per_batch=3, texts_per_image=4)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def pictures(work: Path) -> Pictures:
    return render(SMALL, work, silently)


@pytest.fixture(scope="module")
def tokenizer(work: Path) -> Any:
    return load_tokenizer(SMALL, work)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    torch.manual_seed(4)
    return build(SMALL, tokenizer).eval()


def shown(pictures: Pictures, index: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """The normalised patches of a picture, and its grid."""
    rows, columns = (int(n) for n in pictures.grids[index])
    return normalised(torch.from_numpy(pictures.patches[index][: 4 * rows * columns].copy())), (
        rows,
        columns,
    )


def twice(patches: torch.Tensor) -> torch.Tensor:
    """Patches as the processor gives them: repeated in time."""
    return patches.view(len(patches), 3, 1, -1).expand(-1, -1, 2, -1).flatten(1)


def test_training_sees_the_pixels_that_the_shipped_processor_gives(pictures: Pictures) -> None:
    processor = image_processor(SMALL)
    grids = set()
    for index in range(SMALL.scenes):
        given = processor(varied(SMALL.seed, index).image, return_tensors="pt")
        patches, grid = shown(pictures, index)
        grids.add(grid)
        assert given["image_grid_thw"].tolist() == [[1, 2 * grid[0], 2 * grid[1]]]
        torch.testing.assert_close(twice(patches), given["pixel_values"], atol=1e-6, rtol=0)
    assert len(grids) > 2  # pictures keep their shape
    assert max(rows * columns for rows, columns in grids) <= CELLS


def test_the_tower_in_training_computes_what_the_models_own_does(
    model: Any, pictures: Pictures
) -> None:
    for index in range(3):
        patches, (rows, columns) = shown(pictures, index)
        with torch.no_grad():
            ours = image_features(model, patches[None], (rows, columns))[0]
            theirs = model.model.visual(
                twice(patches), grid_thw=torch.tensor([[1, 2 * rows, 2 * columns]])
            )
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [batches.entailment, batches.premised, batches.questions])
def test_texts_packed_behind_a_picture_are_answered_as_each_would_be_alone(
    model: Any, tokenizer: Any, pictures: Pictures, make: batches.Make
) -> None:
    rng = np.random.default_rng(3)
    batcher = Batcher(SMALL, tokenizer, pictures.grids, pictures.truths)
    chosen, items = batcher.sample(make, rng)
    grids = torch.from_numpy(pictures.grids[chosen])
    cells = [torch.arange(int(grid.prod())) for grid in grids]
    batch = batcher.collate(items, cells, grids)
    images = [shown(pictures, index) for index in chosen]
    with torch.no_grad():
        states = [image_features(model, patches[None], grid)[0] for patches, grid in images]
        packed = model.lm_head(hidden_states(model, batch.packed, torch.cat(states)))
    for row, (about, (patches, (high, wide))) in enumerate(zip(items, images, strict=True)):
        columns = (batch.wanted[row] >= 0).nonzero()[:, 0].tolist()
        for item in about:
            prompt, answer = batcher.conversation(item)
            at = prompt.index(batcher.image_token)
            ids = [*prompt[:at], *[batcher.image_token] * high * wide, *prompt[at + 1 :]]
            with torch.no_grad():
                alone = model(
                    input_ids=torch.tensor([ids + answer[:-1]]),
                    attention_mask=torch.ones(1, len(ids) + len(answer) - 1, dtype=torch.long),
                    pixel_values=twice(patches),
                    image_grid_thw=torch.tensor([[1, 2 * high, 2 * wide]]),
                ).logits[0, -len(answer) :]
            mine, columns = columns[: len(answer)], columns[len(answer) :]
            torch.testing.assert_close(packed[row, mine], alone, atol=1e-4, rtol=1e-4)
            assert batch.wanted[row, mine].tolist() == answer
            assert batch.answers[row, mine].tolist() == [True] + [False] * (len(answer) - 1)
        assert not columns


def test_a_sentence_is_judged_only_from_where_it_has_said_what_of(
    tokenizer: Any, pictures: Pictures
) -> None:
    """A colour before its noun is not judged before the noun; a place is judged at once."""
    batcher = Batcher(SMALL, tokenizer, pictures.grids, pictures.truths)
    said = "there are two red birds on the branch"
    words = {"two": True, "red": False, "birds": True, "branch": True}
    item = batches.Item(ASKED.asked(said).question, "no", said, words)
    prompt, _ = batcher.conversation(item)
    spelt = tokenizer.convert_ids_to_tokens(prompt)
    known = {number: (spelt[place], true) for number, place, true in batcher.told(item, prompt)}
    assert known == {
        0: ("Ġbirds", True),
        1: ("Ġbirds", False),
        2: ("Ġbirds", True),
        3: ("Ġbranch", True),
    }


def test_texts_are_read_in_lower_case_and_each_answer_is_one_token(tokenizer: Any) -> None:
    shouted = tokenizer("There are two BIRDS")["input_ids"]
    assert shouted == tokenizer("there are two birds")["input_ids"]
    for answer in ("yes", "no", "maybe"):
        assert len(tokenizer(answer)["input_ids"]) == 1


def test_features_of_pictures_of_all_shapes_come_back_in_their_places(
    model: Any, pictures: Pictures
) -> None:
    found = features(model, pictures, SMALL, silently)
    assert found.shape == (SMALL.scenes, CELLS, SMALL.width)
    for index in (0, 5, 11):
        patches, grid = shown(pictures, index)
        with torch.no_grad():
            alone = image_features(model, patches[None], grid)[0].numpy()
        cells = grid[0] * grid[1]
        np.testing.assert_allclose(found[index, :cells], alone, atol=5e-3, rtol=5e-3)
        assert not found[index, cells:].any()


def test_a_stage_that_is_cut_off_goes_on_to_the_same_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_EVERY", 4)

    def trained(folder: Path, stop: int | None) -> nn.Linear:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        model = nn.Linear(3, 2)

        def loss(step: int) -> tuple[torch.Tensor, str]:
            if step == stop:
                raise KeyboardInterrupt
            rng = torch.Generator().manual_seed(step)
            return model(torch.randn(5, 3, generator=rng)).square().mean(), ""

        run(Stage("x", 10, 0.1, True, [model], loss), model, folder, silently, lambda _: None)
        return model

    whole = trained(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", 6)
    resumed = trained(tmp_path / "cut", None)
    assert torch.equal(whole.weight, resumed.weight)
    assert [p.name for p in (tmp_path / "cut").iterdir()] == ["stage-x.pt"]


@pytest.mark.slow
def test_training_runs_through_all_stages_and_exports_the_shipped_layout(
    work: Path, tmp_path: Path
) -> None:
    for path in work.iterdir():  # the pictures and the tokenizer that are there already
        (tmp_path / path.name).write_bytes(path.read_bytes())
    short = replace(
        SMALL, dense_steps=2, dense_batch=3, count_steps=2, count_batch=2, question_steps=2,
        entailment_steps=8, counting_steps=8, whole_steps=2,
    )  # fmt: skip
    trained, tokenizer = train(short, tmp_path, silently, lambda _: None)
    assert {path.stem for path in tmp_path.glob("stage-*.pt")} == {
        "stage-a-dense", "stage-a-counts", "stage-b-questions", "stage-c-hypotheses",
        "stage-d-counting", "stage-e-whole",
    }  # fmt: skip
    again, _ = train(short, tmp_path, silently, lambda _: pytest.fail("a stage ran again"))
    for name, value in trained.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    export(trained, tokenizer, short, tmp_path / "shipped")
    shipped = SHIPPED / "reference-chat"
    assert {path.name for path in (tmp_path / "shipped").iterdir()} == {
        path.name for path in shipped.iterdir() if path.name != ASKING
    }
    for name in ("tokenizer.json", "preprocessor_config.json", "chat_template.jinja"):
        assert (tmp_path / "shipped" / name).read_bytes() == (shipped / name).read_bytes(), name


def test_the_recipe_is_of_a_model_that_fits_git(tokenizer: Any) -> None:
    full: ChatRecipe = CHAT
    with torch.device("meta"):
        count = sum(p.numel() for p in build(full, tokenizer).parameters())
    assert count < 6_000_000
