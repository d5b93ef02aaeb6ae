"""Models are rows of one table: what a source means, and what other packages bring."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import audit
from audit import ModelError
from audit.commands import main as cli
from audit.models.registry import known, load_model, options_of, row_of, rows
from tests.packages import TOY, install
from tests.toy_model import ToyModel

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"

Bring = Callable[..., None]


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bring]:
    """Installs a package that brings models, each into a folder of its own, for one test."""
    brought: set[str] = set()

    def bring(package: str, entries: dict[str, str], **modules: str) -> None:
        folder = install(tmp_path / "installed" / package, package, entries, **modules)
        monkeypatch.syspath_prepend(str(folder))
        brought.update(modules)

    yield bring
    for name in brought:
        sys.modules.pop(name, None)


@pytest.fixture
def toy(bring: Bring) -> None:
    """The toy model as another package brings it."""
    bring("toy-audit", {"toy": "toy_audit"}, toy_audit=TOY)


def listed(*more: str) -> Any:
    """What ``audit model --list`` says."""
    done = CliRunner().invoke(cli.app, ["model", "--list", *more])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.usefixtures("toy")
def test_a_model_of_another_package_is_found_by_its_scheme_and_given_what_was_asked() -> None:
    model: Any = load_model("toy:big", "cpu", "bfloat16", 3, speed="fast", note="any text")
    assert isinstance(model, ToyModel)
    options = {"speed": "fast", "note": "any text"}
    assert model.given == ("toy:big", "cpu", "bfloat16", 3, options)
    assert known("toy:big").labels == ("no", "yes", "maybe")


@pytest.mark.usefixtures("toy")
def test_a_model_of_another_package_is_explained_by_its_own_first_map() -> None:
    found = audit.explain(str(PICTURE), "two birds", "toy:x")
    assert found.spec.method == ToyModel.methods[0]
    assert found.trace.label == "yes"
    with pytest.raises(audit.MapError, match=r"the model gives no rollout"):
        audit.explain(PICTURE, "two birds", "toy:x", map="rollout")


@pytest.mark.usefixtures("toy")
def test_the_list_names_every_scheme_what_it_takes_and_who_brings_it() -> None:
    found = {row["model"]: row for row in json.loads(listed("--json").stdout)["models"]}
    ours = ["reference", "shortcut", "reference-chat", "folder", "modelscope", "hf", "openai"]
    assert list(found) == [*ours, "toy"]
    assert found["reference"]["labels"] == ["no", "yes", "maybe"]
    assert found["folder"]["labels"] is None
    assert found["folder"]["methods"] == found["reference"]["methods"]
    toy = found["toy"]
    assert (toy["package"], toy["version"], toy["accepted"]) == ("toy-audit", "1.5", "toy:ANYTHING")
    (line,) = [line for line in listed().stdout.splitlines() if line.startswith("toy ")]
    assert "toy-audit 1.5" in line
    assert "no, yes, maybe" in line


def test_a_scheme_comes_before_a_folder_and_a_folder_before_an_id(
    toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("reference", "toy:x", "iic/model"):
        (tmp_path / name).mkdir(parents=True)
    sources = ("reference", "./reference", "toy:x", "./toy:x", "iic/model", "iic/other")
    assert [row_of(source).scheme for source in sources] == [
        "reference", "folder", "toy", "folder", "folder", "modelscope",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "",
            "no model is named: give reference, shortcut, reference-chat, a folder in ModelScope's",
        ),
        ("refrence", "refrence: no such checkpoint folder; did you mean 'reference'?"),
        ("tooy:x", "tooy:x: no such checkpoint folder; did you mean 'toy:x'?"),
        ("zzz", r"zzz: no such checkpoint folder \(give reference, .*, or toy:…\)$"),
        ("toy", "toy: the model 'toy' takes toy:ANYTHING"),
        ("shortcut:x", "shortcut:x: the model 'shortcut' takes shortcut"),
    ],
)
def test_a_source_that_nothing_accepts_is_told_with_the_nearest_and_what_is_accepted(
    toy: None, source: str, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        load_model(source)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("toy:x", {"sped": "fast"}, "toy:x: .* no option 'sped'; did you mean 'speed'?"),
        ("toy:x", {"speed": "quick"}, "speed 'quick' is not known: choose from slow, fast"),
        ("toy:x", {"engine": "fast"}, "toy:x: .* no option 'engine'; choose from: note, speed"),
        ("reference", {"engin": "fast"}, "reference: .* 'engin'; did you mean 'engine'?"),
    ],
)
def test_an_option_that_a_kind_of_model_has_not_is_refused_by_name(
    toy: None, source: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        load_model(source, "cpu", **options)


BROKEN = {
    "cannot be imported": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "fails at import": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "ends the process": ("raise SystemExit(3)", "SystemExit: 3"),
    "lacks the object": ("", "has no attribute 'loader'"),
    "is a class": ("class loader: pass", "loader is a class; the entry point must name an object"),
    "is something else": ("loader = 3", "it is not a loader: it has no about, accepted, options"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_package_that_is_broken_is_one_line_and_stops_no_other(
    bring: Bring, toy: None, what: str
) -> None:
    content, why = BROKEN[what]
    bring("bad-audit", {"bad": "bad_audit:loader"}, bad_audit=content)
    with pytest.raises(ModelError) as told:
        load_model("bad:x")
    assert str(told.value).startswith("the model 'bad' of bad-audit 1.5 cannot be used: ")
    assert why in str(told.value)
    assert "\n" not in str(told.value)
    assert isinstance(load_model("toy:x"), ToyModel)
    assert known("reference").labels
    said = listed()
    assert said.stderr == f"audit: warning: {told.value}\n"
    assert "toy-audit" in said.stdout
    assert "Traceback" not in said.output


def test_a_loader_that_fails_when_it_is_asked_is_one_line(bring: Bring, toy: None) -> None:
    broken = TOY.replace("toy", "bad").replace("bad_model", "toy_model")
    broken = broken.replace("return source", "return None.source")
    bring("bad-audit", {"bad": "bad_audit"}, bad_audit=broken)
    with pytest.raises(ModelError, match=r"'bad' of bad-audit 1\.5 failed: AttributeError"):
        row_of("bad:x")
    assert known("toy:x").labels


def test_a_scheme_that_two_packages_bring_is_refused_and_both_are_named(
    bring: Bring, toy: None
) -> None:
    bring("other-audit", {"toy": "other_audit", "second": "other_audit"}, other_audit=TOY)
    with pytest.raises(ModelError, match=r"other-audit|toy-audit") as told:
        load_model("toy:x")
    assert "brings a model of this name too; uninstall one of the two" in str(told.value)
    assert all(package in str(told.value) for package in ("toy-audit", "other-audit"))
    assert listed().stderr.count("cannot be used") == 2
    assert row_of("reference").package == "ofa-audit"


def test_a_scheme_of_audits_own_cannot_be_taken(bring: Bring) -> None:
    bring("thief-audit", {"reference": "thief_audit"}, thief_audit=TOY)
    assert row_of("reference").package == "ofa-audit"
    assert known("reference").folder is None
    assert "audit itself has a model of this name, which is used" in listed().stderr


def test_a_scheme_that_could_not_be_written_is_told(bring: Bring) -> None:
    bring("odd-audit", {"a/b": "odd_audit"}, odd_audit=TOY)
    assert "a scheme has letters, digits, '+', '-' and '.'" in listed().stderr


def test_audits_own_rows_say_the_same_as_the_loaded_model() -> None:
    model = load_model("reference", "cpu")
    found = known("reference")
    assert (found.labels, found.methods) == (model.labels, model.methods)
    assert options_of("reference") == {"engine": ("fast", "reference")}
    (own,) = {row.version for row in rows() if row.package == "ofa-audit"}
    assert own == audit.__version__


def test_what_is_known_of_models_takes_neither_torch_nor_modelscope() -> None:
    code = (
        "import sys\n"
        "from audit.models.registry import known, known_of, rows\n"
        "assert [known_of(row, row.scheme).methods for row in rows() if not row.fault]\n"
        "assert known('reference').labels and known('iic/some').labels is None\n"
        "print({'torch', 'modelscope', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_package_that_a_model_needs_and_that_is_missing_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "audit.models.ofa.adapter", None)  # importing it fails
    with pytest.raises(ModelError, match=r"^reference: a package that this model needs cannot be"):
        load_model("reference")


BAD = TOY.replace('"toy:', '"bad:').replace("toy:ANY", "bad:ANY")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("model = ToyModel()", "raise KeyError('pos_embed')", "could not be loaded: KeyError"),
        ("model = ToyModel()", "return None", "which is no model: it has no labels"),
        ("ToyModel.labels,", "('a', 'b'),", r"says that the labels are a, b, but the model"),
        ("ToyModel.methods", "('rollout',)", "says that the methods are rollout, but the model"),
    ],
)
def test_a_loader_that_fails_or_says_what_is_not_so_is_one_line(
    bring: Bring, old: str, new: str, why: str
) -> None:
    assert old in BAD
    bring("bad-audit", {"bad": "bad_audit"}, bad_audit=BAD.replace(old, new))
    with pytest.raises(ModelError, match=why) as failed:
        load_model("bad:x")
    assert "\n" not in str(failed.value)


def test_an_error_of_a_model_that_is_explained_names_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trace(*_: object) -> None:
        raise ValueError("operands could not be broadcast")

    model = ToyModel()
    monkeypatch.setattr(model, "trace", trace)
    with pytest.raises(ModelError, match=r"^the model toy failed: ValueError: operands could not"):
        audit.explain(PICTURE, "there are two birds", model)


def test_an_entry_point_whose_name_is_no_scheme_takes_no_folder(
    bring: Bring, tmp_path: Path
) -> None:
    bring("bad-audit", {"./here": "bad_audit"}, bad_audit=BAD)
    with pytest.raises(ModelError, match=r"\./here: no such checkpoint folder"):
        row_of("./here")


def test_a_package_whose_entry_points_cannot_be_read_hides_no_other(
    bring: Bring, toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "odd" / "odd-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (about / "entry_points.txt").write_bytes(b"[audit.models]\nodd\n\xff\xfe = x")
    monkeypatch.syspath_prepend(str(tmp_path / "odd"))
    assert row_of("toy:x").package == "toy-audit"
    assert row_of("reference").package == "ofa-audit"


def test_what_a_loader_says_of_its_options_costs_the_list_no_other_row(
    bring: Bring, toy: None
) -> None:
    bring(
        "bad-audit",
        {"bad": "bad_audit"},
        bad_audit=BAD.replace('{"speed": ("slow", "fast"), "note": ()}', "5"),
    )
    said = listed()
    assert "toy-audit" in said.stdout
    assert "'bad' failed: AttributeError" in said.stderr
