"""Cases are pytest items like any other."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_the_header_says_which_baselines_and_batches(accepted: pytest.Pytester) -> None:
    accepted.runpytest("cases", "--audit-batch-size=3").stdout.fnmatch_lines(
        ["audit: model toy, *", "baselines: *baselines; batches of up to 3"]
    )


def test_names_keywords_markers_and_last_failed_select_cases(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = accepted.runpytest("cases", "--collect-only", "-q").stdout.str()
    assert "cases/birds.yaml::birds" in listed
    accepted.runpytest("cases/birds.yaml::no-cat").assert_outcomes(passed=1)
    accepted.runpytest("cases", "-k", "hungry").assert_outcomes(passed=1, deselected=2)
    accepted.runpytest("cases", "-m", "guide").assert_outcomes(passed=1, deselected=2)
    accepted.runpytest("cases", "-m", "guide", "--strict-markers").assert_outcomes(
        passed=1, deselected=2
    )
    monkeypatch.setenv("TOY_CELL", "0")
    accepted.runpytest("cases", "-x", "-k", "birds or hungry").assert_outcomes(failed=1)
    monkeypatch.delenv("TOY_CELL")
    accepted.runpytest("cases", "--lf").assert_outcomes(passed=1)


def test_cases_are_answered_in_batches_ahead(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = accepted.path / "batches"
    monkeypatch.setenv("TOY_LOG", str(log))
    accepted.runpytest("cases", "--audit-batch-size", "2")
    assert log.read_text().split() == ["2", "1"]


def test_without_a_batch_size_a_cpu_is_asked_eight_cases_at_a_time(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = "  - {{id: c{0}, image: images/a.png, text: birds, expect: {{label: yes}}}}\n"
    many = "cases:\n" + "".join(case.format(number) for number in range(10))
    (accepted.path / "cases" / "many.yaml").write_text(many)
    log = accepted.path / "batches"
    monkeypatch.setenv("TOY_LOG", str(log))
    accepted.runpytest("cases/many.yaml", "--audit-update=new")
    assert log.read_text().split() == ["8", "2"]


def test_bfloat16_has_baselines_of_its_own(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\naudit_run_dir = run\n")
    project.makeconftest(
        """
        from dataclasses import replace
        import audit.runs.session
        from tests.toy_model import ToyModel
        def load(source, device, dtype, *_):
            model = ToyModel()
            model.fingerprint = replace(model.fingerprint, dtype=dtype)
            return model
        audit.runs.session.load_model = load
        """
    )
    for more in ((), ("--audit-dtype", "bfloat16")):
        project.runpytest("cases", "--audit-update=new", *more).assert_outcomes(passed=3)
    folders = {path.name for path in (project.path / "baselines").iterdir()}
    assert folders == {"toy", "toy-bfloat16"}


def test_the_header_names_model_revision_digest_device_dtype_and_engine(
    accepted: pytest.Pytester,
) -> None:
    accepted.runpytest("cases").stdout.fnmatch_lines(
        ["audit: model toy, revision r1, digest dddddddddddd, cpu, float32"]
    )


@pytest.mark.slow
def test_two_workers_share_a_run_and_the_controller_promotes(project: pytest.Pytester) -> None:
    result = project.runpytest("cases", "-n", "2", "--audit-update=new")
    result.assert_outcomes(passed=3)
    assert len(list((project.path / "baselines").glob("*.json"))) == 3
    assert (project.path / "run" / "gallery.html").exists()
    project.runpytest("cases").assert_outcomes(passed=3)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_update_that_is_cut_off_loses_no_baseline(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """Every accepted file is the old one or a whole new one, and the next session passes."""
    many = "cases:\n" + "".join(
        f"  - {{id: c{i}, image: images/a.png, text: bird {i}, expect: {{label: yes}}}}\n"
        for i in range(40)
    )
    (accepted.path / "cases" / "many.yaml").write_text(many)
    accepted.runpytest("cases", "--audit-update=new").assert_outcomes(passed=43)
    folder = accepted.path / "baselines"
    before = {p.name for p in folder.iterdir()}
    # What this session proposed would be taken for what the next one did.
    shutil.rmtree(accepted.path / "run")
    monkeypatch.setenv("TOY_SECONDS", "0.2")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "cases",
            "-n",
            "2",
            "--audit-update=all",
            "--audit-batch-size=1",
            "-p",
            "no:cacheprovider",
        ],
        cwd=accepted.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    proposals = accepted.path / "run" / "proposals"
    deadline = time.monotonic() + 60
    while len(list(proposals.glob("*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    written = len(list(proposals.glob("*.json")))
    assert 5 <= written < 43
    os.killpg(process.pid, how) if how == signal.SIGKILL else process.send_signal(how)
    process.wait(60)
    monkeypatch.setenv("TOY_SECONDS", "0")
    assert {p.name for p in folder.iterdir()} == before
    accepted.runpytest("cases").assert_outcomes(passed=43)


@pytest.mark.slow
def test_neither_importing_collecting_nor_help_loads_torch(accepted: pytest.Pytester) -> None:
    heavy = "print([m for m in ('torch', 'modelscope', 'transformers') if m in sys.modules])"
    (accepted.path / "conftest.py").unlink()
    programs = [
        f"import sys, audit; {heavy}",
        f"import sys, pytest; pytest.main(['cases', '--collect-only', '-q']); {heavy}",
        f"import sys\nfrom typer.testing import CliRunner\nfrom audit.commands.main import app\n"
        f"assert CliRunner().invoke(app, ['--help']).exit_code == 0; {heavy}",
        f"import sys\nfrom typer.testing import CliRunner\nfrom audit.commands.main import app\n"
        f"assert CliRunner().invoke(app, ['report', 'run']).exit_code == 0; {heavy}",
    ]
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=accepted.path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "[]", program


def test_errors_in_case_files_stop_collection_with_their_place(project: pytest.Pytester) -> None:
    path = project.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("label: yes", "label: yess"))
    result = project.runpytest("cases")
    result.stdout.fnmatch_lines(
        ["*birds.yaml:8:14: expect.label: the model has no label 'yess'; did you mean 'yes'?"]
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_the_garbage_collector_is_left_as_it_was_also_by_a_broken_file(
    project: pytest.Pytester,
) -> None:
    path = project.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("label: yes", "lable: yes"))
    assert project.inline_run("cases").ret == pytest.ExitCode.INTERRUPTED
    assert gc.isenabled()


@pytest.mark.parametrize("more", [[], ["-n1"]])
def test_without_a_configuration_file_a_models_folder_is_not_taken_for_tests(
    project: pytest.Pytester, tmp_path: Path, more: list[str]
) -> None:
    (project.path / "tox.ini").unlink()
    model = tmp_path / "model"
    model.mkdir()
    result = project.runpytest("cases", "--audit-model", str(model), "--audit-update=new", *more)
    result.assert_outcomes(passed=3)
    (run,) = (project.path / "audit-runs").glob("*-*")
    assert (run / "gallery.html").exists()


@pytest.mark.parametrize(
    ("wrong", "choices"),
    [
        ("--audit-engine=turbo", "'turbo' is not fast or reference"),
        ("--audit-dtype=bf16", "'bf16' is not float32 or bfloat16"),
        ("--audit-language=fr", "'fr' is not auto or en or zh"),
    ],
)
def test_a_choice_that_there_is_not_is_told_before_anything_is_collected(
    project: pytest.Pytester, wrong: str, choices: str
) -> None:
    for more in ("--collect-only", "-n2"):
        result = project.runpytest("cases", wrong, more)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*{wrong.partition('=')[0]}: {choices}"])


@pytest.mark.parametrize(
    ("key", "wrong", "needed"),
    [
        ("audit_dtype", "bf16", "float32 or bfloat16"),
        ("audit_batch_size", "0", "auto or a positive number"),
        ("audit_suite_alpha", "2", "a number above 0 and below 1"),
    ],
)
def test_a_wrong_value_in_the_configuration_file_is_told_with_file_and_key(
    project: pytest.Pytester, key: str, wrong: str, needed: str
) -> None:
    path = project.makeini(f"[pytest]\n{key} = {wrong}\n")
    result = project.runpytest("cases")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{path}: {key}: '{wrong}' is not {needed}"])


@pytest.mark.parametrize("place", ["/proc/x", "taken/x"])
def test_a_run_folder_that_cannot_be_made_is_told_before_a_case_runs(
    project: pytest.Pytester, place: str
) -> None:
    (project.path / "taken").write_text("a file")
    result = project.runpytest("cases", f"--audit-run-dir={place}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*/x: no run can be written there: *"])


@pytest.mark.slow
def test_workers_that_cannot_load_the_model_say_why_in_each_case(
    project: pytest.Pytester,
) -> None:
    project.makeconftest(
        """
        import audit.runs.session
        from audit.base.errors import ModelError
        def load_model(*_):
            raise ModelError("this machine has no usable CUDA device")
        audit.runs.session.load_model = load_model
        """
    )
    result = project.runpytest("cases", "-n", "2")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["ModelError: this machine has no usable CUDA device"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_an_id_that_two_files_share_is_refused(project: pytest.Pytester) -> None:
    path = project.path / "cases" / "others.yaml"
    path.write_text(path.read_text().replace("id: hungry", "id: Birds"))
    result = project.runpytest("cases")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["*others.yaml:2: the id 'Birds' occurs twice, as 'birds' in *birds.yaml:2 *"]
    )


def test_python_tests_ask_the_same_model_and_their_failures_get_pictures(
    accepted: pytest.Pytester,
) -> None:
    accepted.makepyfile(
        """
        import pytest

        @pytest.fixture
        def asked(auditor):
            trace = auditor.ask("cases/images/a.png", "two birds")
            assert trace.label == "no", "the fixture fails"

        def test_passes(auditor):
            assert auditor.ask("cases/images/a.png", "a cat").label == "no"

        def test_of_a_failing_fixture(asked):
            pass
        """
    )
    result = accepted.runpytest(
        "-k", "passes or failing", "--html=report.html", "--self-contained-html"
    )
    result.assert_outcomes(passed=1, errors=1, deselected=3)
    page = (accepted.path / "report.html").read_text()
    assert page.count("data:image/webp;base64") == 2


def test_a_failing_case_has_its_pictures_in_the_html_report(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    accepted.runpytest(
        "cases", "-k", "birds and not hungry", "--html=report.html", "--self-contained-html"
    )
    page = (accepted.path / "report.html").read_text()
    assert page.count("data:image/webp;base64") == 4
    assert "mass of birds is 0.01333" in page


def test_other_suites_are_left_alone(pytester: pytest.Pytester) -> None:
    """A project without cases sees no line and no folder of ours, and no model is loaded."""
    pytester.makepyfile("def test_one(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    assert "audit:" not in result.stdout.str()
    assert not list(Path(pytester.path).glob("audit-runs"))
