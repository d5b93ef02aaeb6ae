"""An outcome with a value in every field."""

from __future__ import annotations

from audit.cases.expectations import Verdict
from audit.gate.outcomes import Outcome, State


def outcome(name: str, state: State, line: int = 1) -> Outcome:
    return Outcome(
        case=name, file="cases/a.yaml", line=line, state=state, sentence="so", text="two <b>birds</b>",
        premise=None, tags=["t"], expected="yes", image="a.png", image_digest="d" * 64,
        image_size=(40, 40), case_digest="c" * 64, regions={"birds": [(0.0, 0.0, 0.5, 0.5)]},
        label="yes", probabilities={"yes": 0.75, "no": 0.25}, prompt="p", tokens=["a"], grid=(2, 2),
        default_map="m", metrics={"m": {"mass[birds]": 0.5, "lift[birds]": "the region is empty"}},
        verdicts=[Verdict("label", True, "yes", "yes", "fine")],
    )  # fmt: skip
