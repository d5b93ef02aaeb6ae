"""The examples of docs/import.md run as they are written there, on small sources of their names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.cases.loading import load_cases
from audit.commands.main import app
from tests.source_files import boxes_xml, csv, entities, jsonl, picture, saved

PAGE = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("audit import")
]


@pytest.fixture(autouse=True)
def _sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page names; its table of pairs is the one on the page."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/birds.jpg", "photos/cat.jpg", "captioned/a/birds.jpg",
                 "flickr30k-images/a.jpg", "flickr30k-images/4705552913.jpg"):  # fmt: skip
        picture(Path(name))
    table = re.search(r"```\n(image,text,label,kind\n.*?)```", PAGE, re.DOTALL)
    assert table is not None
    Path("pairs.csv").write_text(table[1])
    csv(Path("fotos.csv"), "bild;satz;urteil", "photos/cat.jpg;eine Katze;ja")
    row = {"Flickr30K_ID": "4705552913", "sentence1": "Two men.", "sentence2": "People.",
           "gold_label": "neutral", "pairID": "4705552913.jpg#2r1n"}  # fmt: skip
    jsonl(Path("snli_ve_dev.jsonl"), row)
    picture(Path("val2017/kitchen.jpg"), size=(640, 480))
    annotation = {"image_id": 1, "category_id": 1, "bbox": [446.2, 169.4, 48.9, 116.7]}
    instances = {
        "images": [{"id": 1, "file_name": "kitchen.jpg", "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "refrigerator"}],
        "annotations": [annotation],
    }
    Path("instances_val2017.json").write_text(json.dumps(instances))
    entities(Path("flickr30k_entities"), "[/EN#1/people Two men] are talking\n",
             boxes_xml(("1", (1, 2, 3, 4))))  # fmt: skip
    content = {"bytes": Path("photos/cat.jpg").read_bytes(), "path": "cat.jpg"}
    columns = {"image": [content], "hypothesis": ["a cat"], "label": ["yes"]}
    saved(Path("my_dataset"), columns, split="test")
    csv(Path("photos/metadata.csv"), "file_name,text", "birds.jpg,two birds")
    Path("captioned/a/birds.txt").write_text("two birds")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c[2]}-{len(c)}")
def test_an_example_makes_cases_that_load(command: list[str]) -> None:
    done = CliRunner().invoke(app, command[1:])
    assert done.exit_code == 0, done.output
    out = Path(command[command.index("--out") + 1])
    assert load_cases(out)
    assert not out.with_suffix(".refused.txt").exists()
    if command[2] == "instances_val2017.json":
        (shown,) = re.findall(r"```yaml\n(  - id: kitchen.*?)```", PAGE, re.DOTALL)
        assert shown in out.read_text()
    shutil.rmtree("cases")


def test_every_kind_of_source_has_an_example() -> None:
    assert len({command[2] for command in COMMANDS}) == 8
