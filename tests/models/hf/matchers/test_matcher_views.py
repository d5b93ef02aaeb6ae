"""The cell on which a part of a picture falls is the cell that its region's mask names.

It is found from the network itself: the embedding of a patch changes when a bright square is drawn
on the picture where the patch lies, and before the first layer no other patch's does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from audit.base.geometry import WHOLE, Box, Grid, mask
from audit.maps.trace import ANSWER
from audit.models.hf.anatomies import vilt_batch
from audit.models.hf.matchers import MATCHERS
from audit.models.hf.matching import MatchingModel
from audit.models.hf.pairs import collated
from audit.models.hf.prompted import PromptedModel
from audit.models.hf.sources import found
from audit.models.protocol import Query

SIZES = ((120, 80), (72, 132), (96, 96), (300, 60))
PLACES = ((0.42, 0.3), (0.6, 0.62), (0.06, 0.76))
SIDE = 0.2


def pictures(size: tuple[int, int], place: tuple[float, float]) -> tuple[list[Image.Image], Box]:
    """A dark picture without and with one bright square, and where the square is."""
    width, height = size
    left, top = round(place[0] * width), round(place[1] * height)
    right, bottom = left + round(SIDE * width), top + round(SIDE * height)
    dark = Image.new("RGB", size, (40, 40, 40))
    bright = dark.copy()
    bright.paste((255, 255, 255), (left, top, right, bottom))
    return [dark, bright], Box(left / width, top / height, right / width, bottom / height)


def embedded(model: MatchingModel, query: Query) -> Tensor:
    """The picture's tokens as they enter the first layer, from its first cell on: (cells, size)."""
    network, pair = model.torch_model, model.pair(query)
    cells = pair.grid.rows * pair.grid.cols
    if "vilt" in type(network).__name__.lower():
        batch = vilt_batch(network, [pair], 0, torch.device("cpu"), torch.float32)
        return batch["image_embeds"][0, 1 : 1 + cells]
    seen: list[Tensor] = []
    embeddings = network.vision_model.embeddings
    handle = embeddings.register_forward_hook(lambda _module, _given, made: seen.append(made))
    model._logs([pair])
    handle.remove()
    before = model._anatomy.before
    return seen[0][0, before : before + cells]


@pytest.mark.parametrize("family", MATCHERS)
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_a_bright_square_is_where_its_mask_is(
    family: str, size: tuple[int, int], matcher: Callable[[str], MatchingModel]
) -> None:
    model = matcher(family)
    for place in PLACES:
        both, box = pictures(size, place)
        (trace,) = model.trace([Query(both[1], "a white square")])
        dark, bright = (embedded(model, Query(each, "a white square")) for each in both)
        moved = (bright - dark).norm(dim=-1).double().numpy().reshape(trace.grid)
        named = mask([box], trace.grid, trace.view)
        assert trace.view == WHOLE
        assert named.ravel()[moved.argmax()] >= 0.5 * named.max(), (moved, named)
        assert (moved[named == 0] < 0.35 * moved.max()).all()  # scaling blurs the edges


def test_pictures_keep_their_shape_where_the_family_keeps_it(
    matcher: Callable[[str], MatchingModel],
) -> None:
    wide, high = (Query(Image.new("RGB", size), "a") for size in ((120, 60), (60, 120)))
    for family, expected in (("vilt", Grid(3, 6)), ("siglip2", Grid(3, 6)), ("blip", Grid(4, 4))):
        found = [trace.grid for trace in matcher(family).trace([wide, high])]
        assert found == [expected, Grid(expected.cols, expected.rows)], family


def test_padding_is_no_part_of_the_map(matcher: Callable[[str], MatchingModel]) -> None:
    # 3 × 6 patches are fewer than the 20 to which SigLIP 2 pads.
    query = Query(Image.effect_noise((120, 60), 90).convert("RGB"), "a white square")
    (trace,) = matcher("siglip2").trace([query], frozenset({ANSWER}))
    assert collated([matcher("siglip2").pair(query)], 0)["pixel_values"].shape[1] == 20
    assert trace.readings[ANSWER].cells.sum() == pytest.approx(1.0, abs=1e-6)


def test_what_is_cropped_is_no_part_of_the_view(prompted_folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = shutil.copytree(prompted_folder, tmp_path / "cropping")
    named = next(
        path for path in (folder / "preprocessor_config.json", folder / "processor_config.json")
        if path.is_file() and "crop" in path.read_text()
    )  # fmt: skip
    said = json.loads(named.read_text())
    steps = said.get("image_processor", said)
    steps |= {"do_center_crop": True, "size": {"shortest_edge": 32},
              "crop_size": {"height": 32, "width": 32}}  # fmt: skip
    named.write_text(json.dumps(said))
    model = PromptedModel(found(f"hf:{folder}"), device="cpu")
    (trace,) = model.trace([Query(Image.new("RGB", (128, 64)), "a")])
    assert trace.view == Box(0.25, 0.0, 0.75, 1.0)
