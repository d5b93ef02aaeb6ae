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


def surroundings(network: nn.Module | None, pictures: Sequence[Image.Image]) -> State:
    """What a pass may change around the network, and what its modules keep of a pass.

    Args:
        network: of torch, if the model has one and shows it.
        pictures: those that the model is given.
    """
    found: dict[str, Any] = {
        "what is in the pictures": [digest(image.mode, image.tobytes()) for image in pictures],
        "Python's random state": random.getstate(),
        "NumPy's random state": _of_numpy(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "whether torch records gradients": torch.is_grad_enabled(),
        "torch's default type": torch.get_default_dtype(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states = torch.cuda.get_rng_state_all()
        found["CUDA's random state"] = [state.numpy().tobytes() for state in states]
    modules = () if network is None else network.named_modules()
    found["tensors that modules keep"] = {
        f"{name}.{attribute}": value
        for name, module in modules
        for attribute, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    return found


def network_state(network: nn.Module | None) -> State:
    """Hooks, modes, gradients and weights of a network; empty without one."""
    if network is None:
        return {}
    hooks = {
        f"{name or 'the network itself'}{kind}": len(getattr(module, kind))
        for name, module in network.named_modules()
        for kind in _HOOKS
        if getattr(module, kind)
    }
    parameters = dict(network.named_parameters())
    return {
        "hooks on the network": hooks,
        "training modes of modules": {n: m.training for n, m in network.named_modules()},
        "settings of requires_grad": {n: p.requires_grad for n, p in parameters.items()},
        "gradients of parameters": {n: True for n, p in parameters.items() if p.grad is not None},
        "the network's weights": weights_digest(network),
    }


def told_changes(before: State, after: State) -> list[str]:
    """What is not as it was, each in words."""
    told = []
    for name, now in after.items():
        was = before[name]
        if not isinstance(now, dict):
            if was != now:
                told.append(f"{name} changed")
            continue
        # By identity: what a module caches once is no remains, what each pass leaves anew is.
        other = [key for key in {**was, **now} if was.get(key) is not now.get(key)]
        if other:
            told.append(f"{name} changed ({len(other)} of them, such as {other[0]})")
    return told


def _of_numpy() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return (kind, bytes(np.asarray(keys)), *rest)
