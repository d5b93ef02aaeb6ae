"""Answers of modelscope's OFA: decoded, scored and labelled as in its pipeline.

modelscope cannot score a batch of unequal prompts, or give the probabilities of all answers in
``generation`` mode. This module does both with modelscope's decoder, and keeps the attention rows
that gave the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.base.errors import ModelError
from audit.models.kit.attention import Gradients, capture
from audit.models.ofa.reading import GradientReading
from audit.models.ofa.standins import stand_ins

with stand_ins():
    from modelscope.models.multi_modal.ofa.utils.utils import expand_mask
    from modelscope.preprocessors.ofa.utils.collate import collate_fn, collate_tokens


@dataclass(frozen=True)
class Answered:
    """What one decoding gave.

    Attributes:
        scores: (batch, answers) log-probabilities.
        attention: (batch, layers, heads, source) of the rows that answer.
        read: (batch,) the steps of these rows.
        passes: for each pass of the decoder, the captures of its own and its cross attention.
    """

    scores: Tensor
    attention: NDArray[np.float32]
    read: Tensor
    passes: list[tuple[Gradients, Gradients]]


class Answering:
    """How one loaded checkpoint answers.

    Args:
        task: modelscope's ``OfaForAllTasks``.

    Attributes:
        answers: token ids of each answer, in the order of the labels.
    """

    def __init__(self, task: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._task, self._device, self._dtype = task, device, dtype
        self._network, self._tokenizer = task.model, task.tokenizer
        self.answers: list[list[int]] = [i.tolist() for chunk in task.val_ans_l for i in chunk]

    @property
    def single(self) -> bool:
        """Whether every answer is one token, so that one pass of the decoder scores them all."""
        return all(len(answer) == 1 for answer in self.answers)

    @property
    def label_is_likeliest(self) -> bool:
        """Whether the label is always the most probable answer; see :meth:`label`."""
        return self._task.gen_type == "traverse" or self.single

    def read(
        self,
        samples: list[dict[str, Any]],
        encoded: Any,
        gradients: GradientReading | None,
        backward: ExitStack,
    ) -> Answered:
        """Decode; keep the answer rows, and what a backward pass needs."""
        model = self._network
        prompts = [self.prompt(s) for s in samples]
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
                # The hooks of this pass must not see later passes.
                for captured in passes[-1]:
                    captured.stop()
            return logits

        sites = [layer.cross_attn.attn_dropout for layer in model.decoder.layers]
        first = prompts if self.single else [[*p, *self.answers[0]] for p in prompts]
        with capture(sites, answer_rows) as attention:
            logits = decode(first)
        rows = torch.arange(len(prompts), device=self._device)
        decoded = {0: logits}

        def logits_of(answer: int, step: int, tokens: list[int]) -> Tensor:
            if answer not in decoded:
                decoded.clear()  # each is as large as the vocabulary, and answers come in order
                decoded[answer] = decode([[*p, *self.answers[answer]] for p in prompts])
            return decoded[answer][rows, read + step].float()[:, tokens]

        scores = self.scores(logits_of)
        # (batch, layers, heads, source)
        layers = torch.stack(attention.once(), dim=1).numpy()
        return Answered(scores, layers, read.cpu(), passes)

    def prompt(self, sample: dict[str, Any]) -> list[int]:
        """The decoder's input before the answer.

        modelscope's generator puts its own begin mark before the prompt, although the prompt has
        one already; this does the same, to read the row that really answers.
        """
        prompt: list[int] = sample["decoder_prompt"].tolist()
        if self._task.gen_type == "generation":
            self._refuse_short_generation(len(prompt), len(sample["source"]))
            return [self._tokenizer.bos_token_id, *prompt]
        return prompt

    def _refuse_short_generation(self, prompt: int, source: int) -> None:
        generator = self._task.generator
        longest = int(generator.max_len_a * source + generator.max_len_b)
        needed = prompt + max(map(len, self.answers))
        if longest < needed:
            raise ModelError(
                f"the checkpoint generates at most {longest} tokens (model.beam_search.max_len_b), "
                f"but prompt and answer take {needed}: modelscope would return an empty label"
            )

    def _decode(self, encoded: Any, targets: list[list[int]]) -> Tensor:
        """Logits (batch, steps, vocabulary) for padded decoder inputs over one encoding."""
        model, pad = self._network, self._tokenizer.pad_token_id
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

    def scores(self, logits_of: Callable[[int, int, list[int]], Tensor]) -> Tensor:
        """Log-probability of each answer under the answers' trie: (batch, answers), float32.

        Args:
            logits_of: takes the number of an answer, a step and tokens; gives the logits (batch,
                tokens) of these tokens, that many steps after the prompt, when the decoder is given
                the prompt and this answer.
        """
        if self.single:
            first = [answer[0] for answer in self.answers]
            return torch.log_softmax(logits_of(0, 0, first), dim=-1)
        eos = self._tokenizer.eos_token_id
        trie, start = self._task.constraint_trie, self._tokenizer.bos_token_id
        scores = []
        for number, answer in enumerate(self.answers):
            steps = []
            for step, token in enumerate([*answer, eos]):
                allowed = trie.get_next_layer([start, *answer[:step]])
                chosen = torch.log_softmax(logits_of(number, step, allowed), dim=-1)
                steps.append(chosen[:, allowed.index(token)])
            scores.append(torch.stack(steps).sum(0))
        return torch.stack(scores, dim=-1)

    def label(self, probabilities: dict[str, float], sample: dict[str, Any]) -> str:
        """The answer that modelscope's pipeline gives.

        Beam search normalises by length, so with answers of several tokens its choice can differ
        from the most probable answer; then modelscope's own generator is asked.
        """
        if self.label_is_likeliest:
            return max(probabilities, key=probabilities.__getitem__)
        tokenizer = self._tokenizer
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
        text: str = self._tokenizer.decode(sample["source"], skip_special_tokens=True)
        return text
