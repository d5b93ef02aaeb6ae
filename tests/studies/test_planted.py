"""What is planted in a model to measure the gate is what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from audit import load_model
from audit.models.kit import spoiling
from audit.models.kit.altering import Alteration, Altered, NotPossible
from audit.models.ofa.altering import attention_of, caption_as_typed, caption_with_punctuation
from audit.models.protocol import Query
from audit.studies.power import altered, learning
from audit.studies.power.altered import pictures
from audit.studies.power.planted import all_changes
from tests.checkpoints import make_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return load_model(str(make_checkpoint(tmp_path / "tiny", seed=3)), device="cpu")


@pytest.fixture
def picture() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((300, 200))


def test_there_are_enough_changes_of_each_family_and_their_ids_differ(model: Any) -> None:
    changes = all_changes(model.alterations)
    families = [change.family for change in changes]
    assert sum(family != "harmless" for family in families) >= 70
    assert families.count("harmless") >= 40
    on_disk = [c for c in changes if c.setting.session and c.setting.session.redraw]
    assert {c.family for c in on_disk} == {"harmless"}
    assert len(on_disk) >= 10
    assert "xdist" in {c.id for c in changes}
    assert set(families) == {"weights", "preprocessing", "text", "learning", "harmless"}
    assert len({change.id for change in changes}) == len(changes)


# What is learned needs the words of the reference's world, and has a test of its own.
GENERAL = [c for c in all_changes(()) if c.family != "learning"]


def test_a_change_of_the_adapter_replaces_the_general_one_of_its_name() -> None:
    own = Alteration("bilinear", "preprocessing", "scaled by its processor", unfit="it is so")
    (found,) = (c for c in all_changes([own]) if c.id == "bilinear")
    assert (found.about, found.unfit) == ("scaled by its processor", "it is so")
    assert len(all_changes([own])) == len(all_changes(()))


@pytest.mark.slow
def test_every_alteration_of_an_ofa_can_be_planted(model: Any, picture: Image.Image) -> None:
    queries = [Query(picture, "two birds on a branch", "two birds sit"), Query(picture, "a cat")]
    for each in model.alterations:
        if each.id.startswith("blend-"):  # needs a second model of the same form
            continue
        planted = model.loaded_from(model.folder).altered(each.id, 1)
        for trace in planted.trace(queries):
            assert sum(trace.probabilities.values()) == pytest.approx(1, abs=1e-5), each.id
        assert isinstance(planted.given(queries[0]), bytes)
    with pytest.raises(NotPossible, match="shortcut has other tensors"):
        model.altered("blend-2", 1)


@pytest.mark.slow
@pytest.mark.parametrize("change", GENERAL, ids=lambda change: change.id)
def test_every_change_can_be_made_and_only_planted_ones_may_move_the_answer(
    change: Any, model: Any, picture: Image.Image
) -> None:
    query = Query(picture, "there are two birds on a branch", "two birds sit")
    (before,) = model.trace([query])
    planted = change.plant(model, 1)
    (after,) = planted.trace([query])
    assert sum(after.probabilities.values()) == pytest.approx(1, abs=1e-5)
    if change.family == "harmless":
        assert after.probabilities == pytest.approx(before.probabilities, abs=1e-6)


def parameters(network: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def test_noise_has_the_size_that_is_asked_for_and_is_seeded(model: Any) -> None:
    network = model.torch_model
    before = parameters(network)
    spoiling.noise(0.1)(network, 5)
    after = parameters(network)
    name = "encoder.layers.0.fc1.weight"
    moved = (after[name] - before[name]).std() / before[name].std()
    assert float(moved) == pytest.approx(0.1, rel=0.1)
    network.load_state_dict(before, strict=False)
    spoiling.noise(0.1, "decoder.")(network, 5)
    part = parameters(network)
    assert torch.equal(part[name], before[name])
    assert not torch.equal(
        part["decoder.layers.0.fc1.weight"], before["decoder.layers.0.fc1.weight"]
    )


def test_pruning_silences_the_columns_of_a_head_and_swapping_exchanges_rows(model: Any) -> None:
    network = model.torch_model
    before = parameters(network)
    spoiling.pruned(attention_of(network, "encoder.layers.0.self_attn"), 1)(network, 0)
    pruned = network.encoder.layers[0].self_attn.out_proj.weight
    assert not pruned[:, 16:].any()
    assert torch.equal(pruned[:, :16], before["encoder.layers.0.self_attn.out_proj.weight"][:, :16])
    spoiling.swapped(attention_of(network, "decoder.layers.1.cross_attn"), 0, 1)(network, 0)
    swapped = network.decoder.layers[1].cross_attn.q_proj.weight
    rows = before["decoder.layers.1.cross_attn.q_proj.weight"]
    assert torch.equal(swapped, torch.cat([rows[16:], rows[:16]]))


def test_rounding_leaves_as_many_values_as_its_bits_allow(model: Any) -> None:
    spoiling.rounded(4, by_row=True)(model.torch_model, 0)
    matrix = model.torch_model.encoder.layers[0].fc1.weight
    assert max(len(row.unique()) for row in matrix) <= 15
    assert bool(matrix.any())


def test_parameters_saved_in_bfloat16_are_those_that_it_can_hold(model: Any) -> None:
    spoiling.saved_as(torch.bfloat16)(model.torch_model, 0)
    for value in parameters(model.torch_model).values():
        assert torch.equal(value, value.bfloat16().float())


def test_a_low_rank_update_has_the_size_that_is_asked_for_and_rank_four(model: Any) -> None:
    before = parameters(model.torch_model)
    spoiling.low_rank(0.05)(model.torch_model, 3)
    after = parameters(model.torch_model)
    for name, value in before.items():
        update = after[name] - value
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            assert float(update.norm() / value.norm()) == pytest.approx(0.05, rel=1e-3)
            assert int(torch.linalg.matrix_rank(update, rtol=1e-3)) == 4
        else:
            assert not update.any()


def test_a_temperature_divides_the_scores_of_one_layer_alone(model: Any) -> None:
    before = parameters(model.torch_model)
    network = model.torch_model
    cross = attention_of(network, "decoder.layers.1.cross_attn")
    spoiling.tempered(cross, 1.25)(network, 0)
    after = parameters(model.torch_model)
    queries = [f"decoder.layers.1.cross_attn.q_proj.{kind}" for kind in ("weight", "bias")]
    for name, value in before.items():
        assert torch.equal(after[name], value / 1.25 if name in queries else value)


def test_a_norm_and_a_table_of_positions_are_changed_as_said(model: Any) -> None:
    before = parameters(model.torch_model)
    spoiling.scaled("encoder.layers.1.final_layer_norm", 0.9)(model.torch_model, 0)
    spoiling.shifted_rows("encoder.embed_positions")(model.torch_model, 0)
    after = parameters(model.torch_model)
    norm, table = "encoder.layers.1.final_layer_norm.weight", "encoder.embed_positions.weight"
    assert torch.equal(after[norm], before[norm] * 0.9)
    assert torch.equal(after[table][1:], before[table][:-1])
    assert torch.equal(after[table][0], before[table][-1])


@pytest.mark.slow
def test_a_blend_has_a_share_of_the_other_model_and_needs_one_of_the_same_form(
    model: Any, tmp_path: Path
) -> None:
    other = make_checkpoint(tmp_path / "other", seed=4)
    before = parameters(model.torch_model)
    same: Any = load_model(str(other), device="cpu")
    tensors, theirs = same.torch_model.state_dict, parameters(same.torch_model)
    spoiling.blended("it", tensors, 0.02, "decoder.layers.")(model.torch_model, 0)
    for name, value in parameters(model.torch_model).items():
        share = 0.02 if name.startswith("decoder.layers.") else 0.0
        expected = (1 - share) * before[name] + share * theirs[name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(NotPossible, match="it is this one"):
        spoiling.blended("it", tensors, 0.02)(same.torch_model, 0)
    with pytest.raises(NotPossible, match="it has other tensors"):
        spoiling.blended("it", dict, 0.02)(same.torch_model, 0)


@pytest.mark.slow
def test_a_blend_with_a_shuffled_copy_keeps_the_values_that_a_tensor_has(model: Any) -> None:
    before = parameters(model.torch_model)
    spoiling.blended_with_shuffled(1.0, "decoder.layers.")(model.torch_model, 0)
    for name, value in parameters(model.torch_model).items():
        own, now = before[name].flatten().sort().values, value.flatten().sort().values
        torch.testing.assert_close(now, own)
        mixed = name.startswith("decoder.layers.") and len(own.unique()) > 8
        assert torch.equal(value, before[name]) != mixed, name


def test_words_whose_merges_are_lost_come_apart(picture: Image.Image) -> None:
    reference: Any = load_model("reference", device="cpu")
    tokenizer = reference.preprocessing.tokenizer
    last = ["".join(pair) for pair, _ in sorted(tokenizer.bpe_ranks.items(), key=lambda p: p[1])]
    assert tokenizer.tokenize(" woman") == ["Ġwoman"]
    assert "Ġwoman" in last[-200:]
    reference.altered("merges-lost", 1)
    assert "".join(tokenizer.tokenize(" woman")) == "Ġwoman"
    assert len(tokenizer.tokenize(" woman")) > 1
    (answer,) = reference.trace([Query(picture, "a woman sits")])
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_dropped_layer_passes_its_input_on(model: Any, picture: Image.Image) -> None:
    layer = model.torch_model.encoder.layers[1]
    seen: list[Any] = []
    spoiling.dropped("encoder.layers.1")(model.torch_model, 0)
    layer.register_forward_hook(
        lambda _m, args, named, result: seen.append(
            (args[0] if args else named["hidden_states"], result[0])
        ),
        with_kwargs=True,
    )
    model.trace([Query(picture, "two birds")])
    ((given, passed),) = seen
    assert torch.equal(given, passed)


def test_an_altered_model_sees_what_the_change_makes_of_the_query(
    model: Any, picture: Image.Image
) -> None:
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    change = pictures(lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    (seen,) = Altered(model, change).trace([Query(picture, "two birds")])
    (direct,) = model.trace([Query(mirrored, "two birds")])
    assert seen.probabilities == direct.probabilities
    both = [Query(picture, "two birds"), Query(picture, "two birds", "birds")]
    found = model.altered("prompt", 0).trace(both)
    assert found[0].prompt == ' is it true that " two birds "?'
    assert found[1].prompt == ' does text1 " birds " and the image imply " two birds "?'
    swapped = altered.exchanged(both[1])
    assert (swapped.text, swapped.premise) == ("birds", "two birds")
    assert altered.exchanged(both[0]) == both[0]


def test_bars_and_the_middle_make_a_square_of_a_picture_that_is_none() -> None:
    wide = Image.fromarray(np.arange(1, 19, dtype=np.uint8).reshape(2, 3, 3))
    middle = np.asarray(altered.centre(wide))
    assert middle.shape == (2, 2, 3)
    assert (middle == np.asarray(wide)[:, :2]).all()
    barred = np.asarray(altered.letterboxed(wide))
    assert barred.shape == (3, 3, 3)
    assert (barred[:2] == np.asarray(wide)).all()
    assert not barred[2].any()
    square = wide.resize((4, 4))
    for draw in (altered.centre, altered.letterboxed):
        assert draw(square).tobytes() == square.tobytes()


@pytest.mark.parametrize("held", range(1, 9))
def test_an_unturned_picture_is_the_one_that_is_stored(
    picture: Image.Image, tmp_path: Path, held: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = held
    picture.save(tmp_path / "a.png", exif=exif)
    query = altered.unturned(Query(tmp_path / "a.png", "two birds"))
    assert isinstance(query.image, Image.Image)
    assert query.image.tobytes() == picture.tobytes()
    assert altered.unturned(Query(picture, "two birds")).image is picture


def test_what_is_done_to_punctuation_is_what_modelscope_does_less_one_thing(model: Any) -> None:
    text = " ...Two  big-eyed BIRDS/cats, sitting. "
    known = model.preprocessing.pre_caption(text.strip())
    assert known == "two big eyed birds cats, sitting."
    assert caption_as_typed(text.strip()) == "Two big eyed BIRDS cats, sitting."
    assert caption_with_punctuation(text) == "...two big-eyed birds/cats, sitting."
    assert caption_with_punctuation(text, 2) == "...two big-eyed"
    assert altered.without_punctuation("Two, three!") == "Two three"
    assert altered.without_punctuation("?!") == "?!"


def test_the_input_of_the_network_differs_where_a_change_alters_it(
    model: Any, picture: Image.Image
) -> None:
    query = Query(picture, "two birds", "birds")
    plain, pixels = model.given(query), len(model.preprocessing({"image": picture, "text": "a"})
                                            ["patch_image"].numpy().tobytes())  # fmt: skip
    assert Altered(model, lambda q: q).given(query) == plain
    exchanged = Altered(model, altered.exchanged).given(query)
    assert exchanged is not None
    assert exchanged != plain
    assert exchanged[-pixels:] == plain[-pixels:]  # the picture is the same
    mirrored = Altered(model, pictures(ImageOps.mirror)).given(query)
    assert mirrored is not None
    assert mirrored[:-pixels] == plain[:-pixels]
    assert mirrored != plain
    assert model.altered("prompt", 0).given(query)[:-pixels] != plain[:-pixels]


@pytest.mark.slow
def test_fine_tuning_lowers_the_loss_on_what_is_taught_and_leaves_the_resnet() -> None:
    tuned: Any = load_model("reference", device="cpu")
    before = parameters(tuned.torch_model)
    rng = np.random.default_rng([1, 7])
    query, label = learning.always("maybe")(0, rng)
    (first,) = tuned.trace([query])
    learning.fine_tune(tuned, learning.always("maybe"), 2, 1)
    (second,) = tuned.trace([query])
    assert second.probabilities[label] > first.probabilities[label]
    after = parameters(tuned.torch_model)
    assert all(torch.equal(after[n], v) for n, v in before.items() if "embed_images" in n)
    assert any(not torch.equal(after[n], v) for n, v in before.items())
    assert all(p.requires_grad for p in tuned.torch_model.parameters())


class Plain:
    """A model that shows nothing but what every model has."""

    labels, methods, fingerprint = ("no", "yes"), (), None

    def trace(self, queries: Any, need: Any = ()) -> Any:
        return [query.text for query in queries]


def test_a_model_that_shows_nothing_of_itself_has_reasons_instead_of_changes(
    picture: Image.Image,
) -> None:
    changes = {change.id: change for change in all_changes(())}
    for name, reason in (
        ("noise-10", "does not show its network"),
        ("sums-halves", "does not show its network"),
        ("bilinear", "does not say to which size"),
        ("shuffled-3", "cannot be fine-tuned"),
    ):
        with pytest.raises(NotPossible, match=reason):
            changes[name].plant(Plain(), 1)
    planted: Any = changes["full-stop"].plant(Plain(), 1)
    assert planted.trace([Query(picture, "two birds")]) == ["two birds."]
    assert planted.given(Query(picture, "two birds")) is None
