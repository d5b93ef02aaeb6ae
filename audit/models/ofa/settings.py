"""The schema of a checkpoint's two descriptions: ``configuration.json`` and ``config.json``.

The schema has only the settings that decide an answer; other settings in real folders are ignored.
Keys that would load another file, run code or make another kind of model are refused by name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from audit.base.errors import ModelError, nearest

OPEN = ConfigDict(
    strict=True, frozen=True, extra="ignore", allow_inf_nan=False, validate_default=True
)
_LARGEST = 2**31 - 1
CELL = 16
"""OFA's ResNet turns a square of this many pixels a side into one cell."""
LONGEST = 1024
"""The most tokens for which modelscope's OFA has relative positions."""


def _only(wanted: str, why: str) -> AfterValidator:
    def check(value: str) -> str:
        if value != wanted:
            raise ValueError(why)
        return value

    return AfterValidator(check)


def _answer_file(value: str) -> str:
    path = PurePosixPath(value)
    if not value.strip():
        raise ValueError("it names no answer file, so the labels are not known")
    if path.is_absolute() or ".." in path.parts or not value.isprintable():
        raise ValueError("it must name a file inside the checkpoint folder")
    if value.endswith(("/", "/.")):  # a Path drops this, but modelscope's reader does not
        raise ValueError("it ends like a folder; it must name a file")
    return value


def _prompt(value: str) -> str:
    slots = value.count("{}")
    if set("{}") & set(value.replace("{}", "")):
        raise ValueError("it has a brace that is not a slot: write slots as {}, without a name")
    if slots not in (1, 2):
        raise ValueError(
            f"it has {slots} slots: write {{}} once for the hypothesis, or twice for the text "
            "premise and the hypothesis"
        )
    if any(unicodedata.category(c) == "Cs" for c in value):
        raise ValueError("it has half a character (a lone surrogate)")
    return value


def _cells(value: int) -> int:
    if value % CELL:
        raise ValueError(
            f"it must be a multiple of {CELL}: the model reads a picture in cells of {CELL} pixels"
        )
    return value


def _pictures(value: bool) -> bool:
    if not value:
        raise ValueError("a model without pictures cannot be asked about one")
    return value


Count = Annotated[int, Field(ge=1, le=_LARGEST)]
Index = Annotated[int, Field(ge=0, le=_LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
Flag = bool
_DType = Literal["float16", "bfloat16", "float32", "float64"]
_Problem = Literal["regression", "single_label_classification", "multi_label_classification"]


def _range(value: str) -> str:
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*", value)
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError("it must be two numbers of tokens, the smaller first: '4,59457'")
    return value


class BeamSearch(BaseModel):
    """``model.beam_search``: arguments of modelscope's generator."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    beam_size: Annotated[int, Field(ge=1, le=1000)] = 5
    max_len_a: Annotated[float, Field(ge=0, le=_LARGEST)] = 0
    max_len_b: Index = 16
    max_len: Index = 0
    min_len: Index = 1
    normalize_scores: Flag = True
    len_penalty: float = 1.0
    unk_penalty: float = 0.0
    temperature: Annotated[float, Field(gt=0)] = 1.0
    match_source_len: Flag = False
    no_repeat_ngram_size: Index = 3
    constraint_range: Annotated[str, AfterValidator(_range)] | None = None
    gen_code: Flag = False
    gen_box: Flag = False
    ignore_eos: Flag = False
    zero_shot: Flag = False


def _same_names(value: dict[str, Any] | None) -> dict[str, Any] | None:
    for name, column in (value or {}).items():
        if name in ("image", "text", "text2") and column != name:
            raise ValueError(f"it renames {name!r}, which modelscope's pipeline needs")
    return value


class DataSet(BaseModel):
    """``dataset``; modelscope reads the names of columns from it."""

    model_config = OPEN

    column_map: Annotated[dict[str, Any] | None, AfterValidator(_same_names)]


class TaskModel(BaseModel):
    """``model`` in ``configuration.json``."""

    model_config = OPEN

    type: Annotated[str, _only("ofa", "only 'ofa' can be audited")]
    multimodal_type: Literal["default", "text2sql"] = "default"
    language: Annotated[str, _only("en", "only 'en' can be audited")] = "en"
    prompt_type: Annotated[
        str,
        _only("prev_output", "only 'prev_output' runs in modelscope's visual entailment"),
    ] = "none"
    gen_type: Literal["generation", "traverse"] = "generation"
    answer2label: Annotated[str, AfterValidator(_answer_file)] = ""
    prompt: Annotated[str, AfterValidator(_prompt)] = "{}"
    patch_image_size: Annotated[int, Field(ge=CELL, le=16384), AfterValidator(_cells)] = 480
    imagenet_default_mean_and_std: Flag = False
    max_src_length: Count = 256
    max_tgt_length: Count = 256
    max_image_size: Annotated[float, Field(gt=0, le=_LARGEST)] = 512
    batch_size: Count = 1
    valid_batch_size: Count = 1
    num_return_sequences: Count = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    beam_search: BeamSearch = BeamSearch()


class Task(BaseModel):
    """``configuration.json``."""

    model_config = OPEN

    task: Annotated[str, _only("visual-entailment", "only 'visual-entailment' can be audited")]
    model: TaskModel
    dataset: DataSet = DataSet(column_map=None)


def _numbers(value: dict[str, Any] | None) -> dict[str, Any] | None:
    odd = next((key for key in value or {} if not re.fullmatch(r"[0-9]{1,9}", key)), None)
    if odd is not None:
        raise ValueError(f"its keys must be numbers, but {odd[:60]!r} is not one")
    return value


class Network(BaseModel):
    """``config.json``: the sizes and switches of modelscope's ``OFAConfig``, with its defaults."""

    model_config = OPEN

    model_type: Annotated[str, _only("ofa", "only 'ofa' can be audited")] = "ofa"
    vocab_size: Count = 59457
    max_position_embeddings: Count = 1024
    d_model: Count = 512
    encoder_layers: Count = 4
    decoder_layers: Count = 4
    encoder_ffn_dim: Count = 2048
    decoder_ffn_dim: Count = 2048
    encoder_attention_heads: Count = 8
    decoder_attention_heads: Count = 8
    token_bucket_size: Annotated[int, Field(ge=2, le=_LARGEST)] = 256
    image_bucket_size: Count = 42
    code_image_size: Annotated[int, Field(ge=8, le=_LARGEST)] = 128
    orig_patch_image_size: Annotated[int, Field(ge=CELL, le=_LARGEST)] = 224
    mlp_dim: Count = 512
    pad_token_id: Index = 1
    bos_token_id: Index = 0
    eos_token_id: Index = 2
    decoder_start_token_id: Index | None = 0
    forced_eos_token_id: Index | None = 2
    num_labels: Annotated[int, Field(ge=0, le=10_000)] | None = None
    attn_scale_factor: Annotated[float, Field(gt=0)] = 2.0
    init_std: Annotated[float, Field(ge=0)] = 0.02
    gamma: float = 1.0
    temperature_init_value: float | None = None
    dropout: Share = 0.1
    attention_dropout: Share = 0.0
    activation_dropout: Share = 0.0
    classifier_dropout: Share = 0.0
    encoder_layerdrop: Share = 0.0
    decoder_layerdrop: Share = 0.0
    encoder_drop_path_rate: Share = 0.0
    decoder_drop_path_rate: Share = 0.0
    resnet_drop_path_rate: Share = 0.0
    vit_drop_path_rate: Share = 0.0
    activation_function: str = "gelu"
    resnet_type: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet101"
    vit_type: Literal["vit_base", "vit_large", "vit_large_336", "vit_huge"] = "vit_base"
    use_cache: Flag = True
    is_encoder_decoder: Flag = True
    scale_embedding: Flag = False
    encoder_normalize_before: Flag = True
    decoder_normalize_before: Flag = True
    normformer: Flag = True
    layernorm_embedding: Flag = True
    patch_layernorm_embedding: Flag = True
    code_layernorm_embedding: Flag = True
    add_type_embedding: Flag = True
    share_decoder_input_output_embed: Flag = True
    entangle_position_embedding: Flag = False
    interpolate_position: Flag = False
    share_attn_bias: Flag = False
    use_image_feature: Annotated[Flag, AfterValidator(_pictures)] = True
    disable_entangle: Flag = False
    use_ofasys: Flag = False
    use_gamma_feature: Flag = False
    exclude_mlp: Flag = True
    remove_decoder_type_embedding: Flag = False
    hidden_size: Count | None = None
    num_attention_heads: Count | None = None
    architectures: list[str] | None = None
    dtype: _DType | None = None
    torch_dtype: _DType | None = None
    id2label: Annotated[dict[str, Any], AfterValidator(_numbers)] | None = None
    label2id: dict[str, Any] | None = None
    problem_type: _Problem | None = None


_RANDOM = "drops patches at random; answers could not be repeated"
_OTHER_FILE = "loads weights or settings from another file, which audit does not check"
_CODE = "names code to run; only modelscope's own OFA is audited"
_QUANTISED = "asks for quantised weights, which modelscope's OFA does not run"

REFUSED_OF_TASK = {"sample_patch_num": _RANDOM}
REFUSED_OF_NETWORK = {
    "sample_patch_num": _RANDOM,
    "resnet_model_path": _OTHER_FILE,
    "transformers_weights": _OTHER_FILE,
    "configuration_files": _OTHER_FILE,
    "auto_map": _CODE,
    "custom_pipelines": _CODE,
    "attn_implementation": _CODE,
    "_attn_implementation": _CODE,
    "quantization_config": _QUANTISED,
    "compression_config": _QUANTISED,
    "attribute_map": "gives settings other names, which modelscope's OFA does not need",
    "pruned_heads": "removes heads, which modelscope's OFA cannot",
}
REFUSED_OF_TOKENIZER = {
    "auto_map": _CODE,
    "init_inputs": _OTHER_FILE,
    "vocab_file": _OTHER_FILE,
    "merges_file": _OTHER_FILE,
}


_Schema = TypeVar("_Schema", bound=BaseModel)


def refuse_keys(path: Path, data: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    """Refuse keys that ask for something that is not audited, unless they are empty or null.

    Raises:
        ModelError: there is one; the message names the file, the key and the reason.
    """
    for key, why in refused.items():
        value = data.get(key)
        if value in (None, "", [], {}) or (why is _CODE and value == "eager"):
            continue
        raise ModelError(f"{path}: {key} is {shown(value)}: it {why}")


def parsed(path: Path, data: Mapping[str, Any], schema: type[_Schema]) -> _Schema:
    """``data`` as an object of the schema.

    Raises:
        ModelError: it does not fit; the message names the file, the key, the value and what would
            be right.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        _refuse(path, error)


def _refuse(path: Path, error: ValidationError) -> NoReturn:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    key = key if "." in key or path.name == "config.json" else f"the {key}"
    given, kind, limits = first["input"], first["type"], first.get("ctx", {})
    if kind == "missing":
        raise ModelError(f"{path}: {key} is missing")
    if kind == "extra_forbidden":
        last = str(first["loc"][-1])
        raise ModelError(
            f"{path}: {key} is not known to modelscope; {nearest(last, BeamSearch.model_fields)}"
        )
    if kind == "value_error":
        why = str(limits["error"])
    else:
        why = _WHYS.get(kind, first["msg"]).format(**limits)
    raise ModelError(f"{path}: {key} is {shown(given)}; {why}")


_WHYS = {
    "int_type": "it must be a whole number",
    "float_type": "it must be a number",
    "string_type": "it must be text",
    "string_unicode": "it has half a character (a lone surrogate)",
    "bool_type": "it must be true or false",
    "dict_type": 'it must be an object, {{"…": …}}',
    "model_type": 'it must be an object, {{"…": …}}',
    "list_type": "it must be a list, […]",
    "string_too_short": "it must not be empty",
    "string_pattern_mismatch": "it must be a number",
    "literal_error": "it must be {expected}",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be {le} or less",
}


def shown(value: Any) -> str:
    """A value for a message: short, and in one line."""
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else _printable(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _printable(value: Any) -> str:
    # repr can leave half characters (lone surrogates) as they are.
    return repr(value).encode("utf-8", "backslashreplace").decode()
