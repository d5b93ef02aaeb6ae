"""What is planted in the packages below the model ends in the state ``stack``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import audit.models.ofa.adapter
from audit import load_model
from audit.cases.loading import Case, load_cases
from audit.gate import baselines
from audit.gate.omnibus import judge_omnibus
from audit.gate.outcomes import Outcome, State
from audit.gate.tolerances import load_noise
from audit.gate.verdict import Policy
from audit.models.kit.stack import stack
from audit.models.protocol import Model
from audit.runs.runner import audit_cases

ROOT = Path(__file__).parents[2]
NOISE = load_noise(ROOT / "baselines" / "reference")

pytestmark = pytest.mark.slow


def some_cases() -> list[Case]:
    files = [ROOT / "cases" / f"{name}.yaml" for name in ("guide", "counting", "colours")]
    return [case for file in files for case in load_cases(file)]


CASES = some_cases()


def origin(model: Model) -> dict[str, Any]:
    fingerprint = model.fingerprint
    return {"model": fingerprint.to_dict(), "stack": stack(fingerprint.device)}


def accepted(model: Model, folder: Path) -> Path:
    policy = Policy(folder, "all", origin(model))
    for found in audit_cases(CASES, model, policy=policy):
        assert found.proposal is not None, found.outcome.sentence
        found.proposal.write(folder / "proposals")
    baselines.promote(folder / "proposals", folder / "accepted")
    return folder / "accepted"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Baselines of the reference model."""
    return accepted(load_model("reference", "cpu"), tmp_path_factory.mktemp("float32"))


def audited(model: Model, folder: Path, batch_size: int = 8) -> Sequence[Outcome]:
    policy = Policy(folder, "", origin(model), NOISE)
    return [
        each.outcome for each in audit_cases(CASES, model, policy=policy, batch_size=batch_size)
    ]


def other_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are scaled by another filter than the one that is asked for."""
    resize = Image.Image.resize

    def scaled(image: Image.Image, size: Any, resample: Any = None, *more: Any) -> Image.Image:
        return resize(image, size, Image.Resampling.BILINEAR, *more)

    monkeypatch.setattr(Image.Image, "resize", scaled)


def without_antialiasing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are scaled by the filter that is asked for, without antialiasing."""

    def scaled(image: Image.Image, size: Any, resample: Any = None, *more: Any) -> Image.Image:
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1)[None]
        small = F.interpolate(pixels, size=size[::-1], mode="bicubic", antialias=False)
        return Image.fromarray(small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())

    monkeypatch.setattr(Image.Image, "resize", scaled)


def wrong_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attention backend masks one key too many."""
    attend = F.scaled_dot_product_attention

    def masked(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor, **more: Any) -> Tensor:
        bias = attn_mask.clone()
        bias[..., -1] = float("-inf")
        return attend(q, k, v, attn_mask=bias, **more)

    monkeypatch.setattr(audit.models.ofa.adapter, "gains_by_fusion", lambda _: True)
    monkeypatch.setattr(F, "scaled_dot_product_attention", masked)


def half_precision(dtype: torch.dtype) -> Callable[[pytest.MonkeyPatch], None]:
    """Products are computed in half precision, whatever the model's own."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        linear = F.linear

        def halved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            own = None if bias is None else bias.to(dtype)
            return linear(x.to(dtype), weight.to(dtype), own).to(x.dtype)

        monkeypatch.setattr(F, "linear", halved)

    return plant


def another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of products are added up in another order, as another BLAS does."""
    linear = F.linear

    def split(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        at = x.shape[-1] // 3
        last = linear(x[..., at:].flip(-1), weight[:, at:].flip(-1))
        found = last + linear(x[..., :at], weight[:, :at])
        return found if bias is None else found + bias

    monkeypatch.setattr(F, "linear", split)


PLANTED = {
    "another filter": other_filter,
    "no antialiasing": without_antialiasing,
    "a wrong mask": wrong_mask,
    "bfloat16 products": half_precision(torch.bfloat16),
    "float16 products": half_precision(torch.float16),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_what_is_planted_below_the_model_is_told_from_its_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    outcomes = audited(load_model("reference", "cpu"), folder)
    moved = [o for o in outcomes if o.state is State.STACK]
    others = {o.state for o in outcomes} - {State.STACK, State.BROKEN, State.PASSED}
    assert moved
    assert not others
    assert all("the weights are the baseline's, and " in o.sentence for o in moved)
    together = judge_omnibus(outcomes, NOISE.level("float32", ["cpu"]))
    assert together is not None
    assert together.failed


def test_another_order_of_sums_is_harmless(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another_order(monkeypatch)
    for engine in ("fast", "reference"):
        outcomes = audited(load_model("reference", "cpu", engine=engine), folder)
        assert {o.state: o.sentence for o in outcomes if o.state is not State.PASSED} == {}
        together = judge_omnibus(outcomes, NOISE.level("float32", ["cpu"]))
        assert together is not None
        assert together.limit is not None
        assert not together.failed


def test_bfloat16_is_held_to_its_own_floor_against_its_own_baselines(tmp_path: Path) -> None:
    model = load_model("reference", "cpu", "bfloat16")
    folder = accepted(model, tmp_path)
    outcomes = audited(model, folder, batch_size=3)
    assert {o.state: o.sentence for o in outcomes if o.state is not State.PASSED} == {}
    (floor, full) = (NOISE.level(dtype, ["cpu"]) for dtype in ("bfloat16", "float32"))
    assert floor is not None
    assert full is not None
    probability = ("probability", "probability")
    widths = [each.floors[probability[0]][probability[1]] for each in (floor, full)]
    assert widths[0] > 10 * widths[1]
    tolerances = {o.drift[1].tolerance for o in outcomes}
    assert tolerances == {2 * widths[0]}
