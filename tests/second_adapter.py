"""A second adapter: image-text matching by BLIP, tiny, with random weights.

BLIP is transformers' own code, unchanged. This module adds what an adapter must bring: the
preprocessing, which attention is read, and which part of it belongs to the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor

from audit.base.errors import MapError, ModelError, TextError, nearest
from audit.base.files import digest
from audit.base.geometry import Grid
from audit.base.images import picture_of
from audit.base.words import word_spans
from audit.maps.trace import ANSWER, NOTHING_MORE, HeadChoice, Need, Reading, ReadingKey, Trace
from audit.models.kit.attention import capture, capture_gradients, frozen, margin, reduced
from audit.models.kit.fingerprints import fingerprint, weights_digest
from audit.models.kit.flow import Relevance, relevance, rolled_out
from audit.models.kit.hardware import Halving, chosen_device
from audit.models.kit.heads import over_heads
from audit.models.kit.quiet import quiet
from audit.models.kit.words import singly, tokens_of, words_of
from audit.models.protocol import Query

Array = NDArray[np.float64]

SIDE, PATCH, LONGEST = 32, 8, 96
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "initializer_range": 0.4,
}  # fmt: skip


def tokenizer() -> Tokenizer:
    """A tokenizer with one token for each ASCII character; all others are unknown."""
    letters = [chr(code) for code in range(33, 127)]
    marks = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    names = {t: i for i, t in enumerate([*marks, *letters, *(f"##{x}" for x in letters)])}
    made = Tokenizer(models.WordPiece(names, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    made.encode_special_tokens = True  # "[SEP]" in a text does not end it
    return made


@dataclass(frozen=True)
class Seen:
    """What one pass captured for one query.

    Attributes:
        cross: (layers, heads, text, 1 + patches) attention from the text's tokens to the picture,
            whose first token, CLS, is not a patch.
        vision: (layers, 1 + patches, 1 + patches) of the vision encoder, by head choice.
        branch: (layers, 1 + patches) share of its attention in the residual sum.
        relevances: of the answer, by head choice.
    """

    cross: NDArray[np.float32]
    vision: Mapping[HeadChoice, NDArray[np.float32]]
    branch: NDArray[np.float32]
    relevances: Mapping[HeadChoice, Relevance]


class BlipMatching:
    """Whether a text is true of a picture, by BLIP's image-text matching head."""

    labels = ("no", "yes")
    methods = ("answer_attention", "word_attention", "rollout", "relevance")

    def __init__(self, device: str = "auto", dtype: str = "float32", seed: int = 0) -> None:
        self._device, self._dtype = chosen_device(device), getattr(torch, dtype)
        self._tokenizer = tokenizer()
        text = SIZES | {
            "encoder_hidden_size": 32, "vocab_size": self._tokenizer.get_vocab_size(),
            "max_position_embeddings": LONGEST, "pad_token_id": 0, "bos_token_id": 1,
            "sep_token_id": 2,
        }  # fmt: skip
        vision = SIZES | {"image_size": SIDE, "patch_size": PATCH}
        config = BlipConfig(text, vision, image_text_hidden_size=16, initializer_range=0.4)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = BlipForImageTextRetrieval(config).eval()
            self._processor = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
        self.fingerprint = fingerprint(
            name="blip-matching", source=f"blip:{seed}", weights=weights_digest(self._network),
            configuration=digest(config.to_json_string()),
            tokenizer=digest(self._tokenizer.to_str()),
            preprocessing=digest(self._processor.to_json_string()), device=str(self._device),
            dtype=dtype, packages=("torch", "transformers", "tokenizers"),
        )  # fmt: skip
        self._network.to(self._device, self._dtype)
        self._halving = Halving(self._device)
        inside, above = self._network.vision_model.encoder, self._network.text_encoder.encoder
        self._vision: list[Any] = list(inside.layers)
        # The input of each of these is a softmax: (batch, heads, target, source).
        self._vision_sites: list[nn.Module] = [x.self_attn.dropout for x in inside.layers]
        self._own_sites: list[nn.Module] = [x.attention.self.dropout for x in above.layer]
        self._cross_sites: list[nn.Module] = [x.crossattention.self.dropout for x in above.layer]

    @property
    def torch_model(self) -> nn.Module:
        """For tests that check that nothing is left on it."""
        return self._network

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """See :class:`audit.models.protocol.Model`."""
        for key in need:
            if key.method not in self.methods:
                raise MapError(f"BLIP gives no {key.method}; {nearest(key.method, self.methods)}")
            if key.start_layer > len(self._vision):
                raise MapError(f"BLIP's vision encoder has {len(self._vision)} layers")
        return self._halving.run(queries, lambda batch: self._answered(batch, need))

    def _encoded(self, query: Query) -> Any:
        if query.premise is not None:
            raise ModelError("BLIP takes no premise beside the picture")
        found = self._tokenizer.encode(query.text)
        if len(found) > LONGEST and not query.truncate:
            raise TextError(f"the text has {len(found)} tokens, and the model reads {LONGEST}")
        return found

    def _answered(self, queries: Sequence[Query], need: Need) -> list[Trace]:
        texts = [self._encoded(query) for query in queries]
        size = min(max(map(len, texts)), LONGEST)
        for text in texts:
            text.truncate(size)
            text.pad(size)
        images = [picture_of(query.image) for query in queries]
        given = {
            "input_ids": torch.tensor([t.ids for t in texts]),
            "attention_mask": torch.tensor([t.attention_mask for t in texts]),
            "pixel_values": self._processor(images, return_tensors="pt")["pixel_values"],
        }
        given["pixel_values"] = given["pixel_values"].to(self._dtype)
        scores, seen = self._passed({k: v.to(self._device) for k, v in given.items()}, need)
        probabilities = scores.softmax(-1).double().cpu().numpy()
        return [
            self._traced(query, text, row, each, need)
            for query, text, row, each in zip(queries, texts, probabilities, seen, strict=True)
        ]

    def _passed(self, given: dict[str, Tensor], need: Need) -> tuple[Tensor, list[Seen]]:
        """Scores (batch, labels), and what one pass captured for each query."""
        rolled = sorted({k.heads for k in need if k.method == "rollout"}, key=str)
        wanted = sorted({k.heads for k in need if k.method == "relevance"}, key=str)
        into: list[Tensor] = []

        def branch(number: int, added: Tensor) -> Tensor:
            small = added.float().norm(dim=-1)
            return small / (small + into[number].float().norm(dim=-1))

        def residual(_: int, hidden: Tensor) -> Tensor:
            into.append(hidden)
            return hidden.new_zeros(())

        def over_each(_: int, weights: Tensor) -> Tensor:
            return torch.stack([reduced(weights, heads).cpu() for heads in rolled])

        def positive(_: int, weights: Tensor, gradient: Tensor) -> Tensor:
            product = (weights * gradient).clamp_min(0)
            return torch.stack([reduced(product, heads).cpu() for heads in wanted])

        attentions = [self._vision_sites, self._own_sites, self._cross_sites]
        with ExitStack() as stack:
            stack.enter_context(frozen(self._network) if wanted else torch.inference_mode())
            rows = stack.enter_context(capture(self._cross_sites, lambda _, w: w.float().cpu()))
            mixed = shares = None
            if rolled:
                mixed = stack.enter_context(capture(self._vision_sites, over_each))
                stack.enter_context(capture(self._vision, residual))
                sites = [layer.self_attn for layer in self._vision]
                shares = stack.enter_context(capture(sites, branch, output=True))
            gradients = [
                stack.enter_context(capture_gradients(sites, positive))
                for sites in (attentions if wanted else [])
            ]
            scores = self._network(**given).itm_score.float().log_softmax(-1)
            if wanted:
                gradients[0].leaves += [leaf for g in gradients[1:] for leaf in g.leaves]
                gradients[0].backward(margin(scores, scores.argmax(-1).tolist()))
        cross = torch.stack(rows.once(), 1)
        a_bar = [torch.stack(g.once(), 2) for g in gradients]  # (choices, batch, layers, ...)
        vision = torch.stack(mixed.once(), 2) if mixed else torch.zeros(0, len(cross))
        share = torch.stack(shares.once(), 1).float().cpu() if shares else torch.zeros(len(cross))
        found = []
        for i, mask in enumerate(given["attention_mask"].bool().cpu()):
            of_heads = dict(zip(rolled, vision[:, i].numpy(), strict=True))
            relevances = {}
            for n, heads in enumerate(wanted):
                inside, own, between = (each[n, i] for each in a_bar)
                # The answer is read at CLS, the first token; the kit wants its row to be the last.
                own, between = own[:, mask][:, :, mask].flip(1, 2), between[:, mask].flip(1)
                relevances[heads] = Relevance(inside.numpy(), own.numpy(), between.numpy())
            rows_of = cross[i, :, :, mask].numpy()
            found.append(Seen(rows_of, of_heads, share[i].numpy(), relevances))
        return scores.detach(), found

    def _traced(self, query: Query, text: Any, row: Array, seen: Seen, need: Need) -> Trace:
        words = words_of(word_spans(query.text), [
            (0, 0) if special else span
            for span, special in zip(text.offsets, text.special_tokens_mask, strict=True)
        ])  # fmt: skip
        grid = Grid(SIDE // PATCH, SIDE // PATCH)
        finish = {"rollout": _rollout, "relevance": _relevance}
        readings = {}
        for key in singly(need, len(words)):
            tokens = tokens_of(key.word, words) if key.word is not None else [0]
            if tokens:
                rows = over_heads(seen.cross[:, :, tokens].mean(2), key.heads)  # (layers, source)
                cells = finish[key.method](seen, key, rows) if key.method in finish else rows
                of_answer = over_heads(seen.cross[:, :, 0], ANSWER.heads).mean(0, keepdims=True)
                rows = of_answer if key.method == "relevance" else rows
                share = rows[:, 1:].sum(1) / rows.sum(1)
                shaped = cells[:, -grid.rows * grid.cols :].reshape(-1, *grid)
                readings[key] = Reading(shaped, share.clip(0, 1), rows.sum(1))
        probabilities = dict(zip(self.labels, row.tolist(), strict=True))
        label = max(probabilities, key=probabilities.__getitem__)
        tokens = tuple(t for t, real in zip(text.tokens, text.attention_mask, strict=True) if real)
        return Trace(probabilities, label, query.text, tokens, grid, words, readings)


def _rollout(seen: Seen, key: ReadingKey, rows: Array) -> Array:
    """The answer's rows carried down through the vision encoder: (layers, 1 + patches)."""
    mixed = seen.vision[key.heads][key.start_layer - 1 :]
    mixed = mixed / mixed.sum(-1, keepdims=True)
    branch = seen.branch if key.residual is None else np.full_like(seen.branch, 1 - key.residual)
    share = branch[key.start_layer - 1 :, :, None]
    eye = np.eye(mixed.shape[-1], dtype=np.float32)
    return rolled_out(rows, list(share * mixed + (1 - share) * eye)[::-1])


def _relevance(seen: Seen, key: ReadingKey, _: Array) -> Array:
    """Relevance of the picture's tokens for the answer: (1, 1 + patches)."""
    found = relevance(seen.relevances[key.heads], variant=key.variant, start_layer=key.start_layer)
    return found[None]
