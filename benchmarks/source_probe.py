"""Makes small sources of every kind, for :mod:`benchmarks.fuzz` to change and import."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.mutations import folder_changed
from tests.source_files import boxes_xml, coco, csv, entities, jsonl, picture, saved


def _sound(folder: Path) -> list[Path]:
    """The sources, each in a folder of its own with its picture."""
    import pyarrow as pa
    from pyarrow import parquet

    row = {"image": "a.png", "text": "a dog", "label": "yes", "regions": {"dog": [1, 2, 3, 4]}}
    columns = {
        "image": ["a.png", "a.png"],
        "text": ["two birds", "a dog"],
        "label": ["yes", "no"],
        "share": [0.5, 1.5],
    }
    inside = {"bytes": picture(folder / "a.png").read_bytes(), "path": "a.png"}
    for name in ("csv", "jsonl", "coco", "entities", "parquet", "saved", "captions"):
        picture(folder / name / "a.png")
    csv(folder / "csv" / "t.csv", "id,image,text,label", *(f'r{n},a.png,"t, {n}",no' for n in "ab"))
    jsonl(folder / "jsonl" / "t.jsonl", row, row)
    coco(folder / "coco" / "t.json", [[1, 2, 3.5, 4], [0, 0, 40, 30]])
    entities(folder / "entities", "[/EN#1/people Two men] run\n", boxes_xml(("1", (1, 2, 30, 20))))
    parquet.write_table(pa.table(columns), folder / "parquet" / "t.parquet")
    saved(folder / "saved" / "set", {**columns, "image": [inside, inside]}, split="train")
    (folder / "captions" / "a.txt").write_text("two birds")
    return [
        folder / "csv" / "t.csv",
        folder / "jsonl" / "t.jsonl",
        folder / "coco" / "t.json",
        folder / "entities",
        folder / "parquet" / "t.parquet",
        folder / "saved" / "set",
        folder / "captions",
    ]


def probe_sources(folder: Path) -> Callable[[int], str]:
    """Changed sources, imported; a case file that is made of them must load."""
    from audit.base.errors import SourceError
    from audit.cases.loading import load_cases
    from audit.sources.importing import import_cases
    from audit.sources.reading import open_source
    from audit.sources.rows import Options

    top = folder / "sound"
    sound = _sound(top)

    def imported(source: Path, out: Path) -> str:
        try:
            rows = open_source(source, Options()).rows()
            done = import_cases(rows, out, about="changed", copy=True)
        except SourceError:
            return "refused"
        if done.cases:
            assert len(load_cases(out)) == done.cases
        return "read" if done.cases else "refused"

    for source in sound:
        if imported(source, folder / "out" / "t.yaml") == "refused":
            raise AssertionError(f"the unchanged {source} is refused")

    def probe(seed: int) -> str:
        rng = Random(seed)
        chosen = rng.choice(sound)
        home = top / chosen.relative_to(top).parts[0]
        work = folder / f"source-{seed}"
        shutil.copytree(home, work / "in")
        try:
            files = sorted(p for p in (work / "in").rglob("*") if p.is_file())
            light = [p for p in files if p.suffix != ".png"]
            folder_changed(work / "in", rng, light if rng.random() < 0.9 else files)
            return imported(work / "in" / chosen.relative_to(home), work / "t.yaml")
        finally:
            shutil.rmtree(work, ignore_errors=True)

    return probe
