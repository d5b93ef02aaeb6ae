"""The adapter for matchers of transformers, whose classes are run unmodified."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audit.base.errors import ModelError, NotFinite
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.hf.anatomies import ANATOMIES, vilt_batch
from audit.models.hf.looking import Look, readings, refuse_unknown
from audit.models.hf.matchers import MATCHERS, Matcher
from audit.models.hf.pairs import Pair, Pairer, collated
from audit.models.hf.pictures import by_picture
from audit.models.hf.sites import Shown, shown
from audit.models.hf.sources import Checkpoint
from audit.models.hf.weights import class_of, fingerprint_of, network_of, processor_of
from audit.models.kit.attention import frozen, margin
from audit.models.kit.hardware import Halving, chosen_device, use_threads
from audit.models.kit.matching import Matching
from audit.models.protocol import Fingerprint, Query, check_dtype


class MatchingModel:
    """A matcher, loaded and ready to trace.

    Args:
        threads: torch's threads in this process; None leaves them as they are.
        matching: what it is shown, and what its scores mean.

    Raises:
        ModelError: the checkpoint is not of such a model, or is incomplete; it has one score and no
            threshold is stated, or two and one is; or the device is not there.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        matching: Matching | None = None,
    ) -> None:
        use_threads(threads)
        check_dtype(dtype)
        self._kind = str(checkpoint.config["model_type"])
        self._matcher, self._anatomy = MATCHERS[self._kind], ANATOMIES[self._kind]
        self._matching = matching or Matching()
        _check_threshold(self._matcher, self._matching)
        self._device = chosen_device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._network = network_of(checkpoint, self._dtype, class_of(self._matcher.architecture))
        self.processor = processor_of(checkpoint)
        config = self._network.config
        _check_config(self._kind, config)
        self._pairer = Pairer(self._kind, self.processor, config, self._matching)
        self._fingerprint = fingerprint_of(
            checkpoint, self._matching, device=str(self._device), dtype=dtype,
            engine=str(config._attn_implementation),
        )  # fmt: skip
        self._network.to(self._device)
        self._sites = self._anatomy.sites(self._network)
        self._takes = set(inspect.signature(self._network.forward).parameters)
        self._pad = self.processor.tokenizer.pad_token_id or 0
        self._halving = Halving(self._device)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of no match and of match, as the asking file names them."""
        return self._matching.labels

    @property
    def methods(self) -> tuple[str, ...]:
        """The maps that its family gives."""
        return self._matcher.methods

    @property
    def fingerprint(self) -> Fingerprint:
        """What was loaded, how it is asked, and where it runs."""
        return self._fingerprint

    @property
    def label_is_likeliest(self) -> bool:
        """False if a threshold other than one half decides."""
        return self._matching.threshold in (None, 0.5)

    @property
    def torch_model(self) -> Any:
        """transformers' own model, for code that needs more than a trace."""
        return self._network

    def pair(self, query: Query) -> Pair:
        """What the model is given for a query."""
        return by_picture([query], self._pairer.of)[0]

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch; see :class:`audit.models.protocol.Model`."""
        refuse_unknown(need, self._matcher.title, self.methods, len(self._sites))
        if not queries:
            return []
        return self._halving.run(queries, lambda batch: self._answered(batch, need))

    def _answered(self, queries: Sequence[Query], need: Need) -> list[Trace]:
        pairs = by_picture(queries, self._pairer.of)
        inclined = any(key.method == "relevance" for key in need)
        calls: list[Shown] = []
        with frozen(self._network) if inclined else torch.no_grad():
            with shown(self._sites if need else [], calls.append):
                logs = self._logs(pairs)
            numbers = [self._choice(row) for row in logs.detach()]
            weighted = []
            if inclined:
                target = margin(logs, numbers)
                given = torch.autograd.grad(target, [call.output for call in calls])
                weighted = [c.weighted(g) for c, g in zip(calls, given, strict=True)]
        with torch.no_grad():
            text = max(pair.inputs["input_ids"].shape[1] for pair in pairs)
            traces = []
            for i, pair in enumerate(pairs):
                look = Look(
                    [call.attended.of(i) for call in calls], [w[i : i + 1] for w in weighted],
                    self._anatomy.places(self._network, pair, text), pair.grid, pair.words,
                    self._anatomy.joint,
                )  # fmt: skip
                masses = logs[i].detach().double().exp()
                probabilities = (masses / masses.sum()).tolist()
                traces.append(
                    Trace(
                        dict(zip(self.labels, probabilities, strict=True)),
                        self.labels[numbers[i]], pair.text, pair.tokens, pair.grid, pair.words,
                        readings(look, need), pair.view,
                    )
                )  # fmt: skip
        return traces

    def _logs(self, pairs: Sequence[Pair]) -> Tensor:
        """Log-probabilities of no match and match: (batch, 2), float32.

        Raises:
            NotFinite: the model's scores are not.
        """
        if self._kind == "vilt":
            batch = vilt_batch(self._network, pairs, self._pad, self._device, self._dtype)
        else:
            batch = {k: v.to(self._device) for k, v in collated(pairs, self._pad).items()}
            batch = {k: v.to(self._dtype) if v.is_floating_point() else v for k, v in batch.items()}
        batch = {name: value for name, value in batch.items() if name in self._takes}
        scores = self._anatomy.scores(self._network, batch).float()
        if not bool(scores.isfinite().all()):
            raise NotFinite(
                "the model's scores are not finite; is a weight damaged, or too large for its type?"
            )
        if self._matcher.scores == 2:
            return scores.log_softmax(-1)
        return nn.functional.logsigmoid(torch.cat([-scores, scores], -1))

    def _choice(self, logs: Tensor) -> int:
        """The number of the label that log-probabilities of no match and match mean."""
        if self._matching.threshold is None:
            return int(logs.argmax())
        return int(float(logs[1].double().exp()) >= self._matching.threshold)


def _check_threshold(matcher: Matcher, matching: Matching) -> None:
    if matcher.scores == 1 and matching.threshold is None:
        raise ModelError(
            f"{matcher.title} gives one score, so it must be stated from which probability on a "
            "text and a picture match: write for example threshold: 0.5 into an asking file (for "
            "pytest --audit-asking FILE, else --asking FILE)"
        )
    if matcher.scores == 2 and matching.threshold is not None:
        raise ModelError(
            f"{matcher.title} scores both labels and takes the likelier; it has no threshold"
        )


def _check_config(kind: str, config: Any) -> None:
    """Refuse what would make the attention, or which patch is which, another than it is read as."""
    texts = config.qformer_config if kind == "blip-2" else getattr(config, "text_config", config)
    if getattr(texts, "position_embedding_type", None) not in (None, "absolute"):
        raise ModelError("the model has relative positions of text, whose attention is not read")
    if kind == "vilt" and config.max_image_length > 0:
        raise ModelError(
            f"the model leaves out patches at random (max_image_length: {config.max_image_length}),"
            " so its answers change from one time to the next; set it to -1"
        )
    if kind.startswith("siglip") and not getattr(config.vision_config, "vision_use_head", True):
        raise ModelError("the model has no pooling head, so it gives no score")
