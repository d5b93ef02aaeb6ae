"""Texts as models see them: nothing is cut, dropped or taken for a mark without a word."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from audit import load_model
from audit.base.errors import TextError
from audit.base.texts import readable
from audit.cases.loading import load_cases
from audit.gate.outcomes import State
from audit.models.ofa.text import prompt_of
from audit.models.protocol import Query
from audit.runs.runner import audit_cases
from tests.checkpoints import make_checkpoint
from tests.models.test_models import pipeline_of

PICTURE = Image.new("RGB", (40, 40), "red")
BIRD = "there are two birds on a branch"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", seed=3)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(str(folder), device="cpu")


@pytest.fixture(scope="module")
def ask(folder: Path) -> Any:
    """modelscope's own pipeline over the same checkpoint."""
    return pipeline_of(folder)


def told(model: Any, text: str, premise: str | None = None) -> str:
    with pytest.raises(TextError) as caught:
        model.trace([Query(PICTURE, text, premise)])
    return str(caught.value)


def test_the_last_token_that_fits_is_read_and_one_more_is_refused(model: Any) -> None:
    # A zero is one token, with its space two: the vocabulary was made of texts without digits.
    (trace,) = model.trace([Query(PICTURE, "0")])
    frame = len(trace.tokens) - 2 - 1  # without the marks and the zero
    fits = "0" * (80 - frame)
    (trace,) = model.trace([Query(PICTURE, fits)])
    assert len(trace.tokens) == 82
    assert told(model, fits + "0").startswith("the prompt has 81 tokens with this text, and 80 fit")


def test_a_premise_that_pushes_the_hypothesis_out_is_refused(model: Any) -> None:
    said = told(model, "a cat sleeps", "0" * 100)
    assert "and 80 fit: the model would not see its end; shorten the texts, or allow it" in said


@pytest.mark.parametrize(
    ("text", "premise"), [("a dog runs on " * 30, None), ("a cat sleeps", "it is not " * 40)]
)
def test_what_a_case_allows_to_be_cut_is_answered_as_the_pipeline_does(
    model: Any, ask: Any, tmp_path: Path, text: str, premise: str | None
) -> None:
    PICTURE.save(tmp_path / "a.png")
    data = {"image": str(tmp_path / "a.png"), "text": text}
    label, score = ask(data if premise is None else {**data, "text2": premise})
    (trace,) = model.trace([Query(PICTURE, text, premise, truncate=True)])
    assert len(trace.tokens) == 82
    assert (trace.label, trace.probabilities[label]) == (label, pytest.approx(score, abs=1e-5))


@pytest.mark.parametrize("text", ["...", "?", "-", "*#:;~!", "/"])
def test_a_text_that_the_preprocessor_empties_is_refused(model: Any, text: str) -> None:
    assert told(model, text).startswith(f"nothing is left of the hypothesis {text!r}")
    assert told(model, BIRD, text).startswith(f"nothing is left of the premise {text!r}")


@pytest.mark.parametrize(
    "text", ["there are two birds\n  on a branch\n", "there are\ttwo\r\nbirds on a \u2028branch"]
)
def test_line_breaks_and_tabs_are_spaces_to_every_model(
    model: Any, ask: Any, tmp_path: Path, text: str
) -> None:
    PICTURE.save(tmp_path / "a.png")
    (trace,) = model.trace([Query(PICTURE, text, text)])
    assert trace.prompt == f' can image and text1 " {BIRD} " imply text2 " {BIRD} "?'
    label, score = ask({"image": str(tmp_path / "a.png"), "text": BIRD, "text2": BIRD})
    assert trace.probabilities[label] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("mark", ["<s>", "</s>", "<pad>", "<unk>", "<mask>", "<code_1>", "<bin_1>"])
def test_a_mark_of_the_tokenizer_in_a_text_is_text(model: Any, mark: str) -> None:
    query = Query(PICTURE, f"two {mark} birds")
    (trace,) = model.trace([query])
    (sample,) = model._samples([query])
    tokenizer = model.preprocessing.tokenizer
    ids = sample["source"].tolist()
    # Of the marks there are those at both ends, and of the 9,192 codes and places none.
    assert [i for i in ids if i in tokenizer.all_special_ids or i >= tokenizer.vocab_size] == [
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    ]
    assert tuple(tokenizer.convert_ids_to_tokens(ids)) == trace.tokens
    said = "".join(trace.tokens[1:-1])
    assert bytes(tokenizer.byte_decoder[c] for c in said).decode() == trace.prompt
    birds = trace.words[-1]
    assert birds.text == "birds"
    assert trace.words[0].text == "two"


@pytest.mark.parametrize(
    "text",
    ["two bi\u200brds", "e\u0301le\u0301phant", "鸟在树上", "🐦 on a branch", "İstanbul", "ไม่"],
)
def test_zero_width_and_combining_characters_keep_words_in_place(model: Any, text: str) -> None:
    query = Query(PICTURE, text)
    (trace,) = model.trace([query])
    begin = prompt_of(query, model.preprocessing, None).span[0]
    decoder = model.preprocessing.tokenizer.byte_decoder
    for word in trace.words:
        pieces = "".join(trace.tokens[begin + i] for i in word.tokens)
        spelled = bytes(decoder[c] for c in pieces).decode(errors="ignore")
        # Words are composed, as "é" of one sign, however the text spells them.
        assert word.text in unicodedata.normalize("NFC", spelled.lower())


@pytest.mark.parametrize("text", ["a" * 1_000_000, "birds " * 200_000, "\n" * 1_000_000])
def test_endless_texts_are_refused_at_once(model: Any, text: str) -> None:
    started = time.process_time()
    with pytest.raises(TextError, match=r"has 1,[02]00,000 characters, more than the limit"):
        model.trace([Query(PICTURE, text)])
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the hypothesis is empty"),
        (" \n\t", "the hypothesis is empty"),
        ("\u3000\u200b", "the hypothesis is empty but for white space"),
        ("bird \ud83d", "half a character (the lone surrogate U+D83D)"),
        ("bird\x1b[31m", "a control character (U+001B)"),
        (None, "the hypothesis is not a text but NoneType"),
    ],
)
def test_a_query_of_no_readable_text_is_refused(text: Any, said: str) -> None:
    for query in ((text, None), (BIRD, text)) if text is not None else ((text, None),):
        with pytest.raises(TextError) as caught:
            Query(PICTURE, *query)
        assert said.removeprefix("the hypothesis ") in str(caught.value)


def test_an_ordinary_text_is_left_as_it_is() -> None:
    for text in (BIRD, "  two  spaces ", "ten\u00a0km", "鸟\u3000在", "👨\u200d👩\u200d👧"):
        assert readable(text) == text


CASES = """\
cases:
  - {id: short, image: a.png, text: a dog runs, expect: {label: LABEL}}
  - {id: long, image: a.png, text: LONG, expect: {label: LABEL}}
  - {id: cut, image: a.png, text: LONG, truncate: true, expect: {label: LABEL}}
"""


def test_a_case_that_would_be_cut_is_an_error_of_its_own_with_its_place(
    model: Any, tmp_path: Path
) -> None:
    PICTURE.save(tmp_path / "a.png")
    (trace,) = model.trace([Query(PICTURE, "a dog runs")])
    path = tmp_path / "x.yaml"
    path.write_text(CASES.replace("LONG", "birds " * 90).replace("LABEL", f"'{trace.label}'"))
    cases = load_cases(path)
    short, long, cut = (found.outcome for found in audit_cases(cases, model))
    assert short.state is State.PASSED
    assert long.state is State.ERROR
    assert long.sentence.startswith(f"{path}:3: the prompt has ")
    assert cut.label in model.labels


def test_the_digest_of_a_case_knows_of_cutting_only_where_it_is_allowed(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    path = tmp_path / "x.yaml"
    found = []
    for more in ("", ", truncate: false", ", truncate: true"):
        path.write_text(
            f"cases:\n  - {{id: a, image: a.png, text: a dog{more}, expect: {{label: yes}}}}\n"
        )
        found.append(load_cases(path)[0].digest)
    assert found[0] == found[1] != found[2]
