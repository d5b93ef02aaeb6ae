"""Write the files of a trained model that ship: float16 parameters and a few small files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from audit.base.files import write_atomically, write_json
from audit.reference.recipe import Recipe
from audit.reference.tokens import MOST_TOKENS

SHIPPED = Path(__file__).parent
"""Here each embedded model has a folder with its name."""

_CONFIGURATION: dict[str, Any] = {
    "framework": "pytorch",
    "task": "visual-entailment",
    "model": {
        "type": "ofa",
        "language": "en",
        "max_src_length": MOST_TOKENS,
        "imagenet_default_mean_and_std": False,
        "gen_type": "traverse",
        "prompt_type": "prev_output",
        "answer2label": "answer2label.json",
    },
    "pipeline": {"type": "visual-entailment"},
    "preprocessor": {"type": "ofa-tasks-preprocessor"},
}


def export(model: Any, recipe: Recipe, work: Path, folder: Path) -> None:
    """Write the files of ``model`` that ship into ``folder``; its vocabulary is in ``work``."""
    parameters = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
        and name not in ("decoder.embed_tokens.weight", "decoder.output_projection.weight")
    }
    folder.mkdir(exist_ok=True)
    target = folder / "parameters.safetensors"
    partial = target.with_suffix(".partial")
    save_file(parameters, partial)
    partial.replace(target)
    config = {k: v for k, v in model.config.to_dict().items() if k != "transformers_version"}
    write_json(folder / "config.json", config)
    configuration = json.loads(json.dumps(_CONFIGURATION))
    configuration["model"]["patch_image_size"] = recipe.image_size
    write_json(folder / "configuration.json", configuration)
    # The order of the answers is the order of the model's labels, so keys are not sorted here.
    write_atomically(folder / "answer2label.json", b'{"no": 0, "yes": 1, "maybe": 2}\n')
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(work / name, folder / name)
