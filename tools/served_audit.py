"""Shows the audit of a served model: ``python -m tools.served_audit [--model SOURCE]``.

The HTTP server of the tests answers with a chat model; pytest audits some shipped cases through it,
in processes of their own, and ``audit compare`` is the gate of its stack: first of the stack as it
is, then of one that scales pictures otherwise. ``docs/models.md`` shows what is printed. Without
``--model`` the model is a tiny one with random weights, whose answers mean nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from audit.models.registry import known
from tests import tiny_chat
from tests.chat_server import ChatServer, serving

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "cases"
ASKING = "answers: {yes: [Yes, yes], no: [No, no]}\n"

LABELS = ("three-cats", "not-two-cats", "white-rabbit", "not-three-rabbits", "no-dog-on-the-branch")
MAP = "blue-bird"
"""Shipped cases: of some the label alone is asked, of one also where the model looks."""

Run = Callable[[list[str]], int]
"""Runs a command of Python's modules, and gives its exit code."""


def chosen() -> str:
    """A case file with the chosen cases; its maps are such as a server can be asked for."""
    found: dict[str, dict[str, Any]] = {}
    for path in SHIPPED.glob("*.yaml"):
        for case in yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)["cases"]:
            found[case["id"]] = case
    cases = []
    for name in (*LABELS, MAP):
        case = {key: found[name][key] for key in ("id", "image", "text")}
        expect: dict[str, Any] = {"label": found[name]["expect"]["label"]}
        if name == MAP:
            boxes = found[name]["regions"]["birds"]
            case["regions"] = {"birds": [[int(side) for side in box] for box in boxes]}
            case["map"] = {"method": "occlusion", "window": 3, "stride": 3}
            expect["attention"] = [{"metric": "mass", "region": "birds", "min": 0.1}]
        cases.append({"map": {"method": "uniform"}} | case | {"expect": expect})
    return yaml.safe_dump({"cases": cases}, sort_keys=False)


def prepare(project: Path, checkpoint: Path) -> None:
    """Write what a user of a served model has: cases, an asking file, a configuration."""
    shutil.copytree(SHIPPED / "images", project / "cases" / "images")
    (project / "cases" / "some.yaml").write_text(chosen())
    own = checkpoint / "asking.yaml"
    (project / "asking.yaml").write_text(own.read_text() if own.is_file() else ASKING)
    (project / "pytest.ini").write_text("[pytest]\naudit_asking = asking.yaml\n")


def in_project(project: Path) -> Run:
    """Runs commands in the project as a user would, and shows each with what it prints."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "100"}
    env.pop("CI", None)  # a pipeline may not accept baselines, and the user shown here is none

    def run(command: list[str]) -> int:
        print(f"\n$ {shlex.join(command)}", flush=True)
        whole = [sys.executable, "-m", *command]
        return subprocess.run(whole, cwd=project, env=env, check=False).returncode

    return run


def show(run: Run, checkpoint: Path, server: ChatServer) -> list[int]:
    """Audit through the server, then compare its stack with transformers; the exit codes."""
    audited = ["pytest", "cases", "--audit-model", server.source]
    compared = [
        "audit", "compare", f"hf:{checkpoint}", server.source, "--same-weights",
        "--asking", "asking.yaml", "--device", "cpu", "--cases", "cases/*.yaml",
    ]  # fmt: skip
    codes = [run([*audited, "--audit-update=new"]), run(audited), run(compared)]
    print("\nThe server now scales pictures by taking the nearest pixel.", flush=True)
    server.processor.image_processor.resample = 0
    return [*codes, run(compared)]


def main() -> None:
    """Make a project with some shipped cases, serve a model, and show its audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", metavar="SOURCE", help="whose checkpoint the server has")
    source = parser.parse_args().model
    with tempfile.TemporaryDirectory(prefix="audit-served-") as temporary:
        project = Path(temporary)
        checkpoint = known(source, fetch=True).folder if source else project / "tiny-chat"
        if checkpoint is None:
            parser.error(f"{source}: there is no folder whose model could be served")
        if not source:
            tiny_chat.save("qwen2_5_vl", checkpoint, seed=4)
        prepare(project, checkpoint)
        with serving(checkpoint) as server:
            show(in_project(project), checkpoint, server)


if __name__ == "__main__":
    main()
