"""The weights of a checkpoint: which files are loaded, what they hold, and their digest.

transformers loads the first of four file names that exists, whatever else is in the folder. If the
file lacks tensors that the model has, transformers fills them with random numbers. So exactly that
file is read here before loading, and compared with the model after loading.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from audit.base.errors import ModelError
from audit.base.files import counted
from audit.models.kit.fingerprints import content, finite
from audit.models.ofa.description import Description
from audit.models.ofa.folderfile import check_ordinary, read_object

CANDIDATES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In transformers' order: the first that exists is loaded, the others are ignored."""

_INDEX_BYTES = 64_000_000
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_WHOLE = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8}
_PREFIX = "model."
_COUNTERS = "num_batches_tracked"
"""How many batches a normalisation saw in training: not used later, and not in older files."""
_VARIANCE = "running_var"
_WHOLE_NUMBERS = ("_rp_bucket", "image_position_idx", _COUNTERS)
"""The model's tables of positions and its counters; all other tensors hold fractions."""


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: its shape, its type and the file that holds it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path


@dataclass(frozen=True)
class Stored:
    """What the weight file holds, by the names that the model uses.

    Attributes:
        path: the file that was chosen; for a sharded checkpoint, its index.
    """

    path: Path
    tensors: Mapping[str, Tensor]


def chosen(folder: Path) -> Path:
    """The file that transformers loads from this folder, or the index of several.

    Raises:
        ModelError: there is no such file.
    """
    for name in CANDIDATES:
        if (folder / name).is_file():
            return folder / name
    for name in CANDIDATES:
        if (folder / name).exists() or (folder / name).is_symlink():
            check_ordinary(folder / name)
    raise ModelError(
        f"{folder}: there is no weight file (pytorch_model.bin or model.safetensors, or an index "
        "of several)"
    )


def stored(folder: Path) -> Stored:
    """Read names, shapes and types of the tensors that will be loaded, not their values.

    Raises:
        ModelError: a file is missing, cannot be read, or holds something else.
    """
    path = chosen(folder)
    tensors = _sharded(path) if path.name.endswith(".json") else _tensors(path)
    names = sorted(tensors)
    if any(name.startswith("model") for name in names):
        # As in transformers: if names begin with "model.", only these tensors are the model's.
        tensors = {n.removeprefix(_PREFIX): t for n, t in tensors.items() if n.startswith(_PREFIX)}
    if not any(name.startswith("encoder.") for name in tensors):
        raise ModelError(
            f"{path}: holds no tensor of an OFA encoder; its tensors are "
            f"{', '.join(names[:3]) or 'none'}"
        )
    return Stored(path, tensors)


def _sharded(index: Path) -> dict[str, Tensor]:
    content = read_object(index, _INDEX_BYTES)
    places = content.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{index}: weight_map must say which file holds which tensor")
    if not isinstance(content.get("metadata"), dict):
        raise ModelError(f"{index}: metadata must be an object; transformers reads it")
    for name, shard in places.items():
        if not isinstance(shard, str) or not shard or PurePosixPath(shard).name != shard:
            raise ModelError(f"{index}: {name} lies in {shard!r}, which is not a file beside it")
    found: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        path = index.parent / shard
        if not path.exists() and not path.is_symlink():
            raise ModelError(
                f"{index}: weight_map says that tensors are in {shard}, but there is no {shard} "
                "beside it; were all files copied?"
            )
        held = _tensors(path)
        listed = [name for name, place in places.items() if place == shard]
        lost = [name for name in listed if name not in held]
        if lost:
            raise ModelError(
                f"{path}: lacks {len(lost)} of the {len(listed)} tensors that "
                f"{index.name} says are in it, e.g. {lost[0]}"
            )
        found |= {name: held[name] for name in listed}
    return found


def _tensors(path: Path) -> dict[str, Tensor]:
    size = check_ordinary(path)
    try:
        held = dict(_safetensors(path) if path.suffix == ".safetensors" else _pickled(path))
    except ModelError:
        raise
    except PermissionError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # each format and each kind of damage raises another exception
        raise ModelError(
            f"{path}: the weights cannot be read; is the file damaged, or not copied whole? "
            f"({one_line(error)})"
        ) from None
    for name, tensor in held.items():
        if tensor.shape and torch.Size(tensor.shape).numel() * tensor.dtype.itemsize > size:
            raise ModelError(f"{path}: {name} is said to be larger than the whole file")
    return held


def _safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(path, framework="pt") as file:
        made_for = (file.metadata() or {}).get("format", "pt")
        if made_for not in ("pt", "mlx"):
            raise ModelError(f"{path}: holds weights for {made_for!r}, not for torch")
        for name in file.keys():  # noqa: SIM118  it is not a mapping
            held = file.get_slice(name)
            kind = _SAFE_TYPES.get(held.get_dtype())
            if kind is None:
                raise ModelError(f"{path}: {name} is of the type {held.get_dtype()}")
            yield name, Tensor(tuple(held.get_shape()), kind, path)


_SAFE_TYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16,
    "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip


def _pickled(path: Path) -> Iterator[tuple[str, Tensor]]:
    archive = zipfile.is_zipfile(path)
    if archive:
        with zipfile.ZipFile(path) as parts:
            # torch does not compress; a small compressed part could fill the memory.
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise ModelError(f"{path}: its parts are compressed, which torch does not do")
    # Files from before torch 1.6 are not archives, and cannot be mapped into memory.
    where = "cpu" if archive else "meta"
    held = torch.load(path, map_location=where, weights_only=True, mmap=archive)
    if not isinstance(held, Mapping):
        raise ModelError(f"{path}: holds a {type(held).__name__}, not tensors by name")
    for name, value in held.items():
        if isinstance(value, torch.Tensor):
            if value.layout is not torch.strided or value.is_quantized:
                raise ModelError(f"{path}: {name} is sparse or quantised")
            if archive and value.is_meta:
                raise ModelError(f"{path}: {name} was stored without its values (a meta tensor)")
            yield str(name), Tensor(tuple(value.shape), value.dtype, path)


def check_sizes(description: Description, weights: Stored) -> None:
    """Compare the sizes in ``config.json`` with the tensors, before anything is built from them.

    Raises:
        ModelError: one differs; the message names the key, its value and what the weight file has.
    """
    held, network = weights.tensors, description.network
    window = network.code_image_size // 8
    for key, name, axis, wanted in (
        ("vocab_size", "encoder.embed_tokens.weight", 0, network.vocab_size),
        ("d_model", "encoder.layer_norm.weight", 0, network.d_model),
        ("d_model", "encoder.embed_tokens.weight", 1, network.d_model),
        ("encoder_ffn_dim", "encoder.layers.0.fc1.weight", 0, network.encoder_ffn_dim),
        ("decoder_ffn_dim", "decoder.layers.0.fc1.weight", 0, network.decoder_ffn_dim),
        ("encoder_attention_heads", "encoder.token_rel_pos_table_list.0.weight", 1,
         network.encoder_attention_heads),
        ("decoder_attention_heads", "decoder.token_rel_pos_table_list.0.weight", 1,
         network.decoder_attention_heads),
        ("max_position_embeddings", "encoder.embed_positions.weight", 0,
         network.max_position_embeddings + 2),
        ("token_bucket_size", "encoder.token_rel_pos_table_list.0.weight", 0,
         2 * network.token_bucket_size - 1),
        ("image_bucket_size", "encoder.embed_image_positions.weight", 0,
         network.image_bucket_size**2 + 1),
        ("code_image_size", "decoder.image_position_idx", 0, window**2 + 1 + 768),
    ):  # fmt: skip
        shape = held[name].shape if name in held else ()
        if len(shape) > axis and shape[axis] != wanted:
            raise ModelError(
                f"{_config(description)}: {key} is {getattr(network, key)}, so {name} should have "
                f"{wanted} rows or columns; in {held[name].file.name} it has {shape[axis]}"
            )
    for key in ("encoder_layers", "decoder_layers"):
        part, wanted = key.removesuffix("_layers"), getattr(network, key)
        numbers = {n.split(".")[2] for n in held if n.startswith(f"{part}.layers.")}
        if len(numbers) != wanted:
            raise ModelError(
                f"{_config(description)}: {key} is {wanted}; {weights.path.name} has {len(numbers)}"
            )


def misfit(weights: Stored, network: Any) -> str | None:
    """In words, the first stored tensor whose shape or type is not the model's; None if all fit.

    Args:
        network: a model with these settings; its weights may be empty.
    """
    for name, value in network.state_dict().items():
        tensor = weights.tensors.get(name)
        if tensor is None:
            continue
        if tensor.shape != tuple(value.shape):
            return (
                f"{tensor.file}: {name} has the shape {tensor.shape}; the model that config.json "
                f"describes has {tuple(value.shape)}"
            )
        # By name, since a tensor that was loaded may have the file's type instead of its own.
        whole = name.endswith(_WHOLE_NUMBERS)
        if tensor.dtype not in (_WHOLE if whole else _FLOATS):
            return (
                f"{tensor.file}: {name} is of the type {_type(tensor.dtype)}; the model has "
                f"{'whole numbers' if whole else 'fractions'} there"
            )
    return None


def check_loaded(description: Description, weights: Stored, model: Any) -> None:
    """Check that the model's weights are those of the file: all of them, and none made up.

    Raises:
        ModelError: a weight is missing or has another type, or one in the file has no place in the
            model.
    """
    held = weights.tensors
    state = model.state_dict(keep_vars=True)
    present = {value.data_ptr() for name, value in state.items() if name in held}
    lost = [n for n, v in state.items() if n not in held and v.data_ptr() not in present]
    lost = [n for n in lost if not n.endswith(_COUNTERS)]
    if lost:
        raise ModelError(
            f"{weights.path}: the weight file lacks {len(lost)} of the model's {len(state)} "
            f"tensors, e.g. {lost[0]}; they would be random"
        )
    if why := misfit(weights, model):
        raise ModelError(why)
    for name, value in state.items():
        part, _, table = name.rpartition(".")
        if table.endswith("_rp_bucket"):
            kind = table.removesuffix("_rp_bucket")
            rows = len(state[f"{part}.{kind}_rel_pos_table_list.0.weight"])
            least, most = (int(v) for v in torch.aminmax(value))
            if least < 0 or most >= rows:
                raise ModelError(
                    f"{weights.path}: {name} points at row {most if most >= rows else least} of a "
                    f"table of {rows}; is the file damaged?"
                )
    # Many files still have heads of other tasks, and counters. But if a part of the encoder or the
    # decoder is not built, the model computes something else.
    unused = [
        name
        for name, tensor in held.items()
        if name not in state
        and name.startswith(("encoder.", "decoder."))
        and tensor.dtype in _FLOATS
        and torch.Size(tensor.shape).numel() > 1
    ]
    if unused:
        have = "has" if len(unused) == 1 else "have"
        raise ModelError(
            f"{weights.path}: {counted(len(unused), 'tensor')} {have} no place in the model that "
            f"{_config(description).name} describes, e.g. {unused[0]}; the answers would not be "
            "those of the model that was trained"
        )


def tensors_of(model: Any, weights: Stored) -> Iterator[bytes | str | memoryview]:
    """Name, type, shape and content of every tensor of the model, for its digest.

    Raises:
        ModelError: one of them holds NaN, infinity or a negative variance.
    """
    for name, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        if not finite(tensor):
            place = weights.tensors.get(name)
            raise ModelError(
                f"{place.file if place else weights.path}: {name} holds NaN or infinity; the "
                "answers would not be numbers"
            )
        if name.endswith(_VARIANCE) and tensor.numel() and tensor.min() < 0:
            place = weights.tensors.get(name)
            raise ModelError(
                f"{place.file if place else weights.path}: {name} holds {float(tensor.min()):g}: "
                "a variance is never negative, and the answers would not be numbers"
            )
        yield from content(name, tensor)


def one_line(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:400]}" if lines else type(error).__name__


def _config(description: Description) -> Path:
    return description.folder / "config.json"


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
