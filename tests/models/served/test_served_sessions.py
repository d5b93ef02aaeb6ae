"""A served model is audited as any other: sessions with baselines, and the gate of the stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import audit.models.served.adapter
import audit.plugin.end
import audit.plugin.items
import audit.report.gallery
from audit.base.geometry import Grid
from audit.commands import main as cli
from audit.gate.noisefile import read_noise
from audit.gate.tolerances import load_noise
from audit.models.protocol import Query
from audit.models.served.loader import OPENAI
from tests.chat_server import ChatServer, changed
from tests.models.served.conftest import Reach

# Loaded before pytester takes note of the modules, so that each inner session need not again.
assert audit.plugin.end
assert audit.plugin.items
assert audit.report.gallery

pytestmark = pytest.mark.slow

ASKING = "answers: {yes: [Yes, yes], no: [No, no]}\n"
TEXTS = {"square": "a red square", "birds": "there are two birds"}
ATTENTION = """\
  - id: attention
    image: a.png
    text: a red square
    map: {method: answer_attention}
    expect: {label: yes}
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Two cases that the model answers as they expect; one measures its default map.

    The grid is that of the checkpoint for this picture, so that maps can be compared.
    """
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(audit.models.served.adapter, "GRID", Grid(2, 3))
    image = Image.new("RGB", (96, 64), "navy")
    image.paste("red", (8, 8, 36, 36))
    folder = pytester.mkdir("cases")
    image.save(folder / "a.png")
    traces = reach().trace([Query(image, text) for text in TEXTS.values()])
    labels = {name: trace.label for name, trace in zip(TEXTS, traces, strict=True)}
    (folder / "some.yaml").write_text(
        f"""\
cases:
  - id: square
    image: a.png
    text: {TEXTS["square"]}
    regions: {{square: [[8, 8, 36, 36]]}}
    expect:
      label: {labels["square"]}
      attention: [{{metric: mass, region: square, min: 0}}]
  - id: birds
    image: a.png
    text: {TEXTS["birds"]}
    map: {{method: uniform}}
    expect: {{label: {labels["birds"]}}}
"""
    )
    pytester.path.joinpath("asking.yaml").write_text(ASKING)
    pytester.makeini("[pytest]\naudit_baselines = baselines\naudit_asking = asking.yaml\n")
    return pytester


def exchanged(answer: dict[str, Any]) -> None:
    """The server's tokens for yes and no change places, as with another vocabulary."""
    other = {"Yes": "No", "No": "Yes", "yes": "no", "no": "yes"}
    for place in answer["choices"][0]["logprobs"]["content"]:
        for each in place["top_logprobs"]:
            each["token"] = other.get(each["token"], each["token"])
            each["bytes"] = None


def test_a_session_with_baselines(project: pytest.Pytester, server: ChatServer) -> None:
    asked = ("cases", "--audit-model", server.source, "--audit-requests", "3")
    project.runpytest(*asked, "--audit-update=new").assert_outcomes(passed=2)
    result = project.runpytest(*asked, "--audit-run-dir", "run")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"audit: model {server.source}, *, server, unknown"])
    stored = json.loads((project.path / "baselines" / "square.json").read_text())
    assert stored["default_map"] == "occlusion"
    assert stored["provenance"]["model"]["weights"] == ""
    about = json.loads((project.path / "run" / "run.json").read_text())
    assert about["model"]["packages"]["system fingerprint"] == "fp_1"
    server.always = changed(exchanged)
    result = project.runpytest(*asked)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*label*"])


def test_a_case_that_asks_for_attention_is_refused_before_the_server_is_asked(
    project: pytest.Pytester, server: ChatServer
) -> None:
    with (project.path / "cases" / "some.yaml").open("a") as file:
        file.write(ATTENTION)
    server.seen.clear()
    result = project.runpytest("cases", "--audit-model", server.source)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["*some.yaml:17:19: map.method: the model gives no map 'answer_attention'; choose from: "
         "centre, occlusion, random, uniform. Without map, each model is measured by its own "
         "default"]
    )  # fmt: skip
    assert not server.seen


def test_a_wrong_address_or_option_is_told_before_anything_runs(
    project: pytest.Pytester, server: ChatServer
) -> None:
    for asked, said in (
        (["--audit-model", "openai:http://127.0.0.1/v1"], "*name a model of the server behind*"),
        (["--audit-model", server.source, "--audit-requests", "no"], "*requests: 'no' is not a*"),
        (["--audit-model", server.source, "--audit-dtype", "bfloat16"], "*the server's affair*"),
        (["--audit-model", server.source, "--audit-key", "UNSET"], "*variable UNSET, which*"),
        (["--audit-model", server.source, "--audit-engine", "fast"], "*that has no engines*"),
    ):
        result = project.runpytest("cases", *asked)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([said])


def test_explain_draws_occlusion(project: pytest.Pytester, server: ChatServer) -> None:
    asked = ["cases/a.png", TEXTS["square"], "--model", server.source, "--asking", "asking.yaml"]
    result = CliRunner().invoke(cli.app, ["explain", *asked, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["method"], found["grid"]) == ("occlusion", [2, 3])
    assert 0 <= found["unsaid"] <= 1


def compared(
    folder: Path, checkpoint: Path, server: ChatServer, *more: str
) -> tuple[int, dict[str, Any]]:
    asked = [f"hf:{checkpoint}", server.source, "--cases", "cases/some.yaml", "--json"]
    own = ["--asking", str(folder / "asking.yaml"), "--threads", "1", *more]
    result = CliRunner().invoke(cli.app, ["compare", *asked, *own])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, json.loads(result.stdout)


def test_compare_is_the_gate_of_the_stack(
    project: pytest.Pytester, server: ChatServer, checkpoint: Path
) -> None:
    """The same checkpoint here and behind a server: nothing moves until the server's stack does."""
    code, found = compared(project.path, checkpoint, server)
    assert code == 0
    assert "behind a server are the same cannot be seen" in found["sentence"]
    code, found = compared(project.path, checkpoint, server, "--same-weights")
    assert code == 0, found["sentence"]
    assert "the weights of 2 cases are said to be the same, none of them moved" in found["sentence"]
    assert "device cpu → server" in found["sentence"]
    for case in found["cases"]:
        before, after = case["probability"]
        assert before == pytest.approx(after, abs=1e-5)
        assert case["weights"] == "same"
        assert "entropy" in case["metrics"]
    (square,) = [case for case in found["cases"] if case["case"] == "square"]
    assert square["distances"]["js"] < 1e-3  # of occlusion, on both sides
    server.always = changed(exchanged)
    code, found = compared(project.path, checkpoint, server, "--same-weights")
    assert code == 1
    assert found["moved_by_stack"] == ["birds", "square"]


def test_noise_varies_how_many_questions_a_server_gets_and_says_what_it_cannot_vary(
    project: pytest.Pytester, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.commands.noise.find_spec", lambda _: None)  # without torch, too
    asked = ["noise", "--model", server.source, "--cases", "cases/some.yaml"]
    result = CliRunner().invoke(cli.app, [*asked, "--asking", "asking.yaml", "--baselines", "b"])
    assert result.exit_code == 0, (result.output, result.exception)
    said = " ".join(result.output.split())
    assert (
        "not run: other precisions, engines, threads, instructions and devices: they are the "
        "server's, and cannot be set from here"
    ) in said
    record = read_noise(project.path / "b")
    assert record is not None
    assert [condition.title for condition in record.conditions] == [
        f"server, {batch}" for batch in ("batch 8", "batch 1", "batch 2", "batch 3",
                                         "all in one batch")
    ]  # fmt: skip
    (kind,) = record.kinds
    assert (kind.dtype, kind.device) == ("unknown", "server")
    assert {"probability", "unsaid"} <= set(kind.floors["probability"])
    level = load_noise(project.path / "b").level("unknown", ["server"])
    assert level is not None
    assert level.title == "server"
    assert not level.measured
    project.runpytest(
        "cases", "--audit-model", server.source, "--audit-baselines", "b", "--audit-update=new"
    ).assert_outcomes(passed=2)
    again = project.runpytest("cases", "--audit-model", server.source, "--audit-baselines", "b")
    again.assert_outcomes(passed=2)


def test_weights_that_can_be_seen_are_not_stated(
    project: pytest.Pytester, checkpoint: Path
) -> None:
    asked = ["compare", f"hf:{checkpoint}", f"hf:{checkpoint}", "--same-weights", "--threads", "1"]
    more = ["--cases", "cases/some.yaml", "--asking", "asking.yaml"]
    result = CliRunner().invoke(cli.app, [*asked, *more])
    assert result.exit_code != 0
    assert "--same-weights is for weights that cannot be seen" in str(result.exception)


def test_it_is_listed_without_asking_any_server() -> None:
    assert OPENAI.accepts("openai:http://127.0.0.1:9/v1#m")
    assert not OPENAI.accepts("hf:org/name")
    assert OPENAI.known("openai:").methods == ()
    result = CliRunner().invoke(cli.app, ["model", "--list"])
    assert "openai:URL#MODEL" in result.output
