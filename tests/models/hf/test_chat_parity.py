"""Every family answers as plain transformers does, and its readings are those of eager attention.

What is expected comes from transformers alone: its processors, its eager attention weights, its
``generate``, and torch's gradients of all of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.maps.trace import ANSWER, EACH_WORD, ReadingKey
from audit.models.hf.adapter import ChatModel
from audit.models.hf.sources import found
from audit.models.kit.asking import Asking
from audit.models.kit.subject import example_queries
from tests import tiny_chat
from tests.chats_by_hand import Plain, columns, eager, image_tokens, inputs_of

QUERIES = example_queries()
QUERY = QUERIES[0]
NEED = frozenset(
    {ANSWER, EACH_WORD, ReadingKey("rollout", residual=0.5), ReadingKey("rollout"),
     ReadingKey("relevance"), ANSWER._replace(heads="max"), ANSWER._replace(heads=(2,))}
)  # fmt: skip


def test_logits_are_those_of_plain_transformers(model: ChatModel, plain: Plain) -> None:
    for query in QUERIES:
        inputs = inputs_of(plain, model, query)
        with torch.no_grad():
            expected = plain[0](**inputs).logits[0, -1]
            logits = model._first([model.prompt(query)], None)[0]
        assert (logits - expected).abs().max() <= 2e-6


def test_the_answers_row_is_that_of_eager_attention(
    family: str, model: ChatModel, plain: Plain
) -> None:
    for query in QUERIES:
        (trace,) = model.trace([query], NEED)
        inputs = inputs_of(plain, model, query)
        cells = trace.grid.rows * trace.grid.cols
        at = columns(plain, family, inputs, cells)
        with torch.no_grad():
            rows = torch.stack([a[0, :, -1] for a in eager(plain, inputs).attentions])
        for heads, expected in (
            ("mean", rows.mean(1)), ("max", rows.amax(1)), ((2,), rows[:, 1]),
        ):  # fmt: skip
            reading = trace.readings[ANSWER._replace(heads=heads)]
            wanted = expected[:, at].numpy().reshape(reading.cells.shape)
            np.testing.assert_allclose(reading.cells, wanted, atol=1e-6, rtol=0)
        fell = rows.mean(1)[:, image_tokens(plain, inputs)].sum(1)
        np.testing.assert_allclose(trace.readings[ANSWER].share, fell.numpy(), atol=1e-6)


def test_a_words_rows_are_those_of_its_tokens(family: str, model: ChatModel, plain: Plain) -> None:
    query = QUERIES[2]
    (trace,) = model.trace([query], frozenset({EACH_WORD}))
    inputs = inputs_of(plain, model, query)
    ids, words = inputs["input_ids"][0], plain[1].tokenizer
    at = columns(plain, family, inputs, trace.grid.rows * trace.grid.cols)
    with torch.no_grad():
        attentions = torch.stack([a[0].mean(0) for a in eager(plain, inputs).attentions])
    # Where the text's tokens end, counted by what they spell.
    spelt = [words.decode(ids[k:]).count(query.text) for k in range(len(ids))]
    first = max(k for k, times in enumerate(spelt) if times)
    for place, word in enumerate(trace.words):
        tokens = [first + t for t in word.tokens]
        assert word.text in words.decode(ids[tokens]).lower()
        expected = attentions[:, tokens].mean(1)[:, at]
        reading = trace.readings[EACH_WORD._replace(word=place)]
        wanted = expected.numpy().reshape(reading.cells.shape)
        np.testing.assert_allclose(reading.cells, wanted, atol=1e-6, rtol=0)


def test_a_batch_of_unequal_pictures_and_texts_equals_single_calls(model: ChatModel) -> None:
    queries = [*QUERIES, *reversed(QUERIES)]
    for query, together in zip(queries, model.trace(queries, NEED), strict=True):
        (alone,) = model.trace([query], NEED)
        for label, p in alone.probabilities.items():
            assert together.probabilities[label] == pytest.approx(p, abs=1e-5)
        assert together.readings.keys() == alone.readings.keys()
        for key, reading in alone.readings.items():
            np.testing.assert_allclose(together.readings[key].cells, reading.cells, atol=1e-5)
            np.testing.assert_allclose(together.readings[key].share, reading.share, atol=1e-5)


def test_labels_are_the_sums_of_whole_answers_that_generate_gives(
    family: str, folder_of: Callable[[str], Path], plain: Plain
) -> None:
    answers = {"yes": ["Yes", "there are two"], "no": ["No"], "maybe": ["a red square", "Is"]}
    asking = Asking(answers=answers)
    model = ChatModel(found(f"hf:{folder_of(family)}"), device="cpu", asking=asking)
    query = QUERIES[1]
    inputs = inputs_of(plain, model, query)
    length = inputs["input_ids"].shape[1]
    if "token_type_ids" not in inspect.signature(plain[0].forward).parameters:
        inputs.pop("token_type_ids", None)  # generate refuses what a pass alone ignores
    masses = {}
    for label, several in answers.items():
        masses[label] = 0.0
        for answer in several:
            ids = plain[1].tokenizer(answer, add_special_tokens=False)["input_ids"]
            forced = plain[0].generate(
                **inputs, max_new_tokens=len(ids), do_sample=False, output_logits=True,
                return_dict_in_generate=True, eos_token_id=None, pad_token_id=0,
                prefix_allowed_tokens_fn=lambda _, so_far, ids=ids: [ids[len(so_far) - length]],
            )  # fmt: skip
            steps = zip(forced.logits, ids, strict=True)
            masses[label] += float(sum(s[0].log_softmax(-1)[i] for s, i in steps).exp())
    (trace,) = model.trace([query])
    total = sum(masses.values())
    assert trace.probabilities == pytest.approx({k: v / total for k, v in masses.items()}, rel=1e-4)
    assert trace.label == max(masses, key=masses.__getitem__)


def dense_rollout(attentions: NDArray[np.float64], shares: NDArray[np.float64]) -> Any:
    """The row of each layer times the mixtures of all layers below it: (layers, tokens)."""
    found, product = [], np.eye(attentions.shape[-1])
    for attention, share in zip(attentions, shares, strict=True):
        found.append(attention[-1] @ product)
        product = (share[:, None] * attention + np.diag(1 - share)) @ product
    return np.stack(found)


def test_rollout_is_the_product_of_all_layers_mixtures(
    family: str, model: ChatModel, plain: Plain
) -> None:
    (trace,) = model.trace([QUERY], NEED)
    inputs = inputs_of(plain, model, QUERY)
    at = columns(plain, family, inputs, trace.grid.rows * trace.grid.cols)
    text = plain[0].model
    layers = (text.language_model if hasattr(text, "language_model") else text.text_model).layers
    sizes: list[list[Tensor]] = []
    hooks = []
    for layer in layers:
        added = layer.post_attention_layernorm if family == "gemma3" else layer.self_attn
        seen: list[Tensor] = []
        sizes.append(seen)

        def into(_: Any, args: Any, seen: list[Tensor] = seen) -> None:
            seen.append(args[0][0].norm(dim=-1))

        def out(_: Any, __: Any, given: Any, seen: list[Tensor] = seen) -> None:
            seen.append((given[0] if isinstance(given, tuple) else given)[0].norm(dim=-1))

        hooks += [layer.register_forward_pre_hook(into), added.register_forward_hook(out)]
    with torch.no_grad():
        attentions = torch.stack([a[0].mean(0) for a in eager(plain, inputs).attentions])
    for hook in hooks:
        hook.remove()
    measured = torch.stack([added / (added + before) for before, added in sizes]).double().numpy()
    for key, shares in (
        (ReadingKey("rollout", residual=0.5), np.full(measured.shape, 0.5)),
        (ReadingKey("rollout"), measured),
    ):
        expected = dense_rollout(attentions.double().numpy(), shares)[:, at.numpy()]
        cells = trace.readings[key].cells
        np.testing.assert_allclose(cells, expected.reshape(cells.shape), atol=1e-6)


def test_relevance_is_attention_times_the_positive_gradient_of_the_margin(
    family: str, folder_of: Callable[[str], Path], plain: Plain
) -> None:
    model = ChatModel(
        found(f"hf:{folder_of(family)}"), device="cpu",
        asking=Asking(answers={"yes": ["Y"], "no": ["N"], "maybe": ["I"]}),
    )  # fmt: skip
    # PaliGemma's prompt sees its last token everywhere, so that only in the last layer nothing but
    # the row itself carries a gradient.
    start = 2 if family == "paligemma" else 1
    key = ReadingKey("relevance", start_layer=start)
    (trace,) = model.trace([QUERY], frozenset({key}))
    inputs = inputs_of(plain, model, QUERY)
    at = columns(plain, family, inputs, trace.grid.rows * trace.grid.cols)
    given = eager(plain, inputs)
    for attention in given.attentions:
        attention.retain_grad()
    ids = [plain[1].tokenizer.convert_tokens_to_ids(x) for x in "YNI"]
    logs = given.logits[0, -1].log_softmax(-1)[ids]
    first, second = logs.topk(2).values
    (first - second).backward()
    products = torch.stack([(a * a.grad.clamp_min(0))[0, :, -1] for a in given.attentions])
    plain[0].zero_grad(set_to_none=True)
    expected = products[start - 1 :].mean((0, 1))[at].detach().numpy()
    cells = trace.readings[key].cells
    assert cells.max() > 0
    np.testing.assert_allclose(cells.ravel(), expected, atol=1e-6, rtol=1e-4)


def test_the_margin_of_longer_answers_is_differentiated_through_all_their_tokens(
    folder_of: Callable[[str], Path], plain_of: Callable[[str], Plain]
) -> None:
    answers = {"yes": ["there are two"], "no": ["No", "a red"]}
    plain = plain_of("llava")
    model = ChatModel(
        found(f"hf:{folder_of('llava')}"), device="cpu", asking=Asking(answers=answers)
    )
    key = ReadingKey("relevance")
    (trace,) = model.trace([QUERY], frozenset({key}))
    inputs = inputs_of(plain, model, QUERY)
    length = inputs["input_ids"].shape[1]
    at = columns(plain, "llava", inputs, trace.grid.rows * trace.grid.cols)
    scores, attended = {}, []
    for label, several in answers.items():
        logs = []
        for answer in several:
            ids = plain[1].tokenizer(answer, add_special_tokens=False)["input_ids"]
            longer = torch.cat([inputs["input_ids"], torch.tensor([ids])], 1)
            given = eager(
                plain, {**inputs, "input_ids": longer, "attention_mask": torch.ones_like(longer)}
            )
            attended.append(given.attentions)
            for attention in given.attentions:
                attention.retain_grad()
            steps = given.logits[0, length - 1 : -1].log_softmax(-1)
            logs.append(steps[torch.arange(len(ids)), ids].sum())
        scores[label] = torch.stack(logs).logsumexp(0)
    other = next(label for label in answers if label != trace.label)
    (scores[trace.label] - scores[other]).backward()
    # The prompt's row is the same in each answer's pass, and its gradients add up.
    expected = torch.zeros(len(at))
    for layer in zip(*attended, strict=True):
        gradient = sum(a.grad[0, :, length - 1, :length] for a in layer)
        row = layer[0][0, :, length - 1, :length]
        expected += (row * gradient.clamp_min(0)).mean(0)[at].detach() / len(attended[0])
    plain[0].zero_grad(set_to_none=True)
    cells = trace.readings[key].cells
    np.testing.assert_allclose(cells.ravel(), expected.numpy(), atol=1e-6, rtol=1e-4)


def test_every_family_of_the_table_is_tested() -> None:
    from audit.models.hf.families import FAMILIES

    chats = {name for name, family in FAMILIES.items() if not family.decoder}
    assert set(tiny_chat.MAKERS) == chats  # the others are tested in test_prompted_parity.py
