"""Every command, option, key and metric is documented, and the pages are what they claim."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path
from types import ModuleType

import click
import pytest
import typer
import yaml
from PIL import Image

from audit import Loader, load_model
from audit.cases.loading import load_cases
from audit.cases.schema import schema
from audit.commands import main as cli
from audit.data.columns import FIXED, IDENTITY
from audit.data.tables import table_of
from audit.data.writing import write_table
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from audit.maps.methods import METHODS
from audit.maps.spec import MapSpec
from audit.metrics.registry import METRICS
from audit.plugin import options as pytest_options
from audit.runs.runner import audit_cases
from tests.projects import audited, made
from tools.docs_site import OUTSIDE
from tools.docs_tables import PAGE, metrics_page

DOCS = Path(__file__).parents[1] / "docs"


def test_every_command_and_option_is_documented() -> None:
    page = (DOCS / "cli.md").read_text()
    group = typer.main.get_command(cli.app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    for name, command in group.commands.items():
        assert f"audit {name}" in page, name
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in page or f"{option} " in page, option


def test_every_option_and_key_of_the_plugin_is_documented() -> None:
    page = (DOCS / "pytest.md").read_text()
    for name in (*pytest_options.OPTIONS, "update", "update-force"):
        assert f"`--audit-{name}`" in page, name
    for name in pytest_options.OPTIONS:
        assert f"`audit_{name.replace('-', '_')}`" in page, name
    for state in State:
        assert f"| {state.value} |" in page, state


def test_every_key_of_a_case_is_documented() -> None:
    page = (DOCS / "cases.md").read_text() + (DOCS / "maps.md").read_text()
    for name, definition in schema()["$defs"].items():
        for key in definition.get("properties", {}):
            assert key in page, f"{name}.{key}"


def test_the_keys_that_a_case_must_have_are_documented() -> None:
    required = schema()["$defs"]
    assert required["Expect"]["required"] == ["label"]
    assert required["CaseSpec"]["required"] == ["id", "image", "text", "expect"]
    said = "A case must have `id`, `image`, `text` and `expect.label`"
    assert said in (DOCS / "cases.md").read_text()


def test_every_method_and_key_of_a_map_is_documented() -> None:
    page = (DOCS / "maps.md").read_text()
    for name, method in METHODS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        _, _, about, taken, *_ = row.split("|")
        assert about.strip().startswith(method.about)
        assert taken.strip() == ", ".join(f"`{key}`" for key in method.keys)
        for other in method.spellings:
            assert f"`{other}`" in page, other
    for key in set(MapSpec.model_fields) - {"method"}:
        assert f"`{key}`" in page, key


def test_the_page_of_metrics_is_the_registrys() -> None:
    assert PAGE.read_text() == metrics_page()
    for name in METRICS:
        assert f"| `{name}` |" in PAGE.read_text()


WITH_CASES = ("docs/first-case.md", "docs/cases.md")


@pytest.mark.parametrize("page", WITH_CASES)
def test_examples_in_the_docs_are_valid_yaml(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS.parent / page).read_text(), re.DOTALL)
    assert blocks
    assert all("cases" in yaml.safe_load(block) for block in blocks)


def test_the_examples_of_case_files_pass_with_the_embedded_reference(tmp_path: Path) -> None:
    """As they stand, in the shipped folder of cases: a reader pastes them there."""
    model = load_model("reference")
    shutil.copytree(DOCS.parent / "cases" / "images", tmp_path / "images")
    shipped = {c.id for path in (DOCS.parent / "cases").glob("*.yaml") for c in load_cases(path)}
    found = 0
    for page in WITH_CASES:
        text = (DOCS.parent / page).read_text()
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
            path = tmp_path / "mine.yaml"
            path.write_text(textwrap.dedent(block))
            cases = load_cases(path)
            assert not {case.id for case in cases} & shipped, page
            for each in audit_cases(cases, model):
                assert each.outcome.state is State.PASSED, (page, each.outcome.sentence)
                found += 1
    assert found == 11


def test_the_examples_of_the_page_about_models_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").symlink_to(DOCS.parent / "cases")
    script, loader = re.findall(r"```python\n(.*?)```", (DOCS / "models.md").read_text(), re.DOTALL)
    exec(script, {})
    assert capsys.readouterr().out.startswith("yes (")
    assert list((tmp_path / "pictures").glob("two-birds.*.png"))
    found = ModuleType("toy_audit")
    exec(loader, found.__dict__)
    assert isinstance(found, Loader)
    assert found.accepts("toy:small")
    assert found.known("toy").labels == ("no", "yes", "maybe")


@pytest.mark.parametrize(
    "page",
    [
        *(page.relative_to(DOCS.parent).as_posix() for page in DOCS.rglob("*.md")),
        *OUTSIDE,
    ],
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """Those to headings are checked when the site is built, which names headings as GitHub does."""
    path = DOCS.parent / page
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_readme_leads_to_every_page_of_the_docs() -> None:
    text = (DOCS.parent / "README.md").read_text()
    linked = {DOCS.parent / target for target in re.findall(r"\]\(([^)#\s]+)", text)}
    assert [page.name for page in DOCS.glob("*.md") if page not in linked] == []


def test_the_examples_of_the_page_about_tables_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("1.4", "1.5"):
        run = Run(tmp_path / version)
        audited(made(tmp_path / f"project-{version}"), run.folder, tmp_path / "baselines")
        write_table(table_of(run), tmp_path / "tables" / f"{version}.parquet")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "tables.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, {})
    said = capsys.readouterr().out
    assert "answer_attention.mass[birds]" in said
    assert "questions" in said
    with Image.open(tmp_path / "mass.png") as drawn:
        assert drawn.size == (640, 480)


def test_every_column_of_a_table_is_documented() -> None:
    page = (DOCS / "tables.md").read_text()
    for name in (*FIXED, *IDENTITY):
        assert f"`{name}`" in page, name
