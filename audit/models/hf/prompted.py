"""The adapter for models of transformers whose encoder reads a prompt and whose decoder answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from audit.base.errors import ModelError, TextError
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.hf import METHODS_OF_DECODERS
from audit.models.hf.looking import Look, Places, readings, refuse_unknown
from audit.models.hf.pictures import by_picture
from audit.models.hf.prompts import Prompt, Prompter, collated
from audit.models.hf.sites import Shown, shown
from audit.models.hf.sources import Checkpoint
from audit.models.hf.weights import fingerprint_of, network_of, processor_of
from audit.models.kit.asking import DEFAULT, Asking, AskingError, said
from audit.models.kit.attention import frozen, margin
from audit.models.kit.hardware import Halving, chosen_device, use_threads
from audit.models.protocol import Fingerprint, Query, check_dtype


class PromptedModel:
    """Florence-2, loaded and ready to trace.

    The decoder's own prompt is its start token and the begin mark, as in training; the first answer
    token is predicted at the begin mark, whose row of cross-attention is the answer's.

    Args:
        threads: torch's threads in this process; None leaves them as they are.
        asking: how it is asked, and what its answers mean.

    Raises:
        ModelError: the checkpoint is not of such a model, is incomplete, or cannot be asked so or
            give the answers; or the device is not there.
    """

    methods = METHODS_OF_DECODERS

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
        self._title = checkpoint.family.title
        self._device = chosen_device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self.processor = processor_of(checkpoint)
        self._tasks = _tasks(self.processor)
        self._network = network_of(checkpoint, self._dtype)
        config = self._network.config
        _check_asking(asking, self._tasks, self._title)
        longest = int(config.text_config.max_position_embeddings)
        try:
            self._prompter = Prompter(checkpoint.family, self.processor, config, asking, longest)
            self._answers = self._prompter.answers()
        except AskingError:
            raise
        except ModelError as error:
            raise ModelError(f"{checkpoint.folder}: {error}") from None
        self._fingerprint = fingerprint_of(
            checkpoint, asking, device=str(self._device), dtype=dtype,
            engine=str(config.text_config._attn_implementation),
        )  # fmt: skip
        self._network.to(self._device)
        text, words = self._network.model.language_model, self.processor.tokenizer
        self._begin = [int(config.text_config.decoder_start_token_id), int(words.bos_token_id)]
        self._encoder = [layer.self_attn for layer in text.encoder.layers]
        self._across = [layer.encoder_attn for layer in text.decoder.layers]
        self._pad = words.pad_token_id or 0
        self._halving = Halving(self._device)

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
        return by_picture([query], self._prompt)[0]

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch; see :class:`audit.models.protocol.Model`."""
        refuse_unknown(need, self._title, self.methods, len(self._across))
        if not queries:
            return []
        return self._halving.run(queries, lambda batch: self._answered(batch, need))

    def _prompt(self, query: Query, image: Image.Image) -> Prompt:
        for text in (query.text, query.premise or ""):
            held = [task for task in self._tasks if task in text]
            if held:
                raise TextError(f"a text has {held[0]!r}, which the model takes for a task")
        return self._prompter.of(query, image)

    def _answered(self, queries: Sequence[Query], need: Need) -> list[Trace]:
        prompts = by_picture(queries, self._prompt)
        of_words = frozenset(key for key in need if key.method == "word_attention")
        across: list[Shown] = []
        inside: list[Shown] = []
        with (
            torch.no_grad(),
            shown(self._across if need else [], across.append),
            shown(self._encoder if of_words else [], inside.append),
        ):
            logits, encoded = self._first(prompts)
        several = any(len(each) > 1 for group in self._answers.values() for each in group)
        inclined = any(key.method == "relevance" for key in need)
        traces = []
        for i, prompt in enumerate(prompts):
            of_prompt = encoded[i : i + 1, : prompt.length]
            if several:
                with torch.no_grad():
                    logs = self._whole(of_prompt)
            else:
                logs = self._single(logits[i])
            answer = said({label: each.tolist() for label, each in logs.items()})
            label = max(answer.probabilities, key=answer.probabilities.__getitem__)
            weighted = self._weighted(of_prompt, label) if inclined else []
            first = int(prompt.cells[0])
            look = Look(
                [call.attended.of(i) for call in across], weighted,
                Places([len(self._begin) - 1], 0, first), prompt.grid, prompt.words, joint=False,
            )  # fmt: skip
            found = readings(look, need - of_words)
            look = Look(
                [call.attended.of(i) for call in inside], [],
                Places([], prompt.first, first), prompt.grid, prompt.words, joint=True,
            )  # fmt: skip
            found |= readings(look, of_words)
            traces.append(
                Trace(
                    answer.probabilities, label, prompt.text, prompt.tokens, prompt.grid,
                    prompt.words, found, prompt.view, answer.unsaid,
                )
            )  # fmt: skip
        return traces

    def _first(self, prompts: list[Prompt]) -> tuple[Tensor, Tensor]:
        """Logits of the first answer token, (batch, vocabulary), and what the encoder made.

        The latter is (batch, tokens, size).
        """
        given = {k: v.to(self._device) for k, v in collated(prompts, self._pad).items()}
        given = {k: v.to(self._dtype) if v.is_floating_point() else v for k, v in given.items()}
        begin = torch.tensor([self._begin] * len(prompts), device=self._device)
        found = self._network(**given, decoder_input_ids=begin, use_cache=False)
        return found.logits[:, -1], found.encoder_last_hidden_state

    def _single(self, logits: Tensor) -> dict[str, Tensor]:
        """By label, the log-probability of each answer, all of which have one token: (answers,)."""
        logs = logits.float().log_softmax(-1)
        return {
            label: torch.stack([logs[tokens[0]] for tokens in group])
            for label, group in self._answers.items()
        }

    def _whole(self, encoded: Tensor) -> dict[str, Tensor]:
        """By label, the log-probability of each whole answer to one prompt: (answers,).

        Args:
            encoded: (1, tokens, size) what the encoder made of the prompt.
        """
        answers = [tokens for group in self._answers.values() for tokens in group]
        longest = max(map(len, answers))
        fed = [
            [*self._begin, *tokens[:-1], *[self._pad] * (longest - len(tokens))]
            for tokens in answers
        ]
        logits = self._network(
            encoder_outputs=BaseModelOutput(encoded.expand(len(answers), -1, -1)),
            attention_mask=torch.ones(len(answers), encoded.shape[1], device=self._device).long(),
            decoder_input_ids=torch.tensor(fed, device=self._device),
            use_cache=False,
        ).logits
        logs = logits[:, len(self._begin) - 1 :].float().log_softmax(-1)
        sums = iter(
            torch.stack([logs[n, step, token] for step, token in enumerate(tokens)]).sum()
            for n, tokens in enumerate(answers)
        )
        return {
            label: torch.stack([next(sums) for _ in group])
            for label, group in self._answers.items()
        }

    def _weighted(self, encoded: Tensor, label: str) -> list[Tensor]:
        """The answer row's cross-attention times the positive part of its gradient.

        For each layer (1, heads, 1, tokens). The row is the same for all answers, so its gradient
        is the sum over them.
        """
        row, calls = len(self._begin) - 1, list[Shown]()
        with frozen(self._network):
            with shown(self._across, calls.append):
                logs = self._whole(encoded)
            scores = torch.stack([each.logsumexp(0) for each in logs.values()])
            target = margin(scores[None], [self.labels.index(label)])
            gradients = torch.autograd.grad(target, [call.output for call in calls])
        found = []
        for call, gradient in zip(calls, gradients, strict=True):
            one = Shown(call.attended.of(0), call.output[:1], call.mixing)
            whole = one.weighted(gradient.sum(0, keepdim=True)).detach()
            found.append(whole[:, :, row : row + 1])
        return found


def _tasks(processor: Any) -> tuple[str, ...]:
    """The tokens of tasks, each of which the processor replaces by a question of its own."""
    return (*processor.task_prompts_without_inputs, *processor.task_prompts_with_input)


def _check_asking(asking: Asking, tasks: Sequence[str], title: str) -> None:
    if asking.system:
        raise ModelError(f"{title} has no system message, and the asking file has one")
    for question in (asking.question, asking.question_with_premise or "", asking.generic):
        held = [task for task in tasks if task in question]
        if held:
            raise ModelError(
                f"a question of the asking file has {held[0]!r}, which {title}'s processor "
                "replaces by words of its own; write the words themselves"
            )
