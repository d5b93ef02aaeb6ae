"""``python -m audit.reference train`` and ``evaluate``: make the reference model, measure it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from audit.reference.recipe import RECIPE


def _progress(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    return iter(track(items, total=total, description=title))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m audit.reference", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, export into the package, measure")
    train.add_argument("--work", type=Path, default=Path("reference-training"))
    evaluate = commands.add_parser("evaluate", help="measure the shipped model on held-out scenes")
    for command in (train, evaluate):
        command.add_argument("--scenes", type=int, default=RECIPE.held_out_scenes)
    given = parser.parse_args()
    started = time.monotonic()
    if given.command == "train":
        from audit.reference.export import export  # noqa: PLC0415  torch, only to train
        from audit.reference.training import train as run  # noqa: PLC0415

        model, _ = run(RECIPE, given.work, _progress)
        export(model, RECIPE, given.work)
        print(f"trained in {(time.monotonic() - started) / 60:.0f} minutes")
    from audit import load_model  # noqa: PLC0415
    from audit.reference.evaluation import evaluate as measure  # noqa: PLC0415

    print(json.dumps(measure(load_model("reference"), RECIPE, given.scenes, _progress), indent=1))


if __name__ == "__main__":
    main()
