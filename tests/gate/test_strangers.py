"""A run may come from anywhere: what it names outside of the project is refused."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.base.errors import AuditError, BaselineError, RunError
from audit.cases import loading as case_files
from audit.commands import main as cli
from audit.gate import claims
from audit.gate.review import accept
from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from tests import projects


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run of two new cases, as a pipeline leaves it; it is the working folder."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    projects.made(project)
    projects.audited(project / "cases" / "birds.yaml", Path("run"), Path("baselines"))
    return project


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def outside(root: Path) -> dict[str, bytes]:
    """Everything beside the project."""
    files = (p for p in root.parent.rglob("*") if p.is_file() and not p.is_relative_to(root))
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("where", ["../stolen", "{outside}/stolen", "link", ""])
def test_baselines_outside_of_the_project_are_not_written_to(root: Path, where: str) -> None:
    (root.parent / "elsewhere").mkdir()
    (root / "link").symlink_to(root.parent / "elsewhere")
    edited(Path("run/run.json"), baselines=where.format(outside=root.parent))
    before = outside(root)
    with pytest.raises(RunError, match=r"run.json: baselines: "):
        accept(Run(Path("run")))
    assert outside(root) == before
    assert not (root.parent / "stolen").exists()
    done = accept(Run(Path("run")), folder=Path("mine"))  # whoever names the folder is believed
    assert done.cases == ["birds", "hungry"]


def test_a_run_is_accepted_in_another_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = root.parent / "other"
    shutil.copytree(root, other)
    shutil.move(other / "run", root.parent / "artefact")
    shutil.rmtree(root)
    monkeypatch.chdir(other)
    case_file = other / "cases" / "birds.yaml"
    case_file.write_bytes(case_file.read_bytes().replace(b"\n", b"\r\n"))
    assert accept(Run(root.parent / "artefact")).cases == ["birds", "hungry"]
    assert (other / "baselines" / "birds.json").exists()


@pytest.mark.parametrize(
    "where", ["run/cases/birds.yaml", "../evil/birds.yaml", "downloads/r/x.yaml"]
)
def test_a_run_does_not_bring_the_case_file_it_is_checked_against(root: Path, where: str) -> None:
    target = root / where
    target.parent.mkdir(parents=True)
    shutil.copytree(root / "cases" / "images", target.parent / "images")
    shutil.copy(root / "cases" / "birds.yaml", target)
    if "downloads" in where:
        shutil.copy("run/run.json", "downloads/run.json")
    for name in ("birds", "hungry"):
        edited(Path(f"run/outcomes/{name}.json"), file=where)
    with pytest.raises(BaselineError, match="is not a case file of the project"):
        accept(Run(Path("run")))
    with pytest.raises(BaselineError, match="is not a case file of the project"):
        accept(Run(Path("run")), collects=lambda path: path.parent == root / "cases")


def test_a_broken_case_with_a_figure_without_a_value_is_not_accepted(root: Path) -> None:
    """Its contract is broken for certain, but what is missing cannot become a baseline either."""
    wrong = {"expectation": "label", "passed": False, "observed": "no", "limit": "yes",
             "reason": "the label is no, and must be yes", "undefined": False}  # fmt: skip
    nothing = {**wrong, "expectation": "mass of birds", "undefined": True}
    edited(Path("run/outcomes/birds.json"), state="contract broken", verdicts=[wrong])
    edited(Path("run/outcomes/hungry.json"), state="contract broken", verdicts=[wrong, nothing])
    with pytest.raises(BaselineError, match="nothing was accepted"):
        accept(Run(Path("run")), ["birds", "hungry"])
    assert accept(Run(Path("run")), ["birds"]).cases == ["birds"]


def test_a_run_whose_own_map_was_not_measured_is_refused_by_its_own_name(root: Path) -> None:
    edited(Path("run/outcomes/birds.json"), default_map="rollout")
    with pytest.raises(BaselineError) as caught:
        accept(Run(Path("run")))
    assert "birds: the run has no figures of the case's own map 'rollout'" in str(caught.value)
    assert "audit-accept-" not in str(caught.value)  # a folder that nobody knows


@pytest.mark.parametrize("case", ["../../stolen", "/tmp/stolen", "a\x1b[2Jb", "..", "a/b"])
def test_a_case_is_not_called_like_a_path(root: Path, case: str) -> None:
    edited(Path("run/outcomes/birds.json"), case=case)
    with pytest.raises(RunError, match=r"birds.json:1: case: it names files"):
        accept(Run(Path("run")))


def test_pictures_and_outcomes_come_from_the_run_alone(root: Path) -> None:
    secret = root.parent / "secret.png"
    Image.new("RGB", (8, 8), "green").save(secret)
    digest = json.loads(Path("run/outcomes/birds.json").read_text())["image_digest"]
    edited(Path("run/outcomes/birds.json"), image_digest="../../../secret")
    with pytest.raises(RunError, match="image_digest: needs a SHA-256 in hexadecimal"):
        write_gallery(Run(Path("run")))
    edited(Path("run/outcomes/birds.json"), image_digest=digest)
    stored = Path(f"run/images/{digest}.png")
    stored.unlink()
    stored.symlink_to(secret)
    with pytest.raises(RunError, match="it is a symbolic link"):
        write_gallery(Run(Path("run")))
    stored.unlink()
    Path("run/images").rename(root.parent / "images")
    Path("run/images").symlink_to(root.parent / "images")
    with pytest.raises(RunError, match="is a symbolic link"):
        write_gallery(Run(Path("run")))


def test_nothing_that_a_run_says_is_markup_on_its_page(root: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    path = Path("run/outcomes/birds.json")
    data = json.loads(path.read_text())
    for key in ("text", "premise", "sentence", "label", "expected", "xfail", "image"):
        data[key] = evil
    data["tags"], data["regions"] = [evil], {evil: [[0, 0, 0.5, 0.5]]}
    data["probabilities"] = {evil: 0.5}
    path.write_text(json.dumps(data))
    edited(Path("run/run.json"), id=evil, started=evil, model={"source": evil, "digest": "d" * 64})
    page = write_gallery(Run(Path("run")), "all").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_each_case_file_is_read_once_however_many_cases_are_accepted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def noted(path: Path, *more: Any) -> Any:
        read.append(path)
        return case_files.load_cases(path, *more)

    monkeypatch.setattr(claims, "load_cases", noted)
    assert len(accept(Run(Path("run"))).cases) == 2
    assert read == [root / "cases" / "birds.yaml"]


def test_a_run_without_its_maps_is_not_accepted(root: Path) -> None:
    Path("run/outcomes/birds.npz").unlink()
    with pytest.raises(BaselineError, match="birds: the run lacks its map 'answer_attention'"):
        accept(Run(Path("run")))
    assert not (root / "baselines").exists()


@pytest.mark.parametrize("name", ["mas[birds]", "mass", "mass[birds] (rollout", "a\x1b[2Jb"])
def test_a_run_with_a_figure_that_audit_does_not_know_is_not_accepted(
    root: Path, name: str
) -> None:
    path = Path("run/outcomes/birds.json")
    data = json.loads(path.read_text())
    data["metrics"][data["default_map"]][name] = 0.5
    path.write_text(json.dumps(data))
    with pytest.raises(
        BaselineError, match=r"birds: the run holds a figure .*names no figure: "
    ) as error:
        accept(Run(Path("run")))
    assert "\x1b" not in str(error.value)
    assert not (root / "baselines").exists()
    write_gallery(Run(Path("run")))


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def is_one_message(error: BaseException | None) -> bool:
    return error is None or isinstance(error, AuditError | SystemExit)


NUMBERS = (b"-1", b"1e999", b"NaN", b"99999999999999999999", b'"x"', b"null", b"[]", b"{}", b"true")


def mutated(data: bytes, number: int) -> bytes:
    """The ``number``-th way to damage a file: cut, flip, repeat, or another value in JSON."""
    at = (number * 7919) % max(1, len(data))
    kind = number % 6
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ (1 << number % 8)]) + data[at + 1 :] if data else b"x"
    if kind == 2:
        return data + data
    if kind == 3:
        return data[:at] + b"\xff\x00" + data[at:]
    parts = data.split(b": ")
    if kind == 4 and len(parts) > 2:  # another value after the n-th key
        n = 1 + number % (len(parts) - 1)
        rest = parts[n].lstrip(b'"-0123456789.abcdefghijklmnopqrstuvwxyz')
        parts[n] = NUMBERS[number % len(NUMBERS)] + rest
        return b": ".join(parts)
    return b"[" * (1000 * (number % 200)) + data[at:]


@pytest.mark.slow
def test_a_damaged_run_ends_in_one_message_and_never_in_a_traceback(root: Path) -> None:
    del root
    write_gallery(Run(Path("run")))
    accept(Run(Path("run")), ["birds"])
    identity = json.loads(Path("run/run.json").read_text())["id"]
    review = {"format": 1, "run": identity, "decisions": [{"case": "hungry", "decision": "accept"}]}
    Path("run/decisions.json").write_text(json.dumps(review, indent=1))
    shutil.copytree("run", "good")
    shutil.copytree("baselines", "good-baselines")
    whole = {
        p.relative_to("good"): p.read_bytes()
        for p in sorted(Path("good").rglob("*"))
        if p.is_file() and p.suffix in (".json", ".npz", ".png")
    }
    asked = [
        ("accept", "run", "--decisions", "run/decisions.json"),
        ("report", "run"),
        ("compare", "run", "good", "--out", "page.html"),
        ("status",),
    ]
    refused = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(120):
        name, data = list(whole.items())[number % len(whole)]
        Path("run", name).write_bytes(mutated(data, number))
        for arguments in (asked[0], asked[1 + number % 3]):
            error = command(*arguments).exception
            assert is_one_message(error), (name, number, error)
            refused += isinstance(error, AuditError)
        Path("run", name).write_bytes(data)
        shutil.rmtree("baselines")
        shutil.copytree("good-baselines", "baselines")
    assert refused > 40
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.slow
def test_damaged_baselines_end_in_one_message_and_status_tells_of_each(root: Path) -> None:
    del root
    accept(Run(Path("run")))
    whole = {p.name: p.read_bytes() for p in Path("baselines").iterdir() if p.is_file()}
    told = 0
    for number in range(48):
        name, data = list(whole.items())[number % len(whole)]
        Path("baselines", name).write_bytes(mutated(data, number))
        result = command("status", "--json")
        assert result.exception is None, (name, number, result.exception)
        told += len(json.loads(result.stdout)["baselines"][0]["damaged"])
        for arguments in (("compare", "baselines", "run", "--out", "page.html"), ("prune",)):
            error = command(*arguments).exception
            assert is_one_message(error), (name, number, error)
        Path("baselines", name).write_bytes(data)
    assert told > 36


@pytest.mark.parametrize("where", [".git", "cases", "docs", ".", "run/b"])
def test_a_run_does_not_choose_where_in_the_project_baselines_go(root: Path, where: str) -> None:
    Path(where).mkdir(exist_ok=True)
    edited(Path("run/run.json"), baselines=where)
    with pytest.raises(RunError, match="is not a folder of baselines of this project"):
        accept(Run(Path("run")), root=root, configured=root / "baselines")
    assert not (Path(where) / "birds.json").exists()


@pytest.mark.parametrize("hostile", ["x\n::error file=a::owned", "a\x1b[31mb", "##[error]x"])
@pytest.mark.parametrize("place", ["baselines", "name", "dtype"])
def test_what_a_run_says_is_no_command_in_what_accept_prints(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hostile: str,
    place: str,
) -> None:
    about = json.loads(Path("run/run.json").read_text())
    if place == "baselines":
        about["baselines"] = hostile
    else:
        about["model"][place] = hostile
    edited(Path("run/run.json"), **about)
    monkeypatch.setattr(sys, "argv", ["audit", "accept", "run"])
    with suppress(SystemExit):
        cli.main()
    printed = "".join(capsys.readouterr())
    assert printed
    assert not any(line.lstrip().startswith("::") for line in printed.splitlines())
    assert "\x1b" not in printed
    assert "##[" not in printed


def test_a_baseline_of_gigabytes_is_told_without_being_read(root: Path) -> None:
    Path("baselines").mkdir()
    with Path("baselines/birds.json").open("wb") as file:
        file.truncate(3_000_000_000)
    started = time.process_time()
    with pytest.raises(BaselineError, match="birds: its baseline changed since the run"):
        accept(Run(Path("run")), ["birds"], root=root, configured=root / "baselines")
    assert time.process_time() - started < 1
