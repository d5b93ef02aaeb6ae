"""Hooks see exactly what they must, and leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audit.base.errors import CaptureError
from audit.models.kit.attention import capture


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_inputs_and_outputs_are_recorded_reduced_and_in_order(model: nn.Sequential) -> None:
    x = torch.tensor([[1.0, -2.0]])
    expected = model(x)
    with capture([model[1], model[2]], lambda _, t: t.sum()) as entering:
        assert torch.equal(model(x), expected)
    hidden = model[0](x)
    assert entering.once() == [hidden.sum(), hidden.relu().sum()]
    with capture([model[2]], lambda n, t: t * (n + 2), output=True) as leaving:
        model(x)
    assert torch.equal(leaving.once()[0], expected * 2)


def test_a_site_that_is_skipped_or_called_twice_is_an_error(model: nn.Sequential) -> None:
    x = torch.zeros(1, 2)
    with capture([model[0]], lambda _, t: t.clone()) as captured:
        with pytest.raises(CaptureError, match=r"saw \[0\]"):
            captured.once()
        model(x)
        assert len(captured.once()) == 1
        model(x)
        with pytest.raises(CaptureError, match=r"saw \[2\]"):
            captured.once()


def test_no_hook_survives_an_exception(model: nn.Sequential) -> None:
    during = []

    def fails(_: int, __: Tensor) -> Tensor:
        during.append(hooks(model))
        raise ValueError("in the hook")

    assert hooks(model) == 0
    with pytest.raises(ValueError, match="in the hook"), capture(list(model), fails):
        model(torch.zeros(1, 2))
    assert during == [3]
    assert hooks(model) == 0
