"""Whatever a model does with one picture costs that picture's case, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.base.errors import MapError, ModelError, NotFinite, Unavailable, in_a_sentence
from audit.base.geometry import Grid
from audit.base.settings import Settings
from audit.cases.loading import Case, load_cases
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER, EACH_WORD, NOTHING_MORE, Need, Reading, Trace
from audit.models.protocol import Query
from audit.report.gallery import write_gallery
from audit.runs.asking import Patience
from audit.runs.evidence import gather
from audit.runs.session import Auditor
from tests.projects import stored_in
from tests.toy_model import ToyModel

NAN = float("nan")


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message either")


class FailsAt(ToyModel):
    """The toy, which does something of its own where a text has the word ``odd``."""

    def __init__(self, what: Callable[[Trace], Trace], word: str = "odd") -> None:
        self.what, self.word, self.sizes = what, word, list[int]()

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        self.sizes.append(len(queries))
        found = super().trace(queries, need)
        return [
            self.what(trace) if self.word in query.text else trace
            for query, trace in zip(queries, found, strict=True)
        ]


def raising(error: BaseException) -> Callable[[Trace], Trace]:
    def what(trace: Trace) -> Trace:
        raise error

    return what


def cases(folder: Path, *texts: str, more: str = "") -> list[Case]:
    Image.new("RGB", (40, 40), "white").save(folder / "white.png")
    path = folder / "case.yaml"
    path.write_text(
        "cases:\n"
        + "".join(
            f"  - {{id: c{n}, image: white.png, text: {text}, expect: {{label: yes{more}}}}}\n"
            for n, text in enumerate(texts)
        )
    )
    return load_cases(path)


def three(folder: Path, what: Callable[[Trace], Trace], more: str = "") -> list[Outcome]:
    """The second of three cases is the odd one."""
    asked = cases(folder, "a bird", "an odd bird", "two birds", more=more)
    return stored_in(Run(folder / "run"), asked, FailsAt(what))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("mat1 and mat2\nhave \x1b[31mother shapes"),
         r"RuntimeError: mat1 and mat2 have \x1b[31mother shapes"),
        (KeyError("head"), "KeyError: 'head'"),
        (AssertionError(), "AssertionError"),
        (MemoryError("Unable to allocate 3 GiB"), "MemoryError: Unable to allocate 3 GiB"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
         "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: "
         "invalid start byte"),
        (ModelError("the text has no token"), "the text has no token"),
        (OSError("half a pair: \ud800"), r"OSError: half a pair: \ud800"),
        (Odd(), "Odd"),
    ],
)  # fmt: skip
def test_an_exception_at_one_case_is_the_error_of_that_case_alone(
    tmp_path: Path, error: Exception, sentence: str
) -> None:
    before, odd, after = three(tmp_path, raising(error))
    assert (before.state, after.state) == (State.PASSED, State.PASSED)
    assert (odd.state, odd.sentence) == (State.ERROR, sentence)
    stored = {o.case: o for o in Run(tmp_path / "run").outcomes()}
    assert stored["c1"].sentence == sentence
    assert stored["c0"].label == stored["c2"].label == "yes"


def test_ctrl_c_while_a_model_answers_ends_the_session(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        three(tmp_path, raising(KeyboardInterrupt()))


def infinite_somewhere(trace: Trace) -> Trace:
    odd = trace.readings[ANSWER].cells.copy()
    odd[0, 0, 3] = np.inf
    return with_answer(trace, cells=odd)


def with_answer(trace: Trace, **changed: Any) -> Trace:
    """The trace with another reading of where the model looked when it answered."""
    return replace(trace, readings={ANSWER: trace.readings[ANSWER]._replace(**changed)})


def with_first_word(trace: Trace, cells: float) -> Trace:
    reading = Reading(np.full((2, 4, 4), cells), np.full(2, 0.5))
    return replace(trace, readings={**trace.readings, EACH_WORD._replace(word=0): reading})


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (lambda t: replace(t, probabilities=dict.fromkeys(t.probabilities, NAN)),
         "the model's answers are not numbers: its probabilities are not finite: "
         "no nan, yes nan, maybe nan"),
        (lambda t: replace(t, probabilities={**t.probabilities, "no": float("inf")}),
         "the model's answers are not numbers: its probabilities are not finite: no inf"),
        (infinite_somewhere,
         "the model's answers are not numbers: its answer attention is not finite"),
        (lambda t: with_answer(t, share=np.full(2, NAN)),
         "the model's answers are not numbers: its answer attention is not finite"),
        (lambda t: with_answer(t, weight=np.full(2, NAN)),
         "the model's answers are not numbers: its answer attention is not finite"),
        (lambda t: with_first_word(t, NAN),
         "the model's answers are not numbers: its word attention is not finite"),
        (lambda t: with_first_word(t, -0.1),
         "the model's word attention is negative somewhere; attention cannot be"),
        (lambda t: with_answer(t, share=np.full(2, 1.1)),
         "the model's answer attention has an image share outside of 0 to 1"),
        (lambda t: with_answer(t, share=np.full(3, 0.5)),
         "the model's answer attention has image shares of the shape (3,) for 2 layers"),
        (lambda t: with_answer(t, cells=np.ones((2, 1, 5))),
         "the model's answer attention is of the shape (2, 1, 5); with its grid it must be "
         "(layers, 4, 4)"),
        (lambda t: with_answer(t, cells=np.ones((0, 4, 4)), share=np.ones(0), weight=None),
         "the model's answer attention is of the shape (0, 4, 4); with its grid it must be "
         "(layers, 4, 4)"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_one_is_the_error_of_its_case_and_no_file_holds_nan(
    tmp_path: Path, what: Callable[[Trace], Trace], sentence: str
) -> None:
    before, odd, after = three(tmp_path, what)
    assert (before.state, odd.state, after.state) == (State.PASSED, State.ERROR, State.PASSED)
    assert odd.sentence == sentence
    run = Run(tmp_path / "run")
    for path in (run.folder / "outcomes").glob("*.npz"):
        with np.load(path) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files), path
    text = (run.folder / "outcomes" / "c1.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


SHARES = {"no": 0.05, "yes": 0.9, "maybe": 0.05}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"probabilities": {**SHARES, "yes": 5}},
         "the model's probability of yes is 5; it must be between 0 and 1"),
        ({"probabilities": {"no": -1, "yes": 1, "maybe": 1}},
         "the model's probability of no is -1; it must be between 0 and 1"),
        ({"probabilities": {**SHARES, "yes": 0.8}},
         "the model's probabilities sum to 0.9; they must sum to 1"),
        ({"probabilities": {**SHARES, "yes": "much"}},
         "the model's probability of yes is of the type str; it must be a number"),
        ({"probabilities": {"yes": True}},
         "the model's probability of yes is of the type bool; it must be a number"),
        ({"probabilities": {1: 1.0}},
         "among the model's answers is of the type int; they must be text"),
        ({"probabilities": {}}, "the model's probabilities must be a number for each answer"),
        ({"probabilities": None}, "the model's probabilities must be a number for each answer"),
        ({"label": None}, "the model's label is None; it must be text"),
        ({"label": 1}, "the model's label is of the type int; it must be text"),
        ({"label": "perhaps"},
         "the model's label 'perhaps' is not among the answers that it gives probabilities for: "
         "no, yes, maybe"),
        ({"prompt": None}, "the model's prompt is None; it must be text"),
        ({"tokens": ("a", 5)}, "among the model's tokens is of the type int; they must be text"),
        ({"grid": Grid(0, 4)}, "the model's grid is (0, 4); it must have whole rows, cols"),
        (None, "the model gave None instead of a Trace"),
    ],
)  # fmt: skip
def test_an_answer_without_sense_is_the_error_of_its_case_and_the_run_can_be_read(
    tmp_path: Path, changed: dict[str, Any] | None, sentence: str
) -> None:
    before, odd, after = three(tmp_path, lambda t: changed and replace(t, **changed))
    assert (before.state, odd.state, after.state) == (State.PASSED, State.ERROR, State.PASSED)
    assert odd.sentence == sentence
    assert {o.case for o in Run(tmp_path / "run").outcomes()} == {"c0", "c1", "c2"}


def test_probabilities_of_another_type_and_a_rounding_off_are_an_answer(tmp_path: Path) -> None:
    rounded = {"no": np.float32(-5e-7), "yes": np.float32(1 + 5e-7), "maybe": 0}
    _, odd, _ = three(tmp_path, lambda t: replace(t, probabilities=rounded))
    assert odd.state is State.PASSED
    assert Run(tmp_path / "run").outcome("c1").probabilities == {"no": 0, "yes": 1, "maybe": 0}


@pytest.mark.parametrize(
    "more",
    [
        ", attention: [{metric: deletion, max: 1}]",
        ", attention: [{map: {method: occlusion}, metric: entropy, min: 0}]",
        ", attention: [{map: {subtract: blank}, metric: entropy, min: 0}]",
    ],
)
@pytest.mark.parametrize("kind", ["raises", "nan"])
def test_a_failure_at_the_further_questions_of_a_case_is_its_own(
    tmp_path: Path, more: str, kind: str
) -> None:
    class Later(ToyModel):
        """Fails at pictures that are not files: hidden, grey and blurred ones of one case."""

        def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
            found = super()._one(query, need)
            if isinstance(query.image, Path) or "odd" not in query.text:
                return found
            if kind == "raises":
                raise IndexError("no such window")
            return replace(found, probabilities=dict.fromkeys(found.probabilities, NAN))

    asked = cases(tmp_path, "a bird", "an odd bird", "two birds", more=more)
    before, odd, after = stored_in(Run(tmp_path / "run"), asked, Later())
    assert odd.state is State.ERROR
    said = "IndexError: no such window" if kind == "raises" else "probabilities are not finite"
    assert said in odd.sentence
    # The toy's map is the same whatever the picture: what has no value is no error of the model.
    assert State.ERROR not in (before.state, after.state)
    assert before.state is after.state


def test_a_figure_that_cannot_be_measured_is_the_error_of_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import audit.runs.runner

    measured = audit.runs.runner.measure_case

    def measure(case: Case, *more: Any) -> Any:
        if case.id == "c1":
            raise ZeroDivisionError("division by zero")
        return measured(case, *more)

    monkeypatch.setattr(audit.runs.runner, "measure_case", measure)
    before, odd, after = three(tmp_path, lambda trace: trace)
    assert (before.state, after.state) == (State.PASSED, State.PASSED)
    assert (odd.state, odd.sentence) == (State.ERROR, "ZeroDivisionError: division by zero")


def test_an_outcome_that_cannot_be_stored_is_an_error_and_proposes_nothing(
    tmp_path: Path,
) -> None:
    asked = cases(tmp_path, "a bird", "an odd bird", "two birds")
    run = Run(tmp_path / "run")
    # A folder stands where the outcome's file is to be.
    (run.folder / "outcomes" / "c1.json").mkdir(parents=True)
    policy = Policy(tmp_path / "baselines", "new")
    before, odd, after = stored_in(run, asked, ToyModel(), policy)
    assert (before.state, after.state) == (State.PASSED, State.PASSED)
    assert odd.state is State.ERROR
    assert odd.sentence.startswith("the outcome could not be stored: IsADirectoryError: ")
    proposed = {path.stem for path in run.proposals.glob("*.json")}
    assert proposed == {"c0", "c2"}


def test_errors_are_in_the_results_and_in_the_gallery(tmp_path: Path) -> None:
    three(tmp_path, raising(RuntimeError("<b>other shapes</b>")))
    run = Run(tmp_path / "run")
    run.start({"model": ToyModel.fingerprint.to_dict(), "labels": list(ToyModel.labels)})
    run.finish({"suite": None})
    results = json.loads((run.folder / "results.json").read_text())
    assert results["totals"] == {"error": 1, "passed": 2}
    page = write_gallery(run, "failed").read_text()
    assert "RuntimeError: &lt;b&gt;other shapes" in page


def test_a_question_of_a_python_test_is_refused_an_answer_that_is_not_finite() -> None:
    model = FailsAt(lambda t: replace(t, probabilities=dict.fromkeys(t.probabilities, NAN)))
    with pytest.raises(NotFinite, match="probabilities are not finite"):
        gather(model, [Query(Image.new("RGB", (8, 8)), "odd")], [[MapSpec()]], 1)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, Unavailable])
def test_a_model_that_fails_at_every_case_is_not_asked_for_minutes(
    tmp_path: Path, kind: type[Exception]
) -> None:
    model = FailsAt(raising(kind("broken")), "bird")
    asked = cases(tmp_path, *(f"bird {n}" for n in range(30)))
    auditor = Auditor(Settings("toy", "cpu", "float32", 4, None, "", tmp_path / "run", "id"))
    auditor.model = model  # type: ignore[misc]
    auditor._answers.patience = Patience(seconds=0.0)
    found = [auditor.outcome(case, lambda n=n: asked[n + 1 :]) for n, case in enumerate(asked)]
    # Two batches of four, each asked once whole and then singly.
    assert model.sizes == [4, 1, 1, 1, 1, 4, 1, 1, 1, 1]
    assert {o.state for o in found} == {State.ERROR}
    told = in_a_sentence(kind("broken"))
    assert [o.sentence for o in found[:8]] == [told] * 8
    assert found[8].sentence == found[29].sentence
    assert found[8].sentence.startswith("not asked: the model failed at all 8 cases before")
    assert found[8].sentence.endswith(f"at the last one: {told}")


@pytest.mark.parametrize("of_the_case", [True, False])
def test_a_model_that_answered_once_or_cases_that_ask_too_much_do_not_end_the_asking(
    tmp_path: Path, of_the_case: bool
) -> None:
    error = MapError("no such layer") if of_the_case else RuntimeError("broken")
    texts = [f"odd bird {n}" for n in range(20)]
    asked = cases(tmp_path, *texts, "a bird") if of_the_case else cases(tmp_path, "a bird", *texts)
    patience, model = Patience(seconds=0.0), FailsAt(raising(error))
    for case in asked:
        patience.answers([case], model, 1)
    assert len(model.sizes) == 21
