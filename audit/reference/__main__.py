"""Make or measure an embedded model: ``python -m audit.reference train`` and ``evaluate``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from audit.base.console import progress
from audit.base.errors import MissingExtra
from audit.base.extras import require
from audit.reference.chat.recipe import CHATS, ChatRecipe
from audit.reference.recipe import RECIPES, Recipe

ALL: dict[str, Recipe | ChatRecipe] = {**RECIPES, **CHATS}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m audit.reference", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, export into the package, measure")
    train.add_argument("--work", type=Path, help="folder for the stages (default: MODEL-training)")
    evaluate = commands.add_parser("evaluate", help="measure the shipped model on held-out scenes")
    for command in (train, evaluate):
        command.add_argument("--model", choices=list(ALL), default="reference")
        command.add_argument("--scenes", type=int, help="held-out scenes (default: the recipe's)")
    given = parser.parse_args()
    try:
        require("hf" if given.model in CHATS else "ofa", "this")
    except MissingExtra as error:
        parser.error(str(error))
    recipe = ALL[given.model]
    started = time.monotonic()
    if given.command == "train":
        _train(given.model, given.work or Path(f"{given.model}-training"))
        print(f"trained in {(time.monotonic() - started) / 60:.0f} minutes")
    from audit.models.registry import load_model  # noqa: PLC0415
    from audit.reference import evaluation  # noqa: PLC0415

    measure = evaluation.evaluate_marked if recipe.marked else evaluation.evaluate
    scenes = given.scenes or recipe.held_out_scenes
    print(json.dumps(measure(load_model(given.model), recipe, scenes, progress), indent=1))


def _train(name: str, work: Path) -> None:
    from audit.reference.export import SHIPPED, export  # noqa: PLC0415  torch, only to train

    if name in CHATS:
        from audit.reference.chat.export import export as export_chat  # noqa: PLC0415
        from audit.reference.chat.training import train as train_chat  # noqa: PLC0415

        model, tokenizer = train_chat(CHATS[name], work, progress)
        export_chat(model, tokenizer, CHATS[name], SHIPPED / name)
        return
    from audit.reference.training import train  # noqa: PLC0415

    model, _ = train(RECIPES[name], work, progress)
    export(model, RECIPES[name], work, SHIPPED / name)


if __name__ == "__main__":
    main()
