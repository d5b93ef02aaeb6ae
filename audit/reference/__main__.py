"""Make or measure an embedded model: ``python -m audit.reference train`` and ``evaluate``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from audit.base.console import progress
from audit.base.errors import MissingExtra
from audit.base.extras import require
from audit.reference.recipe import RECIPES


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m audit.reference", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, export into the package, measure")
    train.add_argument("--work", type=Path, help="folder for the stages (default: MODEL-training)")
    evaluate = commands.add_parser("evaluate", help="measure the shipped model on held-out scenes")
    for command in (train, evaluate):
        command.add_argument("--model", choices=list(RECIPES), default="reference")
        command.add_argument("--scenes", type=int, help="held-out scenes (default: the recipe's)")
    given = parser.parse_args()
    try:
        require("ofa", "this")
    except MissingExtra as error:
        parser.error(str(error))
    recipe = RECIPES[given.model]
    started = time.monotonic()
    if given.command == "train":
        from audit.reference.export import SHIPPED, export  # noqa: PLC0415  torch, only to train
        from audit.reference.training import train as run  # noqa: PLC0415

        work = given.work or Path(f"{given.model}-training")
        model, _ = run(recipe, work, progress)
        export(model, recipe, work, SHIPPED / given.model)
        print(f"trained in {(time.monotonic() - started) / 60:.0f} minutes")
    from audit.models.registry import load_model  # noqa: PLC0415
    from audit.reference import evaluation  # noqa: PLC0415

    measure = evaluation.evaluate_marked if recipe.marked else evaluation.evaluate
    scenes = given.scenes or recipe.held_out_scenes
    print(json.dumps(measure(load_model(given.model), recipe, scenes, progress), indent=1))


if __name__ == "__main__":
    main()
