"""A case with heads: chosen, from the choice to its baseline and to another choice."""

from __future__ import annotations

import json

import pytest

from tests.gate.test_heads_file import write
from tests.head_toy import GOOD, HeadToy, project
from tests.plugin.test_gate import states
from tests.plugin.test_review import command

HEADS = [str(place) for place in GOOD]
DIGEST = HeadToy().fingerprint.digest


@pytest.fixture
def patches(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of one case that asks for the chosen heads, with a choice."""
    import audit.runs.session

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(audit.runs.session, "load_model", lambda *_: HeadToy())
    project(pytester.path, 1, map_="{heads: chosen}")
    write(pytester.path / "baselines", heads=HEADS, model={"digest": DIGEST})
    return pytester


def test_the_choice_is_named_in_every_figure_and_another_one_makes_the_baseline_stale(
    patches: pytest.Pytester,
) -> None:
    patches.runpytest("cases", "--audit-update=new").assert_outcomes(passed=1)
    stored = json.loads((patches.path / "baselines" / "case-0.json").read_text())
    key = f"answer_attention heads={','.join(HEADS)}"
    assert (stored["default_map"], list(stored["figures"])) == (key, [key])
    again = patches.runpytest("cases")
    again.assert_outcomes(passed=1)
    assert "other weights" not in again.stdout.str()
    assert "1 accepted, 0 missing, 0 stale" in command(patches, "status").output
    write(patches.path / "baselines", heads=["L3H1"], model={"digest": DIGEST})
    assert "0 accepted, 0 missing, 1 stale" in command(patches, "status").output
    patches.runpytest("cases").assert_outcomes(failed=1)
    assert states(patches) == {"case-0": "stale"}
    accepted = command(patches, "accept", "run")
    assert accepted.exit_code == 0, accepted.output
    patches.runpytest("cases").assert_outcomes(passed=1)


def test_a_choice_of_other_weights_is_used_and_told(patches: pytest.Pytester) -> None:
    write(patches.path / "baselines", heads=HEADS, model={"digest": "a" * 64})
    done = patches.runpytest("cases", "--audit-update=new")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(
        ["note: the chosen heads (L2H3, L3H1) were measured with other weights, aaaaaaaaaaaa;*"]
    )


def test_without_a_choice_nothing_is_audited_and_the_case_is_named(
    patches: pytest.Pytester,
) -> None:
    (patches.path / "baselines" / "provenance" / "heads.json").unlink()
    done = patches.runpytest("cases")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*patches.yaml:3: case-0: heads: chosen: there is no *heads.json*"])
    patches.runpytest("cases", "--collect-only").assert_outcomes()


def test_a_head_that_the_model_has_not_is_the_error_of_its_case(patches: pytest.Pytester) -> None:
    write(patches.path / "baselines", heads=["L9H9"], layers=9, heads_per_layer=9)
    patches.runpytest("cases").assert_outcomes(failed=1)
    assert states(patches) == {"case-0": "error"}


def test_the_fixture_reads_the_chosen_heads_too(patches: pytest.Pytester) -> None:
    patches.makepyfile(
        test_it="""
        from audit import MapSpec, read_map
        from tests.head_toy import picture

        def test_patch(auditor):
            seen = auditor.ask(picture(0)[0], "red", maps=[MapSpec(heads="chosen")])
            named = MapSpec(heads=["L2H3", "L3H1"])
            assert read_map(seen, named).shape == (8, 8)
        """
    )
    patches.runpytest("test_it.py").assert_outcomes(passed=1)
