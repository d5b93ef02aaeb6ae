"""``docs/first-case.md``, done as it says: in a browser, then in a terminal."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit.cases.loading import load_cases
from tests.app.test_app_browser import ask, download, drag, upload

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-case.md").read_text().split("## Without the browser")[0]
SHOWN = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])["cases"][0]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project like this one, with the picture and no cases, so that nothing here is changed."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naudit_baselines = "baselines/reference"\n'
    )
    (tmp_path / "cases" / "images").mkdir(parents=True)
    (picture,) = re.findall(r"`(cases/images/\S+)`", PAGE)
    shutil.copy(ROOT / picture, tmp_path / picture)
    return tmp_path


def save_a_case(browser: Any, address: str, project: Path, folder: Path) -> str:
    """Steps 2 to 4; returns the case file as the page shows it."""
    page = browser.new_page(viewport={"width": 1240, "height": 1400}, accept_downloads=True)
    page.goto(address)
    page.wait_for_selector("#ask")
    upload(page, project / "cases" / SHOWN["image"])
    page.wait_for_selector(".stage img[src^=data]")
    page.fill("#text textarea", SHOWN["text"])
    said, _ = ask(page)
    assert " yes " in f" {' '.join(said.split())} "
    drag(page, (0.1, 0.3, 0.9, 0.8))
    page.keyboard.type("cats")
    page.fill("#case-id input, #case-id textarea", "my-cats")
    page.click("#save")
    page.wait_for_selector("#yaml .cm-content")
    shown: str = page.inner_text("#yaml .cm-content")
    file, picture = download(page, "#case-files", folder)
    page.close()
    assert picture.read_bytes() == (project / "cases" / SHOWN["image"]).read_bytes()
    file.rename(project / "cases" / file.name)
    return shown


def run(project: Path, command: str) -> tuple[int, str]:
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/pytest"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=project, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "CI"},
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


def test_the_page_of_the_first_case_is_true_step_by_step(
    browser: Any, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "audit", "serve", f"--port={port}", "--device=cpu"],
        cwd=project, text=True, stdout=subprocess.PIPE,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            address = server.stdout.readline().removeprefix("page: ").strip()
            shown = save_a_case(browser, address, project, tmp_path_factory.mktemp("downloads"))
        finally:
            server.terminate()
    (case,) = load_cases(project / "cases" / "my-cats.yaml")
    found = yaml.safe_load(shown)["cases"][0]
    (box,) = found["regions"].pop("cats")
    assert box == pytest.approx(SHOWN["regions"].pop("cats")[0], abs=3)  # as a hand draws it
    assert found == SHOWN
    assert case.id == "my-cats"

    commands = [
        c.strip() for c in re.findall(r"```sh\n(\.venv/bin/pytest .*?)```", PAGE, re.DOTALL)
    ]
    ended = [run(project, command) for command in commands]
    assert [code for code, _ in ended] == [1, 0, 0, 1]
    (_, first), (_, accepted), (_, again), (_, other) = ended
    assert "new: there is no baseline for this case" in first
    assert "baselines accepted: 1, in baselines/reference" in accepted
    assert "suite-level gate cannot tell" in again
    assert "contract broken: mass of cats is" in other
    assert "labels: 1 of 1 as expected" in other
    names = {path.name for path in (project / "baselines" / "reference").glob("my-cats.*")}
    assert names == {"my-cats.json", "my-cats.npz"}
