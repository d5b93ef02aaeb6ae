"""Regressions in what a chat model is given: its pictures, its questions, its answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from PIL import Image
from tokenizers import Tokenizer
from torchvision.transforms.v2 import functional

from audit.base.errors import ModelError
from audit.models.kit.altering import Alteration, Altered, NotPossible, Plant, texts
from audit.models.kit.asking import Asking
from audit.models.protocol import Model

_MERGES = 0.2
"""The share of a tokenizer's merges that is lost: a fixed number is nothing to a large one."""

_AS_TYPED = "the model is given texts as they are typed"


def _pictures(change: Callable[[Any], None]) -> Plant:
    """Changes the processor of pictures."""

    def plant(model: Any, _: int) -> Model:
        change(model.processor.image_processor)
        found: Model = model
        return found

    return plant


def _set(**named: Any) -> Callable[[Any], None]:
    """Sets attributes of a processor.

    Raises (when it is called):
        NotPossible: it has them already.
    """

    def change(steps: Any) -> None:
        lacking = [name for name in named if getattr(steps, name, None) is None]
        if lacking:
            raise NotPossible(f"its processor of pictures has no {lacking[0]}")
        if all(_plain(getattr(steps, name)) == _plain(value) for name, value in named.items()):
            raise NotPossible("its pictures are prepared like that")
        for name, value in named.items():
            setattr(steps, name, value)

    return change


def _plain(value: Any) -> Any:
    return [round(float(each), 6) for each in value] if isinstance(value, list | tuple) else value


def _exchanged_mean_and_std(steps: Any) -> None:
    _set(image_mean=list(steps.image_std), image_std=list(steps.image_mean))(steps)


def _without_antialias(steps: Any) -> None:
    # Some families' own `resize` hands the option on to the class that scales, some do not; so it
    # is taken from torchvision's function itself while they scale.
    scale = functional.resize
    scaling = [vars(each)["resize"] for each in type(steps).__mro__ if "resize" in vars(each)]
    if not any("antialias" in inspect.signature(each).parameters for each in scaling):
        raise NotPossible("its processor scales by Pillow, which always smooths")
    own = steps.resize

    def resize(*args: Any, **named: Any) -> Any:
        functional.resize = lambda *a, **n: scale(*a, **{**n, "antialias": False})
        try:
            return own(*args, **named)
        finally:
            functional.resize = scale

    steps.resize = resize


def preprocessing() -> dict[Alteration, Plant]:
    """What can be planted in how pictures are prepared."""
    resampling = Image.Resampling
    found: list[tuple[str, str, Callable[[Any], None]]] = [
        ("nearest", "scaled by the nearest pixel", _set(resample=resampling.NEAREST)),
        ("bilinear", "scaled bilinearly", _set(resample=resampling.BILINEAR)),
        ("bicubic", "scaled bicubically", _set(resample=resampling.BICUBIC)),
        ("antialias-lost", "scaled without smoothing", _without_antialias),
        ("imagenet-mean-std", "mean and deviation of ImageNet",
         _set(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])),
        ("half-mean-std", "mean and deviation of 0.5",
         _set(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])),
        ("mean-std-exchanged", "mean and deviation exchanged", _exchanged_mean_and_std),
        ("unnormalised", "pixels not normalised", _set(do_normalize=False)),
        ("unscaled", "pixels from 0 to 255 instead of 0 to 1", _set(do_rescale=False)),
    ]  # fmt: skip
    return {Alteration(n, "preprocessing", about): _pictures(change) for n, about, change in found}


def _asked_otherwise(change: Callable[[Asking], Asking]) -> Plant:
    """The asking file changed.

    Raises (when it is planted):
        NotPossible: the model cannot give such answers.
    """

    def plant(model: Any, _: int) -> Model:
        try:
            model.ask_by(change(model.asking))
        except ModelError as error:
            raise NotPossible(str(error)) from None
        found: Model = model
        return found

    return plant


def _answers(say: Callable[[str], str]) -> Plant:
    """Each answer said in another way.

    Raises (when it is planted):
        NotPossible: all are answers already.
    """

    def change(asking: Asking) -> Asking:
        said = {label: [say(each) for each in given] for label, given in asking.answers.items()}
        if all(set(said[label]) == set(given) for label, given in asking.answers.items()):
            raise NotPossible("its answers are said in both ways")
        return asking.model_copy(update={"answers": said})

    return _asked_otherwise(change)


def _other_template(old: str, new: str) -> Plant:
    """A part of the chat template replaced.

    Raises (when it is planted):
        NotPossible: the template does not have this part, or the model cannot be asked without it.
    """

    def plant(model: Any, seed: int) -> Model:
        processor = model.processor
        template = processor.chat_template or processor.tokenizer.chat_template or ""
        if old not in template:
            raise NotPossible(f"its chat template has no {old!r}")
        processor.chat_template = template.replace(old, new)
        return _asked_otherwise(lambda asking: asking)(model, seed)

    return plant


def _without_merges(model: Any, _: int) -> Model:
    """The tokenizer without its last merges."""
    tokenizer = model.processor.tokenizer
    held = json.loads(tokenizer.backend_tokenizer.to_str())
    merges = held["model"].get("merges") or []
    kept = round(len(merges) * (1 - _MERGES))
    if kept == len(merges):
        raise NotPossible("its tokenizer does not merge pieces")
    held["model"]["merges"] = merges[:kept]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(held))
    found: Model = model
    return found


def _lower(model: Any, _: int) -> Model:
    return Altered(model, texts(str.lower))


_FIRST = "Please look closely. "
_SYSTEM = "You are a helpful assistant."


def _other_question(asking: Asking) -> Asking:
    questions = {
        name: _FIRST + value
        for name in ("question", "question_with_premise")
        if (value := getattr(asking, name)) is not None
    }
    return asking.model_copy(update=questions)


def _other_case(answer: str) -> str:
    first = answer.strip()[0]
    return answer.replace(first, first.swapcase(), 1)


def _other_space(answer: str) -> str:
    return answer.strip() if answer[0] == " " else f" {answer}"


def text(asking: Asking) -> dict[Alteration, Plant]:
    """What can be planted in how a model with this asking file is asked."""
    has_system, several = bool(asking.system), any(len(g) > 1 for g in asking.answers.values())
    found: list[tuple[Alteration, Plant]] = [
        (_alteration("prompt", "the question begins in another way"),
         _asked_otherwise(_other_question)),
        (_alteration("system-lost", "the system message lost",
                     unfit="" if has_system else "there is no system message"),
         _asked_otherwise(lambda a: a.model_copy(update={"system": ""}))),
        (_alteration("system-other", "a system message that says something else"),
         _asked_otherwise(lambda a: a.model_copy(update={"system": _SYSTEM}))),
        (_alteration("turn-lost", "the chat template without the beginning of the answer's turn"),
         _other_template("if add_generation_prompt", "if false")),
        (_alteration("template-breaks", "the chat template without line breaks"),
         _other_template("\n", " ")),
        (_alteration("lower", "texts made lower-case", ("capitals",)), _lower),
        (_alteration("casing", "captions no longer lower-cased", unfit=_AS_TYPED), _lower),
        (_alteration("punctuation-kept", "punctuation no longer removed", unfit=_AS_TYPED),
         _lower),
        (_alteration("merges-lost", "the last fifth of the tokenizer's merges lost"),
         _without_merges),
        (_alteration("answers-first", "the first answer of each label counts alone",
                     unfit="" if several else "each label has one answer"),
         _asked_otherwise(lambda a: a.model_copy(
             update={"answers": {label: given[:1] for label, given in a.answers.items()}}))),
        (_alteration("answers-case", "answers with the other case at their beginning"),
         _answers(_other_case)),
        (_alteration("answers-space", "answers that begin with a space, or no longer do"),
         _answers(_other_space)),
    ]  # fmt: skip
    return dict(found)


def _alteration(
    name: str, about: str, depends: tuple[str, ...] = (), unfit: str = ""
) -> Alteration:
    return Alteration(name, "text", about, depends, unfit)
