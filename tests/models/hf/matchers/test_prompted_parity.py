"""Florence-2 answers as plain transformers does, and its readings are those of eager attention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit.base.errors import ModelError, TextError
from audit.maps.trace import ANSWER, EACH_HEAD, EACH_WORD, ReadingKey
from audit.models.hf.prompted import PromptedModel
from audit.models.hf.sources import found
from audit.models.kit.asking import Asking
from audit.models.kit.conformance import check_adapter
from audit.models.kit.quiet import quiet
from audit.models.kit.subject import example_queries
from audit.models.protocol import Query
from tests import prompted_by_hand as by_hand
from tests.prompted_by_hand import CELLS, begin

QUERIES = example_queries()
LONG = Asking(answers={"yes": ["Yes", "yes it is"], "no": ["No", "not at all"], "maybe": ["birds"]})


@pytest.fixture(scope="module")
def plain(prompted_folder: Path) -> tuple[Any, Any]:
    with quiet():
        network = AutoModelForImageTextToText.from_pretrained(prompted_folder)
        return network.eval(), AutoProcessor.from_pretrained(prompted_folder)


@pytest.fixture(scope="module")
def model(prompted_folder: Path) -> PromptedModel:
    return PromptedModel(found(f"hf:{prompted_folder}"), device="cpu", asking=LONG)


def asked(plain: tuple[Any, Any], query: Query) -> Any:
    return by_hand.asked(plain, query, LONG)


def eager(plain: tuple[Any, Any], query: Query, fed: Sequence[int]) -> Any:
    return by_hand.eager(plain, query, fed, LONG)


def test_logits_are_those_of_plain_transformers(
    model: PromptedModel, plain: tuple[Any, Any]
) -> None:
    for query in QUERIES:
        with torch.no_grad():
            expected = plain[0](
                **asked(plain, query), decoder_input_ids=torch.tensor([begin(plain)])
            ).logits[0, -1]
            logits, _ = model._first([model.prompt(query)])
        assert (logits[0] - expected).abs().max() <= 2e-6


def test_whole_answers_have_the_probability_that_training_would_give_them(
    model: PromptedModel, plain: tuple[Any, Any]
) -> None:
    network, processor = plain
    (trace,) = model.trace([QUERIES[0]])
    masses = {}
    for label, answers in LONG.answers.items():
        total = 0.0
        for answer in answers:
            tokens = processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
            fed = torch.tensor([[*begin(plain), *tokens]])
            with torch.no_grad():
                logits = network(**asked(plain, QUERIES[0]), decoder_input_ids=fed).logits[0]
            logs = logits.log_softmax(-1)
            total += float(sum(logs[1 + n, token] for n, token in enumerate(tokens)).exp())
        masses[label] = total
    whole = sum(masses.values())
    for label, mass in masses.items():
        assert trace.probabilities[label] == pytest.approx(mass / whole, abs=1e-6)


def test_rows_are_those_of_eager_attention(model: PromptedModel, plain: tuple[Any, Any]) -> None:
    expected = eager(plain, QUERIES[1], begin(plain))
    (trace,) = model.trace([QUERIES[1]], frozenset({ANSWER, EACH_HEAD, EACH_WORD}))
    heads = torch.cat([w[0, :, -1, CELLS] for w in expected.cross_attentions]).detach().numpy()
    assert np.abs(trace.readings[EACH_HEAD].cells.reshape(heads.shape) - heads).max() <= 1e-6

    def off(key: ReadingKey, rows: Sequence[Tensor]) -> float:
        cells = torch.stack([row.mean(0)[CELLS] for row in rows]).detach().double().numpy()
        return float(np.abs(trace.readings[key].cells.reshape(cells.shape) - cells).max())

    assert off(ANSWER, [w[0, :, -1] for w in expected.cross_attentions]) <= 1e-6
    text = asked(plain, QUERIES[1])["input_ids"][0].tolist()
    for place, word in enumerate(trace.words):
        if word.text != "coloured":
            continue
        start = model.prompt(QUERIES[1]).first
        tokens = [start + token for token in word.tokens]
        spelt = plain[1].tokenizer.decode([text[token] for token in tokens])
        assert spelt.strip() == "coloured"
        rows = [w[0, :, tokens].mean(1) for w in expected.encoder_attentions]
        assert off(EACH_WORD._replace(word=place), rows) <= 1e-6
        return
    pytest.fail("the word is not there")


def test_relevance_is_attention_times_its_gradient_over_all_answers(
    model: PromptedModel, plain: tuple[Any, Any]
) -> None:
    (trace,) = model.trace([QUERIES[0]], frozenset({ReadingKey("relevance")}))
    tokens = {
        label: [plain[1].tokenizer(a, add_special_tokens=False)["input_ids"] for a in answers]
        for label, answers in LONG.answers.items()
    }
    scores, weights = [], []
    for group in tokens.values():
        logs = []
        for each in group:
            given = eager(plain, QUERIES[0], [*begin(plain), *each[:-1]])
            log = given.logits[0].log_softmax(-1)
            logs.append(sum(log[1 + n, token] for n, token in enumerate(each)))
            weights.append(given.cross_attentions)
        scores.append(torch.stack(logs).logsumexp(0))
    ranked = sorted(scores, key=lambda score: float(score.detach()), reverse=True)
    target = ranked[0] - ranked[1]
    cells = []
    for layer in range(len(weights[0])):
        gradients = torch.autograd.grad(
            target, [w[layer] for w in weights], retain_graph=True, allow_unused=True
        )
        total = sum(g[0, :, 1] for g in gradients if g is not None)
        cells.append((weights[0][layer][0, :, 1] * total.clamp_min(0)).mean(0)[CELLS])
    expected = torch.stack(cells).mean(0).detach().double().numpy()
    reading = trace.readings[ReadingKey("relevance")].cells.ravel()
    assert expected.max() > 0
    assert np.abs(reading - expected).max() <= 1e-5 * expected.max()


def test_a_batch_answers_as_single_calls_do(model: PromptedModel) -> None:
    together = model.trace(QUERIES)
    for query, trace in zip(QUERIES, together, strict=True):
        (alone,) = model.trace([query])
        for label, p in alone.probabilities.items():
            assert trace.probabilities[label] == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize(
    ("asking", "said"),
    [
        ({"question": "<OCR> {text}"}, "<OCR>"),
        ({"system": "Be brief."}, "no system message"),
    ],
)
def test_what_florence_cannot_be_asked_is_refused_when_it_is_loaded(
    prompted_folder: Path, asking: dict[str, str], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        PromptedModel(found(f"hf:{prompted_folder}"), device="cpu", asking=Asking(**asking))


def test_a_text_that_names_a_task_is_refused(model: PromptedModel) -> None:
    with pytest.raises(TextError, match="<OD>"):
        model.trace([Query(QUERIES[0].image, "all <OD> here")])


@pytest.mark.slow
def test_florence_conforms(model: PromptedModel, prompted_folder: Path) -> None:
    again = cache(lambda: PromptedModel(found(f"hf:{prompted_folder}"), device="cpu", asking=LONG))
    check_adapter(model, load=again)
