"""Write the files of the trained chat model that ship, in the form of a Hugging Face folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import Qwen2_5_VLProcessor, Qwen2VLVideoProcessor

from audit.base.files import write_json
from audit.models.hf.embedded import ASKING, COPIED
from audit.models.kit.unpacking import PARAMETERS
from audit.reference.chat.language import TEMPLATE
from audit.reference.chat.pictures import image_processor
from audit.reference.chat.recipe import ChatRecipe


def export(model: Any, tokenizer: Any, recipe: ChatRecipe, folder: Path) -> None:
    """Write the files of ``model`` that ship into ``folder``."""
    folder.mkdir(exist_ok=True)
    parameters = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # it is the embedding
    }
    partial = (folder / PARAMETERS).with_suffix(".partial")
    save_file(parameters, partial)
    partial.replace(folder / PARAMETERS)
    with tempfile.TemporaryDirectory() as made:
        _describe(model, tokenizer, recipe, Path(made))
        for name in COPIED:
            if name != ASKING:  # written by hand, and read before training
                shutil.copyfile(Path(made) / name, folder / name)


def _describe(model: Any, tokenizer: Any, recipe: ChatRecipe, folder: Path) -> None:
    """Everything but the weights, as transformers writes it."""
    processor = Qwen2_5_VLProcessor(
        image_processor=image_processor(recipe),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(
            patch_size=recipe.patch_size, merge_size=recipe.merge_size
        ),
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    # Newer versions of transformers build Qwen2's own class anew, without the lower case.
    described["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(path, described)
