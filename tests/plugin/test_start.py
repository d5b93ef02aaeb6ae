"""What the plugin costs a suite that has no case."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"PIL", "matplotlib", "modelscope", "numpy", "pydantic", "rich", "scipy", "torch", "yaml"}

# Processor time and not the clock, which says how busy the machine is.
MEASURED = """
import json, resource, sys, time
import pytest
import _pytest.terminal, _pytest.python, _pytest.junitxml
def spent():
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def least():
    before = spent()
    import audit.plugin.hooks
    return [now - then for now, then in zip(spent(), before)]
seconds, kilobytes = least()
print(json.dumps([seconds, kilobytes, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_importing_the_plugin_takes_a_tenth_of_a_second_and_ten_megabytes_at_most() -> None:
    answers = [
        json.loads(subprocess.run([sys.executable, "-c", MEASURED], check=True, capture_output=True,
                                  text=True).stdout)
        for _ in range(3)
    ]  # fmt: skip
    assert min(seconds for seconds, _, _ in answers) < 0.1
    assert min(kilobytes for _, kilobytes, _ in answers) < 10_000
    assert not (HEAVY | {"jinja2"}) & set(answers[0][2])


@pytest.mark.parametrize("arguments", [(), ("--collect-only",), ("-n1",), ("--html=report.html",)])
def test_a_suite_without_a_case_imports_nothing_heavy(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makepyfile("def test_right():\n    pass\n\ndef test_wrong():\n    assert 1 == 2\n")
    pytester.makeconftest(
        """
        import pathlib, sys
        def pytest_unconfigure(config):
            name = "worker" if hasattr(config, "workerinput") else "main"
            roots = sorted({module.partition(".")[0] for module in sys.modules})
            pathlib.Path(__file__).with_name(f"modules-{name}").write_text(" ".join(roots))
        """
    )
    (pytester.path / "notes.yaml").write_text("a: 1\n")
    pytester.runpytest_subprocess(*arguments)
    lists = list(pytester.path.glob("modules-*"))
    assert len(lists) == (2 if "-n1" in arguments else 1)
    for path in lists:
        found = set(path.read_text().split())
        assert "audit" in found
        assert not HEAVY & found
