"""The adapter for ModelScope's OFA visual entailment, which is run unmodified.

The classes are modelscope's own. This module adds what they lack: batches of unequal length, the
probability of every answer in both generation types, and the capture of attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from audit.base.errors import ModelError, NotFinite
from audit.base.geometry import Grid
from audit.base.images import picture_of
from audit.maps.trace import NOTHING_MORE, HeadChoice, Need, Trace
from audit.models.kit.attention import capture, frozen, margin
from audit.models.kit.flow import Relevance
from audit.models.kit.hardware import Halving, chosen_device, gains_by_fusion, use_threads
from audit.models.kit.quiet import quiet
from audit.models.ofa import ENGINES, METHODS
from audit.models.ofa.altering import Altering
from audit.models.ofa.answering import Answering
from audit.models.ofa.checkpoint import check_task, checked, fingerprint, not_loaded
from audit.models.ofa.fast import FastOFA
from audit.models.ofa.finishing import Captured, Wanted, finished
from audit.models.ofa.pictures import shape_of
from audit.models.ofa.reading import EncoderReading, GradientReading, head_scale
from audit.models.ofa.sources import Checkpoint
from audit.models.ofa.standins import stand_ins
from audit.models.ofa.text import Prompt, prompt_of, texts_alone
from audit.models.ofa.upstream import (
    Config,
    OFAConfig,
    OfaForAllTasks,
    OFAModel,
    OfaVisualEntailmentPreprocessor,
    ToTensor,
    collate_tokens,
)
from audit.models.protocol import Fingerprint, Query, check_dtype


class OFAVisualEntailment(Altering):
    """An OFA visual entailment checkpoint, loaded and ready to trace.

    Args:
        threads: torch's threads in this process, for several processes that share the cores; None
            leaves them as they are.
        engine: ``reference`` runs modelscope's own passes; ``fast`` computes the same in another
            order if no gradient is asked for, see :mod:`audit.models.ofa.fast`.

    Raises:
        ModelError: the checkpoint is not for OFA visual entailment, is incomplete, or asks for
            something that cannot be audited; or the device is not there.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        engine: str = "reference",
    ) -> None:
        use_threads(threads)
        check_dtype(dtype)
        if engine not in ENGINES:
            known = ", ".join(ENGINES)
            raise ModelError(f"engine {engine!r} is not known: choose from {known}")
        self._device = chosen_device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self.checkpoint = checkpoint
        found = checked(checkpoint)
        self._configuration = found.description.configuration
        folder = str(checkpoint.folder)
        try:
            # Building the tokenizers seeds the global generators; a test session must keep its own.
            with quiet(), stand_ins(), torch.random.fork_rng(devices=[]):
                state = np.random.get_state()
                self._task = OfaForAllTasks(folder)
                self._preprocess = OfaVisualEntailmentPreprocessor(
                    Config.from_file(str(checkpoint.folder / "configuration.json")), folder
                )
                texts_alone(self._preprocess.tokenizer)
                np.random.set_state(state)
        except Exception as error:
            raise not_loaded(found, lambda c: OFAModel(OFAConfig.from_dict(c)), error) from error
        check_task(found, self._task)
        fast = engine == "fast" and FastOFA.supports(self._task.model.config)
        self._fingerprint = fingerprint(
            found, self._task.model, self._preprocess,
            device=str(self._device), dtype=dtype,
            engine="fast" if fast else "reference",
        )  # fmt: skip
        self._task.model.to(device=self._device, dtype=self._dtype).eval()
        self._halving = Halving(self._device)
        self._answering = Answering(self._task, self._device, self._dtype)
        self._engine = (
            FastOFA(self._task.model, fused=gains_by_fusion(self._device)) if fast else None
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers of the checkpoint's answer file, in its order."""
        return tuple(self._task.ans2label_dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """The maps that it can give; see :class:`audit.models.protocol.Model`."""
        return METHODS

    @property
    def label_is_likeliest(self) -> bool:
        """See :class:`audit.models.protocol.Decoding`."""
        return self._answering.label_is_likeliest

    @property
    def fingerprint(self) -> Fingerprint:
        """What was loaded and where it runs."""
        return self._fingerprint

    @property
    def torch_model(self) -> Any:
        """modelscope's ``OFAModel``, for code that needs more than a trace."""
        return self._task.model

    @property
    def preprocessing(self) -> Any:
        """modelscope's preprocessor of the task, for code that changes what the model is given."""
        return self._preprocess

    @property
    def configuration(self) -> dict[str, Any]:
        """The checkpoint's ``configuration.json``; callers may change ``model.prompt`` in it."""
        return self._configuration

    def scaled(self, image: Image.Image) -> Image.Image:
        """See :class:`audit.models.protocol.Scaling`; scaling again changes nothing."""
        for step in self.preprocessing.patch_resize_transform.transforms:
            if isinstance(step, ToTensor):
                break
            image = step(image)
        return image

    def scores(self, queries: Sequence[Query]) -> Tensor:
        """Log-probability of each answer, (queries, labels); gradients flow through it.

        The numbers are those of ``trace``.
        """
        samples = self._samples(queries)
        encoded = self._encode(samples, self._source(samples))
        with ExitStack() as nothing:
            return self._answering.read(samples, encoded, None, nothing).scores

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch; see :class:`audit.models.protocol.Model`."""
        if not queries:
            return []
        wanted = Wanted.of(need, len(self._task.model.encoder.layers))
        return self._halving.run(queries, lambda batch: self._answered(batch, need, wanted))

    def _answered(self, queries: Sequence[Query], need: Need, wanted: Wanted) -> list[Trace]:
        samples = self._samples(queries)
        if wanted.relevances:
            with frozen(self._task.model):
                return self._reference(queries, samples, need, wanted)
        with torch.inference_mode():
            if self._engine is None or self._engine.watched():
                return self._reference(queries, samples, need, wanted)
            return self._fast(self._engine, queries, samples, need, wanted)

    def _samples(self, queries: Sequence[Query]) -> list[dict[str, Any]]:
        # By picture, so that each is opened once and only one is in memory: it may take 200 MB.
        asked: dict[Path | int, list[int]] = {}
        for i, query in enumerate(queries):
            key = query.image if isinstance(query.image, Path) else id(query.image)
            asked.setdefault(key, []).append(i)
        samples: dict[int, dict[str, Any]] = {}
        for numbers in asked.values():
            samples.update(zip(numbers, self._of_one([queries[i] for i in numbers]), strict=True))
        return [samples[i] for i in range(len(queries))]

    def _of_one(self, queries: Sequence[Query]) -> list[dict[str, Any]]:
        """Samples of queries about the same picture, which is freed after the last of them."""
        image = picture_of(queries[0].image)
        return [self._sample(query, image) for query in queries]

    def _sample(self, query: Query, image: Image.Image) -> dict[str, Any]:
        data = {"image": image, "text": query.text}
        if query.premise is not None:
            data["text2"] = query.premise  # modelscope calls the premise text2
        self._prompt(query)  # raises an error if modelscope would cut or drop something
        sample: dict[str, Any] = self._preprocess(data)
        return sample

    def _source(self, samples: list[dict[str, Any]]) -> Tensor:
        """Token ids of the prompts, padded: (batch, tokens)."""
        pad = self._task.tokenizer.pad_token_id
        ids: Tensor = collate_tokens([s["source"] for s in samples], pad).to(self._device)
        return ids

    def _encode(self, samples: list[dict[str, Any]], source: Tensor) -> Any:
        patches = torch.stack([s["patch_image"] for s in samples]).to(self._device, self._dtype)
        return self._task.model.encoder(
            input_ids=source,
            patch_images=patches,
            patch_masks=torch.ones(len(samples), dtype=torch.bool, device=self._device),
        )

    def _reference(
        self,
        queries: Sequence[Query],
        samples: list[dict[str, Any]],
        need: Need,
        wanted: Wanted,
    ) -> list[Trace]:
        """modelscope's own passes over the padded batch, read by hooks."""
        model, source = self._task.model, self._source(samples)
        texts = [self._prompt(query) for query in queries]
        reading = EncoderReading(model.encoder, wanted, source.shape[1], [t.span for t in texts])
        gradients = GradientReading(model, sorted(wanted.relevances, key=str))
        with ExitStack() as backward:
            # The captures stay open until the backward pass has run, because it reads them.
            inside = backward.enter_context(gradients.encoder()) if wanted.relevances else None
            with (
                capture([model.encoder.embed_images], shape_of, output=True) as images,
                reading.watching(),
            ):
                encoded = self._encode(samples, source)
            if inside:
                # If modelscope's generator is asked for the label, it runs the encoder once more.
                inside.stop()
            grid = Grid(*images.once()[0].tolist())
            answered = self._answering.read(
                samples, encoded, gradients if inside else None, backward
            )
            rows, labels = self._probabilities_and_labels(answered.scores, samples)
            if inside:
                inside.leaves += [
                    leaf for pair in answered.passes for g in pair for leaf in g.leaves
                ]
                inside.backward(margin(answered.scores, [self.labels.index(x) for x in labels]))

        cells = grid.rows * grid.cols
        scale, traces = self._cross_scale(), []
        for i, text in enumerate(texts):
            length = cells + len(samples[i]["source"])
            relevances: dict[HeadChoice, Relevance] = {}
            if inside:
                own = self.labels.index(labels[i]) if len(answered.passes) > 1 else 0
                relevances = gradients.relevances(
                    inside, answered.passes[own], i, length, int(answered.read[i]) + 1
                )
            captured = Captured(
                grid, text.words, _cut(answered.attention[i], length), scale,
                of_words=reading.words(i, text.span[1] - text.span[0]),
                rollouts=reading.rollouts(i, length),
                relevances=relevances,
            )  # fmt: skip
            traces.append(self._traced(text, rows[i], labels[i], need, captured))
        return traces

    def _fast(
        self,
        fast: FastOFA,
        queries: Sequence[Query],
        samples: list[dict[str, Any]],
        need: Need,
        wanted: Wanted,
    ) -> list[Trace]:
        """The same traces, computed by :class:`FastOFA`; it gives no gradients."""
        texts = [self._prompt(query) for query in queries]
        encodings = fast.encode(
            [s["source"].to(self._device) for s in samples],
            [s["patch_image"] for s in samples],
            wanted,
            [text.span for text in texts],
        )
        prompts = [self._answering.prompt(s) for s in samples]
        read = [len(prompt) - 1 for prompt in prompts]
        answers = [[]] if self._answering.single else self._answering.answers
        decoded = fast.decode(encodings, [[[*p, *a] for a in answers] for p in prompts], read)
        batch, steps = torch.arange(len(prompts)), torch.tensor(read)
        rows, labels = self._probabilities_and_labels(
            self._answering.scores(
                lambda answer, step, tokens: fast.logits(
                    decoded.hidden[batch, answer, steps + step], tokens
                )
            ),
            samples,
        )
        scale = self._cross_scale()
        return [
            self._traced(
                text, rows[i], labels[i], need,
                Captured(
                    encoded.grid, text.words, _cut(decoded.rows[i], len(encoded.hidden)), scale,
                    of_words=encoded.stream.words(),
                    rollouts=encoded.stream.rollouts(len(encoded.hidden)),
                    relevances={},
                ),
            )
            for i, (text, encoded) in enumerate(zip(texts, encodings.samples, strict=True))
        ]  # fmt: skip

    def _probabilities_and_labels(
        self, scores: Tensor, samples: list[dict[str, Any]]
    ) -> tuple[list[dict[str, float]], list[str]]:
        """The probabilities of each sample's answers, and its label."""
        probabilities = torch.softmax(scores.detach(), dim=-1).cpu().numpy()
        if not np.isfinite(probabilities).all():  # not even the generator could choose a label
            raise NotFinite(
                "the model's answers are not numbers: its probabilities are not finite; is a "
                "weight damaged, or too large for its type?"
            )
        rows = [dict(zip(self.labels, p.tolist(), strict=True)) for p in probabilities]
        return rows, [self._answering.label(r, s) for r, s in zip(rows, samples, strict=True)]

    def _cross_scale(self) -> NDArray[np.float32]:
        """Factors of the decoder's heads; fetched once per batch, because a GPU waits for it."""
        return head_scale([layer.cross_attn for layer in self._task.model.decoder.layers])

    def _traced(
        self,
        prompt: Prompt,
        probabilities: dict[str, float],
        label: str,
        need: Need,
        captured: Captured,
    ) -> Trace:
        return Trace(
            probabilities=probabilities,
            label=label,
            prompt=prompt.text,
            tokens=prompt.tokens,
            grid=captured.grid,
            words=prompt.words,
            readings=finished(need, captured),
        )

    def _prompt(self, query: Query) -> Prompt:
        return prompt_of(query, self._preprocess, self._configuration["model"].get("prompt"))


def _cut(weights: NDArray[np.float32], source: int) -> NDArray[np.float32]:
    """The columns of image and text, without the batch's padding: (layers, heads, source)."""
    if not np.isfinite(weights[..., :source]).all():
        raise NotFinite(
            "the model's answers are not numbers: its cross-attention is not finite; is a weight "
            "damaged, or too large for its type?"
        )
    if not math.isclose(float(weights[..., :source].sum(-1).min()), 1.0, abs_tol=0.02):
        raise ModelError(
            "attention rows do not sum to 1 over image and text: padding is not masked"
        )
    return np.ascontiguousarray(weights[..., :source])
