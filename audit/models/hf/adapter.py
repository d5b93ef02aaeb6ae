"""The adapter for chat models of transformers, whose classes are run unmodified."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from audit.base.errors import ModelError
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.hf import METHODS
from audit.models.hf.altering import Altering, log_probabilities
from audit.models.hf.pictures import by_picture
from audit.models.hf.prompts import Prompt, Prompter, collated
from audit.models.hf.reading import Finisher, Wanted, gradient_weighted, gradients, reading
from audit.models.hf.sources import Checkpoint
from audit.models.hf.weights import fingerprint_of, network_of, processor_of
from audit.models.kit.asking import DEFAULT, Asking, AskingError, said
from audit.models.kit.attention import frozen, margin
from audit.models.kit.hardware import Halving, chosen_device, use_threads
from audit.models.kit.rows import watched
from audit.models.protocol import Fingerprint, Query, check_dtype

_TEXT = "text_config"


class ChatModel(Altering):
    """A chat model of a family that is known, loaded and ready to trace.

    Args:
        threads: torch's threads in this process; None leaves them as they are.
        asking: how it is asked, and what its answers mean.

    Raises:
        ModelError: the checkpoint is not of such a model, is incomplete, or cannot give the
            answers; or the device is not there.
    """

    methods = METHODS

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        asking: Asking = DEFAULT,
    ) -> None:
        use_threads(threads)
        check_dtype(dtype)
        self.checkpoint = checkpoint
        self._family = checkpoint.family
        self._device = chosen_device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self.processor = processor_of(checkpoint)
        self._network = network_of(checkpoint, self._dtype)
        self.ask_by(asking)
        own = watched(self._network, _TEXT)
        self._fingerprint = fingerprint_of(
            checkpoint, asking, device=str(self._device), dtype=dtype, engine=own
        )
        self._network.to(self._device)
        inside = self._network.model
        text = inside.language_model if hasattr(inside, "language_model") else inside.text_model
        self._layers = list(text.layers)
        takes = inspect.signature(self._network.forward).parameters
        self._cache = "cache" if "cache" in takes else "past_key_values"  # newer or older name
        self._pad = self.processor.tokenizer.pad_token_id or 0
        self._halving = Halving(self._device)

    def ask_by(self, asking: Asking) -> None:
        """Ask by another asking file from now on, with the processor as it is now.

        Raises:
            ModelError: the model cannot give the answers.
        """
        config = self._network.config
        longest = int(getattr(config.text_config, "max_position_embeddings", 1_000_000))
        try:
            self._prompter = Prompter(self._family, self.processor, config, asking, longest)
            self._answers = self._prompter.answers()
        except AskingError:
            raise
        except ModelError as error:
            raise ModelError(f"{self.checkpoint.folder}: {error}") from None
        self.asking = asking

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the asking file."""
        return tuple(self._answers)

    @property
    def fingerprint(self) -> Fingerprint:
        """What was loaded, how it is asked, and where it runs."""
        return self._fingerprint

    @property
    def torch_model(self) -> Any:
        """transformers' own model, for code that needs more than a trace."""
        return self._network

    def prompt(self, query: Query) -> Prompt:
        """What the model is given for a query."""
        return by_picture([query], self._prompter.of)[0]

    def scores(self, queries: Sequence[Query]) -> Tensor:
        """See :class:`audit.models.kit.altering.Teachable`."""
        prompts, cache = by_picture(queries, self._prompter.of), DynamicCache()
        with self._unchanged():
            logits = self._first(prompts, cache)
            pairs = zip(logits, prompts, strict=True)
            return log_probabilities([self._logs(x, p, cache, i) for i, (x, p) in enumerate(pairs)])

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch; see :class:`audit.models.protocol.Model`."""
        if not queries:
            return []
        wanted = Wanted.of(need, len(self._layers))
        return self._halving.run(queries, lambda batch: self._answered(batch, need, wanted))

    def _answered(self, queries: Sequence[Query], need: Need, wanted: Wanted) -> list[Trace]:
        prompts = by_picture(queries, self._prompter.of)
        several = any(len(each) > 1 for group in self._answers.values() for each in group)
        cache = DynamicCache() if several or wanted.relevances else None
        traces = []
        with torch.no_grad(), self._unchanged():
            with reading(self._layers, prompts, wanted) as rows:
                logits = self._first(prompts, cache)
            for i, prompt in enumerate(prompts):
                logs = self._logs(logits[i], prompt, cache, i)
                answer = said({label: each.tolist() for label, each in logs.items()})
                label = max(answer.probabilities, key=answer.probabilities.__getitem__)
                weighted = []
                if wanted.relevances:
                    assert cache is not None
                    weighted = self._weighted(prompt, label, cache, i)
                traces.append(
                    Trace(
                        answer.probabilities, label, prompt.text, prompt.tokens, prompt.grid,
                        prompt.words, Finisher(prompt, rows, i, weighted).readings(need),
                        prompt.view, answer.unsaid,
                    )
                )  # fmt: skip
        return traces

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Leave nothing on the network of what some families keep between two passes."""
        inside = self._network.model
        if not hasattr(inside, "rope_deltas"):
            yield
            return
        before = inside.rope_deltas
        try:
            yield
        finally:
            inside.rope_deltas = before

    def _first(self, prompts: list[Prompt], cache: DynamicCache | None) -> Tensor:
        """The pass over the prompts: logits of what comes next, (batch, vocabulary)."""
        given = {k: v.to(self._device) for k, v in collated(prompts, self._pad).items()}
        given = {k: v.to(self._dtype) if v.is_floating_point() else v for k, v in given.items()}
        ends = torch.tensor([prompt.length - 1 for prompt in prompts], device=self._device)
        kept, which = ends.unique(return_inverse=True)
        logits = self._network(
            **given, logits_to_keep=kept, use_cache=cache is not None, **{self._cache: cache}
        ).logits
        found: Tensor = logits[torch.arange(len(prompts), device=self._device), which]
        return found

    def _logs(
        self, logits: Tensor, prompt: Prompt, cache: DynamicCache | None, sample: int
    ) -> dict[str, Tensor]:
        """By label, the log-probability of each whole answer: (answers,)."""
        first = logits.float().log_softmax(-1)
        answers = [each for group in self._answers.values() for each in group]
        total = [first[tokens[0]] for tokens in answers]
        longer = [n for n, tokens in enumerate(answers) if len(tokens) > 1]
        if longer:
            assert cache is not None
            own = _of_sample(cache, sample, prompt.length, len(longer))
            for step in range(max(len(answers[n]) for n in longer) - 1):
                fed = torch.tensor([[answers[n][min(step, len(answers[n]) - 1)]] for n in longer])
                logs = self._next(fed, own, prompt, step).float().log_softmax(-1)
                for row, n in zip(logs, longer, strict=True):
                    if step + 1 < len(answers[n]):
                        total[n] = total[n] + row[answers[n][step + 1]]
        sums = iter(total)
        return {
            label: torch.stack([next(sums) for _ in group])
            for label, group in self._answers.items()
        }

    def _next(self, tokens: Tensor, cache: DynamicCache, prompt: Prompt, step: int) -> Tensor:
        """Logits behind one more token of each answer, (answers, vocabulary).

        Args:
            tokens: (answers, 1).
            step: how many tokens of the answer came before; −1 for the prompt's last token.
        """
        tokens = tokens.to(self._device)
        given: dict[str, Tensor] = {}
        if self._family.by_rows:
            behind = prompt.length - len(prompt.image) + max(prompt.grid) + step
            given["position_ids"] = torch.full((3, len(tokens), 1), behind, device=self._device)
        mask = torch.ones(len(tokens), prompt.length + step + 1, device=self._device).long()
        logits = self._network(
            input_ids=tokens, attention_mask=mask, use_cache=True, logits_to_keep=1,
            **{self._cache: cache}, **given,
        ).logits  # fmt: skip
        found: Tensor = logits[:, -1]
        return found

    def _weighted(
        self, prompt: Prompt, label: str, cache: DynamicCache, sample: int
    ) -> list[Tensor]:
        """Gradient-weighted attention of the answer's row; see :func:`gradient_weighted`.

        The last token is passed once more, behind the others' cache: the gradient through its own
        row needs no other.
        """
        with frozen(self._network):
            own = _of_sample(cache, sample, prompt.length - 1, 1)
            last = prompt.inputs["input_ids"][:, -1:]
            with gradients(len(self._layers)) as seen:
                logits = self._next(last, own, prompt, -1)
            logs = self._logs(logits[0], prompt, own, 0)
            scores = torch.stack([each.logsumexp(0) for each in logs.values()])
            return gradient_weighted(seen, margin(scores[None], [self.labels.index(label)]))


def _of_sample(cache: DynamicCache, sample: int, length: int, copies: int) -> DynamicCache:
    """The cache of one prompt of a batch, without padding, for several answers to it."""
    own = DynamicCache()
    for number, layer in enumerate(cache.layers):
        keys, values = (
            each[sample : sample + 1, :, :length].expand(copies, -1, -1, -1)
            for each in (layer.keys, layer.values)
        )
        own.update(keys, values, number)
    return own
