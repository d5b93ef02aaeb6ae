"""ModelScope's OFA visual entailment, run unmodified and read out.

The classes are modelscope's own. What this module adds is what they lack: batches of unequal
length, the probability of every answer in both generation types, and the capture of attention.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from audit.capture import Gradients, capture, frozen
from audit.errors import ModelError
from audit.geometry import Grid
from audit.images import open_image
from audit.models.base import NOTHING_MORE, Fingerprint, Query
from audit.models.checkpoint import checked, fingerprint, refuse_missing_weights
from audit.models.ofa_reading import (
    EncoderReading,
    GradientReading,
    check_rollouts,
    head_scale,
    words_of,
)
from audit.models.sources import Checkpoint
from audit.models.standins import stand_ins
from audit.trace import HeadChoice, Need, Relevance, Trace, Word

with stand_ins():
    from modelscope.models.multi_modal import OfaForAllTasks
    from modelscope.models.multi_modal.ofa import OFAModel
    from modelscope.models.multi_modal.ofa.configuration_ofa import OFAConfig
    from modelscope.models.multi_modal.ofa.utils.utils import expand_mask
    from modelscope.preprocessors.multi_modal import OfaPreprocessor
    from modelscope.preprocessors.ofa.utils.collate import collate_fn, collate_tokens

__all__ = ["OFAConfig", "OFAModel", "OFAVisualEntailment", "quiet"]

_log = logging.getLogger(__name__)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class OFAVisualEntailment:
    """An OFA visual entailment checkpoint, loaded and ready to trace.

    Raises:
        ModelError: the checkpoint is not one of OFA visual entailment, is incomplete, or asks for
            something that cannot be audited; or the device is not there.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: str = "auto", dtype: str = "float32"
    ) -> None:
        if dtype not in _DTYPES:
            raise ModelError(f"dtype {dtype!r} is not supported: choose from {', '.join(_DTYPES)}")
        self._device = _device(device)
        self._dtype = _DTYPES[dtype]
        self._configuration = checked(checkpoint)
        folder = str(checkpoint.folder)
        try:
            # Building the tokenizers seeds the global generators; a test session keeps its own.
            with quiet(), torch.random.fork_rng(devices=[]):
                state = np.random.get_state()
                self._task = OfaForAllTasks(folder)
                self._preprocessor = OfaPreprocessor(folder)
                np.random.set_state(state)
        except Exception as error:
            raise ModelError(
                f"{checkpoint.source}: modelscope cannot load this checkpoint: "
                f"{type(error).__name__}: {error}"
            ) from error
        refuse_missing_weights(checkpoint, self._task.model)
        self._fingerprint = fingerprint(
            checkpoint, self._task.model, self._preprocessor.preprocess, self._configuration,
            device=str(self._device), dtype=dtype,
        )  # fmt: skip
        self._task.model.to(device=self._device, dtype=self._dtype).eval()

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers of the checkpoint's answer file, in its order."""
        return tuple(self._task.ans2label_dict)

    @property
    def fingerprint(self) -> Fingerprint:
        """What was loaded and where it runs."""
        return self._fingerprint

    @property
    def torch_model(self) -> Any:
        """modelscope's ``OFAModel``, for those who need to look further than a trace."""
        return self._task.model

    @cached_property
    def _answers(self) -> list[list[int]]:
        return [items.tolist() for chunk in self._task.val_ans_l for items in chunk]

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch; see :class:`audit.models.base.Model`."""
        if not queries:
            return []
        check_rollouts(need, len(self._task.model.encoder.layers))
        samples = self._samples(queries)
        if not need.relevances:
            with torch.inference_mode():
                return self._trace(queries, samples, need)
        with frozen(self._task.model):
            return self._trace(queries, samples, need)

    def _samples(self, queries: Sequence[Query]) -> list[dict[str, Any]]:
        images: dict[Path, Image.Image] = {}
        samples = []
        for query in queries:
            if isinstance(query.image, Path):
                if query.image not in images:
                    images[query.image] = open_image(query.image)
                image = images[query.image]
            else:
                image = query.image
            data = {"image": image, "text": query.text}
            if query.premise is not None:
                data["text2"] = query.premise  # modelscope calls the premise text2
            self._check_prompt(query)
            samples.append(self._preprocessor.preprocess(data))
        return samples

    def _check_prompt(self, query: Query) -> None:
        prompt = self._configuration["model"].get("prompt")
        if prompt is None:
            return
        slots = prompt.count("{}")
        wanted = 1 if query.premise is None else 2
        if slots != wanted:
            raise ModelError(
                f"the checkpoint's prompt {prompt!r} has {slots} slot(s), and this case needs "
                f"{wanted}: modelscope would {'drop the hypothesis' if slots < wanted else 'fail'}"
            )

    def _trace(
        self, queries: Sequence[Query], samples: list[dict[str, Any]], need: Need
    ) -> list[Trace]:
        model, pad = self._task.model, self._task.tokenizer.pad_token_id
        source = collate_tokens([s["source"] for s in samples], pad).to(self._device)
        patches = torch.stack([s["patch_image"] for s in samples]).to(self._device, self._dtype)
        texts = [self._text(q, s) for q, s in zip(queries, samples, strict=True)]
        reading = EncoderReading(model.encoder, need, source.shape[1], [t.span for t in texts])
        gradients = GradientReading(model, sorted(need.relevances, key=str))
        with ExitStack() as backward:
            # Open until the backward pass has run, which reads what they hold.
            inside = backward.enter_context(gradients.encoder()) if need.relevances else None
            with (
                capture([model.encoder.embed_images], _shape, output=True) as images,
                reading.watching(),
            ):
                encoded = model.encoder(
                    input_ids=source,
                    patch_images=patches,
                    patch_masks=torch.ones(len(samples), dtype=torch.bool, device=self._device),
                )
            if inside:
                # modelscope's generator, where it is asked for the label, encodes once more.
                inside.stop()
            grid = Grid(*images.once()[0].tolist())
            answered = self._answer(samples, encoded, gradients if inside else None, backward)
            probabilities = torch.softmax(answered.scores.detach(), dim=-1).cpu().numpy()
            rows = [dict(zip(self.labels, p.tolist(), strict=True)) for p in probabilities]
            single = all(len(answer) == 1 for answer in self._answers)
            labels = [self._label(r, s, single) for r, s in zip(rows, samples, strict=True)]
            if inside:
                inside.leaves += [
                    leaf for pair in answered.passes for g in pair for leaf in g.leaves
                ]
                inside.backward(_margin(answered.scores, [self.labels.index(x) for x in labels]))

        cells = grid.rows * grid.cols
        cross_scale = head_scale([layer.cross_attn for layer in model.decoder.layers])
        traces = []
        for i, text in enumerate(texts):
            length = cells + len(samples[i]["source"])
            relevances: dict[HeadChoice, Relevance] = {}
            if inside:
                said = self.labels.index(labels[i]) if len(answered.passes) > 1 else 0
                relevances = gradients.relevances(
                    inside, answered.passes[said], i, length, int(answered.read[i]) + 1
                )
            traces.append(
                Trace(
                    probabilities=rows[i],
                    label=labels[i],
                    prompt=text.prompt,
                    tokens=text.tokens,
                    grid=grid,
                    cross_attention=_cut(answered.attention[i], length),
                    cross_scale=cross_scale,
                    words=text.words,
                    word_attention=reading.words(i, text.span[1] - text.span[0]),
                    rollouts=reading.rollouts(i, length),
                    relevances=relevances,
                )
            )
        return traces

    def _answer(
        self,
        samples: list[dict[str, Any]],
        encoded: Any,
        gradients: GradientReading | None,
        backward: ExitStack,
    ) -> _Answered:
        """Decode; keep the answer rows, and what a backward pass needs."""
        model = self._task.model
        prompts = [self._decoder_prompt(s) for s in samples]
        read = torch.tensor([len(p) - 1 for p in prompts], device=self._device)
        heads = model.config.decoder_attention_heads

        def answer_rows(_: int, weights: Tensor) -> Tensor:
            by_head = weights.view(len(samples), heads, *weights.shape[1:])
            rows = by_head[torch.arange(len(samples), device=self._device), :, read]
            return rows.float().cpu()

        passes: list[tuple[Gradients, Gradients]] = []

        def decode(targets: list[list[int]]) -> Tensor:
            if gradients:
                passes.append(backward.enter_context(gradients.decoder()))
            logits = self._decode(encoded, targets)
            if gradients:
                # Later passes must not be seen by the hooks of this one.
                for captured in passes[-1]:
                    captured.stop()
            return logits

        sites = [layer.cross_attn.attn_dropout for layer in model.decoder.layers]
        single = all(len(answer) == 1 for answer in self._answers)
        first = prompts if single else [[*p, *self._answers[0]] for p in prompts]
        with capture(sites, answer_rows) as attention:
            logits = decode(first)
        scores = self._scores(decode, prompts, read, logits, single)
        # (batch, layers, heads, source)
        layers = torch.stack(attention.once(), dim=1).numpy()
        return _Answered(scores, layers, read.cpu(), passes)

    def _decoder_prompt(self, sample: dict[str, Any]) -> list[int]:
        """What the decoder is given before the answer.

        modelscope's generator puts its own begin mark before the prompt, which has one already;
        to read the row that really answers, so does this.
        """
        prompt: list[int] = sample["decoder_prompt"].tolist()
        if self._task.gen_type == "generation":
            self._refuse_short_generation(len(prompt), len(sample["source"]))
            return [self._task.tokenizer.bos_token_id, *prompt]
        return prompt

    def _refuse_short_generation(self, prompt: int, source: int) -> None:
        generator = self._task.generator
        longest = int(generator.max_len_a * source + generator.max_len_b)
        needed = prompt + max(map(len, self._answers))
        if longest < needed:
            raise ModelError(
                f"the checkpoint generates at most {longest} tokens (model.beam_search.max_len_b), "
                f"but prompt and answer take {needed}: modelscope would return an empty label"
            )

    def _decode(self, encoded: Any, targets: list[list[int]]) -> Tensor:
        """Logits (batch, steps, vocabulary) for padded decoder inputs over one encoding."""
        model, pad = self._task.model, self._task.tokenizer.pad_token_id
        ids = collate_tokens([torch.tensor(t) for t in targets], pad).to(self._device)
        result: Tensor = model.decoder(
            ids,
            attention_mask=ids.eq(pad),
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=expand_mask(
                encoded.padding_mask, encoded.last_hidden_state.dtype, ids.shape[-1]
            ),
            src_pos_embed=encoded.position_embedding,
        ).last_hidden_state
        return result

    def _scores(
        self,
        decode: Callable[[list[list[int]]], Tensor],
        prompts: list[list[int]],
        read: Tensor,
        logits: Tensor,
        single: bool,
    ) -> Tensor:
        """Log-probability of each answer under the answers' trie: (batch, answers), float32."""
        rows = torch.arange(len(prompts), device=self._device)
        if single:
            ids = torch.tensor([answer[0] for answer in self._answers], device=self._device)
            return torch.log_softmax(logits[rows, read].float()[:, ids], dim=-1)
        eos = self._task.tokenizer.eos_token_id
        trie, start = self._task.constraint_trie, self._task.tokenizer.bos_token_id
        scores = torch.zeros(len(prompts), len(self._answers), device=self._device)
        for a, answer in enumerate(self._answers):
            if a > 0:  # the first answer was decoded with the capture on
                logits = decode([[*p, *answer] for p in prompts])
            for step, token in enumerate([*answer, eos]):
                allowed = trie.get_next_layer([start, *answer[:step]])
                row = logits[rows, read + step].float()
                chosen = torch.log_softmax(row[:, allowed], dim=-1)
                scores[:, a] += chosen[:, allowed.index(token)]
        return scores

    def _label(self, probabilities: dict[str, float], sample: dict[str, Any], single: bool) -> str:
        """The answer as the pipeline gives it.

        Beam search normalises by length, so with answers of several tokens its choice can differ
        from the most probable answer; there modelscope's own generator is asked.
        """
        if self._task.gen_type == "traverse" or single:
            return max(probabilities, key=probabilities.__getitem__)
        tokenizer = self._task.tokenizer
        batch = collate_fn([sample], tokenizer.pad_token_id, tokenizer.eos_token_id)
        batch["net_input"]["patch_images"] = batch["net_input"]["patch_images"].to(self._dtype)
        try:
            label = self._task(batch)["labels"]
        except AssertionError as error:
            raise ModelError(
                f"modelscope's generator fails on {self._words(sample)!r} ({error}): its n-gram "
                "blocking forbids an answer whose words the prompt already has"
            ) from None
        text: str = label if isinstance(label, str) else label[0]
        return text

    def _words(self, sample: dict[str, Any]) -> str:
        text: str = self._task.tokenizer.decode(sample["source"], skip_special_tokens=True)
        return text

    def _text(self, query: Query, sample: dict[str, Any]) -> _Text:
        """The text as the preprocessor builds it, and where its hypothesis lies."""
        preprocess = self._preprocessor.preprocess
        limit = preprocess.max_src_length
        given = self._configuration["model"].get("prompt")
        hypothesis = preprocess.pre_caption(query.text, limit)
        if query.premise is None:
            template = given or ' does the image describe " {} "?'
            prompt = template.format(hypothesis)
        else:
            template = given or ' can image and text1 " {} " imply text2 " {} "?'
            prompt = template.format(preprocess.pre_caption(query.premise, limit), hypothesis)
        stop = len(prompt) - len(template.rpartition("{}")[2])
        tokens = tuple(self._task.tokenizer.convert_ids_to_tokens(sample["source"].tolist()))
        words, span = words_of(prompt, (stop - len(hypothesis), stop), tokens)
        return _Text(prompt, tokens, words, span)


@dataclass(frozen=True)
class _Text:
    """A prompt; ``span`` is where the hypothesis begins and ends in its tokens."""

    prompt: str
    tokens: tuple[str, ...]
    words: tuple[Word, ...]
    span: tuple[int, int]


@dataclass(frozen=True)
class _Answered:
    """Log-probabilities (batch, answers), attention (batch, layers, heads, source), rows read."""

    scores: Tensor
    attention: NDArray[np.float32]
    read: Tensor
    passes: list[tuple[Gradients, Gradients]]


def _margin(scores: Tensor, labels: list[int]) -> Tensor:
    """Sum over the batch of the answer's log-probability minus the runner-up's."""
    rows = torch.arange(len(labels), device=scores.device)
    chosen = torch.tensor(labels, device=scores.device)
    others = scores.scatter(1, chosen[:, None], -math.inf)
    return (scores[rows, chosen] - others.amax(1)).sum()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loaders' notes to developers out of the user's terminal; errors still raise.

    What they would warn of and a user must know, missing weights, is checked here and refused.
    """
    names = ("transformers", "modelscope")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _device(name: str) -> torch.device:
    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _log.info("device auto: %s", chosen)
        return chosen
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {name!r} was asked for, but this machine has no usable CUDA device"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s)"
        )
    return device


def _shape(_: int, features: Tensor) -> Tensor:
    return torch.tensor(features.shape[-2:])


def _cut(weights: NDArray[np.float32], source: int) -> NDArray[np.float32]:
    """The columns of image and text without the batch's padding: (layers, heads, source)."""
    if not math.isclose(float(weights[..., :source].sum(-1).min()), 1.0, abs_tol=0.02):
        raise ModelError(
            "attention rows do not sum to 1 over image and text: padding is not masked"
        )
    return np.ascontiguousarray(weights[..., :source])
