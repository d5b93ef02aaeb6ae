"""What a pass may leave behind: on a network of torch, in random states, in pictures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from audit.base.files import digest
from audit.models.kit.fingerprints import weights_digest

State = Mapping[str, Any]
"""What can be seen of a network and its surroundings, by what it is."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def state_of(network: nn.Module | None, pictures: Sequence[Image.Image] = ()) -> State:
    """What can be seen now, to be compared with what can be seen later.

    Args:
        network: of torch, if the model has one and shows it.
        pictures: those that the model is given.
    """
    found: dict[str, Any] = {
        "the pictures": [digest(image.mode, image.tobytes()) for image in pictures],
        "Python's random state": random.getstate(),
        "NumPy's random state": _of_numpy(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "whether torch records gradients": torch.is_grad_enabled(),
        "torch's default type": torch.get_default_dtype(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states = torch.cuda.get_rng_state_all()
        found["CUDA's random state"] = [state.numpy().tobytes() for state in states]
    return found | ({} if network is None else _of_network(network))


def told_changes(before: State, after: State) -> list[str]:
    """What is not as it was, each in words."""
    told = []
    for name, now in after.items():
        was = before.get(name)
        if was == now:
            continue
        if isinstance(was, frozenset):
            new = sorted(now - was) or sorted(was - now)
            told.append(f"{name} are not as before ({len(new)} changed, such as {new[0]})")
        else:
            told.append(f"{name} is not as before")
    return told


def _of_numpy() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return (kind, bytes(np.asarray(keys)), *rest)


def _of_network(network: nn.Module) -> dict[str, Any]:
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    hooks = [
        f"{name or 'the network itself'} {kind}"
        for name, module in modules.items()
        for kind in _HOOKS
        if getattr(module, kind)
    ]
    kept = [
        f"{name}.{attribute}"
        for name, module in modules.items()
        for attribute, value in vars(module).items()
        if isinstance(value, Tensor)
    ]
    return {
        "the network's hooks": frozenset(hooks),
        "tensors that modules keep": frozenset(kept),
        "modules in training mode": frozenset(n for n, m in modules.items() if m.training),
        "parameters that require gradients": frozenset(
            n for n, p in parameters.items() if p.requires_grad
        ),
        "parameters that hold a gradient": frozenset(
            n for n, p in parameters.items() if p.grad is not None
        ),
        "the network's weights": weights_digest(network),
    }
