"""Random damage to a checkpoint folder, as from disks, editors, merges and strangers, by seed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 48, 481, 10**9, 10**30, 0.5, -2.5, 1e308, "", "480", "x",
    "../../x", "/etc/passwd", "{0}", "{} {} {}", "\ud800", [], [1], {}, {"a": 1}, [[]], "nan",
]  # fmt: skip
DESCRIPTIONS = ("configuration.json", "config.json")
OTHERS = ("answers.json", "vocab.json", "merges.txt", "pytorch_model.bin")


def mutate(folder: Path, seed: int) -> str:
    """Damage one thing in the folder, and return what was done."""
    chance = random.Random(seed)
    ways: list[Callable[[Path, random.Random], str]] = [
        _value, _value, _value, _value, _key, _cut, _bytes, _kind, _tensor,
    ]  # fmt: skip
    return f"seed {seed}: {chance.choice(ways)(folder, chance)}"


def _value(folder: Path, chance: random.Random) -> str:
    """Change the value of a key that is read, or that modelscope would use."""
    path = folder / chance.choice(DESCRIPTIONS)
    data = json.loads(path.read_text())
    holder = data["model"] if "model" in data and chance.random() < 0.8 else data
    if "beam_search" in holder and chance.random() < 0.2:
        holder = holder["beam_search"]
    key, value = chance.choice([*holder, "prompt", "seed"]), chance.choice(VALUES)
    holder[key] = value
    path.write_text(json.dumps(data))
    return f"{path.name}: {key} = {value!r}"


def _key(folder: Path, chance: random.Random) -> str:
    path = folder / chance.choice([*DESCRIPTIONS, "answers.json", "vocab.json"])
    data = json.loads(path.read_text())
    key = chance.choice(list(data))
    del data[key]
    path.write_text(json.dumps(data))
    return f"{path.name}: without {key}"


def _cut(folder: Path, chance: random.Random) -> str:
    path = folder / chance.choice([*DESCRIPTIONS, *OTHERS])
    data = path.read_bytes()
    kept = chance.choice([0, 1, len(data) // 2, len(data) - 1])
    path.write_bytes(data[:kept])
    return f"{path.name}: cut to {kept} of {len(data)} bytes"


def _bytes(folder: Path, chance: random.Random) -> str:
    path = folder / chance.choice([*DESCRIPTIONS, *OTHERS])
    data = bytearray(path.read_bytes())
    places = [chance.randrange(len(data)) for _ in range(chance.choice([1, 20]))]
    for place in places:
        data[place] = chance.randrange(256)
    path.write_bytes(bytes(data))
    return f"{path.name}: other bytes at {places[:3]}"


def _kind(folder: Path, chance: random.Random) -> str:
    names = [*DESCRIPTIONS, *OTHERS, "model.safetensors", "tokenizer_config.json"]
    path, kind = folder / chance.choice(names), chance.choice(["pipe", "folder", "nowhere", "zero"])
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "zero" else folder / "nothing")
    return f"{path.name}: {kind}"


def _tensor(folder: Path, chance: random.Random) -> str:
    path = folder / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    name = chance.choice(sorted(weights))
    value, way = weights.pop(name), chance.choice(["lost", "flat", "half", "nan", "bool", "empty"])
    match way:
        case "flat":
            weights[name] = value.flatten()
        case "half":
            weights[name] = value.half()
        case "nan":
            weights[name] = value * float("nan")
        case "bool":
            weights[name] = value.bool()
        case "empty":
            weights[name] = value[:0] if value.dim() else value
    torch.save(weights, path)
    return f"{name}: {way}"
