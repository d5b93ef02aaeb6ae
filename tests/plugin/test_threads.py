"""Threads and precision: what a session is told of the processor it runs on."""

from __future__ import annotations

import pytest

from audit.models.kit import precision

COUNTING = """
import torch

def test_threads(auditor):
    auditor.model
    assert torch.get_num_threads() == {}
"""


@pytest.mark.slow
def test_a_session_uses_as_many_threads_as_it_was_told(project: pytest.Pytester) -> None:
    path = project.makepyfile(COUNTING.format(3))
    project.runpytest_subprocess(path, "--audit-threads=3").assert_outcomes(passed=1)


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "1025", "²", "9" * 5000])
def test_a_number_of_threads_that_is_none_is_refused(project: pytest.Pytester, given: str) -> None:
    result = project.runpytest("cases", f"--audit-threads={given}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*is not auto or a number from 1 to 1024"])


def test_bfloat16_without_units_for_it_is_noted_once_at_the_start(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "cpuinfo").write_text("processor : 0\nflags : fpu avx2 avx512f\n")
    rough(project, monkeypatch)
    result = project.runpytest("cases", "--audit-dtype=bfloat16", "--audit-update=new")
    assert str(result.stdout).count("this processor has no bfloat16 units") == 1


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_processor_with_units_for_it_is_not_spoken_of(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    line = "Features" if unit == "bf16" else "flags"
    (project.path / "cpuinfo").write_text(f"processor : 0\n{line} : fpu {unit} sve\n")
    rough(project, monkeypatch)
    result = project.runpytest("cases", "--audit-dtype=bfloat16", "--audit-update=new")
    assert "bfloat16 units" not in str(result.stdout)


def rough(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy that says that it runs in bfloat16, on the processor that ``cpuinfo`` describes."""
    monkeypatch.setattr(precision, "_CPUINFO", project.path / "cpuinfo")
    project.makeconftest(
        """
        from dataclasses import replace
        import audit.runs.session
        from tests.toy_model import ToyModel

        class Rough(ToyModel):
            fingerprint = replace(ToyModel.fingerprint, dtype="bfloat16")

        audit.runs.session.load_model = lambda *_: Rough()
        """
    )
