"""How far audit's models are from plain transformers, family by family.

    python -m benchmarks.parity [--docs] [--with FOLDER]

Each family is a tiny checkpoint with random weights and its real processor, as the tests make them.
Three figures, each the largest difference found:

- logits: from plain transformers with the same inputs (limit 2e-6);
- row: the answer's row of attention, in each layer, from eager ``output_attentions`` (limit 1e-6);
- batch: six questions with unequal pictures and texts asked at once, from asking each alone:
  logits, probabilities, cells and image shares (limit 1e-5).

``--with`` names a folder of packages, such as another transformers, to measure once more with.
``--docs`` writes docs/parity.md, with the folder of ``make test-transformers5`` if none is named.
The command exits with 1 if a figure is over its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit.base.files import write_atomically
from audit.maps.trace import ANSWER, Trace
from audit.models.hf.adapter import ChatModel
from audit.models.hf.families import FAMILIES
from audit.models.hf.matchers import MATCHERS
from audit.models.hf.prompted import PromptedModel
from audit.models.hf.sources import found
from audit.models.kit.asking import DEFAULT
from audit.models.kit.quiet import quiet
from audit.models.kit.subject import example_queries
from audit.models.protocol import Query
from audit.report.markdown import table
from tests import chats_by_hand, matchers_by_hand, prompted_by_hand, tiny_chat, tiny_matchers

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "parity.md"
OVERLAY = ROOT / ".venv" / "overlay-transformers5"

QUERIES = example_queries()
BATCH = (*QUERIES, *reversed(QUERIES))
NEED = frozenset({ANSWER})


class Figures(NamedTuple):
    """Of one family, with one version of transformers: the largest differences."""

    logits: float
    row: float
    batch: float


LIMITS = Figures(2e-6, 1e-6, 1e-5)


class Scale(NamedTuple):
    """How large what is compared can be, by plain transformers."""

    logit: float
    cell: float


TITLES = {
    **{name: family.title for name, family in FAMILIES.items()},
    **{name: matcher.title for name, matcher in MATCHERS.items()},
}
"""The families of the table, by ``model_type``."""


def off(one: Any, other: Any) -> float:
    """The largest difference between two arrays of the same size."""
    return float(np.abs(np.asarray(one, float).ravel() - np.asarray(other, float).ravel()).max())


Expected = list[tuple[Tensor, Tensor]]
"""For each of the questions, logits and the answer's row of each layer, by plain transformers."""


def compared(
    trace: Callable[[Sequence[Query]], list[Trace]],
    logits: Callable[[Sequence[Query]], Tensor],
    expected: Expected,
) -> tuple[Figures, Scale]:
    """How far a model is from what is expected, and a batch of it from single calls."""
    found = [(trace([query])[0], logits([query])[0]) for query in QUERIES]
    alone = (*found, *reversed(found))  # as in BATCH
    batch = []
    for (single, scores), one, row in zip(alone, trace(BATCH), logits(BATCH), strict=True):
        mine, own = one.readings[ANSWER], single.readings[ANSWER]
        batch += [
            off(row, scores),
            off([*one.probabilities.values()], [*single.probabilities.values()]),
            off(mine.cells, own.cells),
            off(mine.share, own.share),
        ]
    pairs = list(zip(found, expected, strict=True))
    return (
        Figures(
            max(off(scores, wanted) for (_, scores), (wanted, _) in pairs),
            max(off(one.readings[ANSWER].cells, rows) for (one, _), (_, rows) in pairs),
            max(batch),
        ),
        Scale(
            max(float(wanted.abs().max()) for wanted, _ in expected),
            max(float(rows.max()) for _, rows in expected),
        ),
    )


def loaded(folder: Path) -> chats_by_hand.Plain:
    """Network and processor as transformers loads them."""
    with quiet():
        network = AutoModelForImageTextToText.from_pretrained(folder).eval()
        return network, AutoProcessor.from_pretrained(folder)


def of_chat(family: str, folder: Path) -> tuple[Figures, Scale]:
    """A family of chat models."""
    tiny_chat.save(family, folder)
    model, plain = ChatModel(found(f"hf:{folder}"), device="cpu"), loaded(folder)

    def logits(queries: Sequence[Query]) -> Tensor:
        return model._first([model.prompt(query) for query in queries], None)

    expected: Expected = []
    for query in QUERIES:
        inputs = chats_by_hand.inputs_of(plain, model, query)
        grid = model.prompt(query).grid
        at = chats_by_hand.columns(plain, family, inputs, grid.rows * grid.cols)
        attentions = chats_by_hand.eager(plain, inputs).attentions
        rows = torch.stack([a[0, :, -1].mean(0)[at] for a in attentions])
        expected.append((plain[0](**inputs).logits[0, -1], rows))
    return compared(lambda queries: model.trace(queries, NEED), logits, expected)


def of_prompted(family: str, folder: Path) -> tuple[Figures, Scale]:
    """Florence-2."""
    tiny_matchers.save(family, folder)
    model, plain = PromptedModel(found(f"hf:{folder}"), device="cpu"), loaded(folder)
    begin = prompted_by_hand.begin(plain)

    def logits(queries: Sequence[Query]) -> Tensor:
        return model._first([model.prompt(query) for query in queries])[0]

    expected: Expected = []
    for query in QUERIES:
        inputs = prompted_by_hand.asked(plain, query, DEFAULT)
        given = plain[0](**inputs, decoder_input_ids=torch.tensor([begin]))
        attentions = prompted_by_hand.eager(plain, query, begin, DEFAULT).cross_attentions
        rows = torch.stack([a[0, :, -1].mean(0)[prompted_by_hand.CELLS] for a in attentions])
        expected.append((given.logits[0, -1], rows))
    return compared(lambda queries: model.trace(queries, NEED), logits, expected)


def of_matcher(family: str, folder: Path) -> tuple[Figures, Scale]:
    """A family of matchers."""
    tiny_matchers.save(family, folder)
    model, plain = tiny_matchers.load(family, folder), matchers_by_hand.plain(family, folder)
    eager = matchers_by_hand.plain(family, folder, attn_implementation="eager")

    def logits(queries: Sequence[Query]) -> Tensor:
        return model._logs([model.pair(query) for query in queries])

    places = [0, 1, 2] if family == "blip-2" else [0]  # BLIP-2's score is the mean over its queries
    expected: Expected = []
    for query in QUERIES:
        inputs = matchers_by_hand.inputs_of(family, plain[1], query.text, query.image)
        seen = matchers_by_hand.by_hand(family, *eager, query.text, query.image)
        rows = torch.stack([w[0].mean(0)[places].mean(0)[seen.cells] for w in seen.weights])
        expected.append((matchers_by_hand.scored(family, plain[0], inputs), rows))
    return compared(lambda queries: model.trace(queries, NEED), logits, expected)


def figures_of(family: str) -> tuple[Figures, Scale]:
    """A family's figures, and their scale, with the transformers that is installed."""
    measure = of_matcher if family in MATCHERS else of_chat
    if family in FAMILIES and FAMILIES[family].decoder:
        measure = of_prompted
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        return measure(family, Path(folder))


class Measured(NamedTuple):
    """All families with one version of transformers."""

    transformers: str
    torch: str
    families: dict[str, Figures]
    scales: dict[str, Scale]


def measured() -> Measured:
    """With the transformers that is installed; tells each family on the way."""
    torch.set_num_threads(1)  # fastest for models as small as these
    families, scales = {}, {}
    for family, title in TITLES.items():
        families[family], scales[family] = figures_of(family)
        print(title, *(f"{figure:.1e}" for figure in families[family]), file=sys.stderr)
    return Measured(transformers.__version__, torch.__version__, families, scales)


def measured_with(folder: Path) -> Measured:
    """With the packages of a folder, in a process of its own."""
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    given = subprocess.run(
        [sys.executable, "-m", "benchmarks.parity", "--json"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    named, torch_version, families, scales = json.loads(given)
    return Measured(
        named, torch_version,
        {family: Figures(*each) for family, each in families.items()},
        {family: Scale(*each) for family, each in scales.items()},
    )  # fmt: skip


def table_of(columns: Sequence[Measured]) -> str:
    """One row for each family; three figures for each version of transformers."""
    head = ["family"] + [
        f"{name}, {each.transformers}" for name in Figures._fields for each in columns
    ]
    rows = [
        [f"{title} (`{family}`)"]
        + [
            f"{each.families[family][place]:.1e}".replace("0.0e+00", "0")
            for place in range(len(Figures._fields))
            for each in columns
        ]
        for family, title in TITLES.items()
    ]
    limits = ["*limit*"] + [f"*{limit:.0e}*" for limit in LIMITS for _ in columns]
    return table(head, [*rows, limits])


_PAGE = """# Parity with transformers

This page is written by `python -m benchmarks.parity --docs`. For each family of [Hugging Face's models](models.md#families) it says how far audit's figures are from those of plain transformers: the largest difference found over three questions about two pictures of unequal shapes. Models are tiny and have random weights, with the code and the processor of their family; they run on the CPU in float32. Measured with transformers {versions} and torch {torch}.

- **logits**: of what comes after the prompt (of matchers: log-probabilities of no match and match), from transformers called without audit on what its own processor makes of picture and prompt.
- **row**: the answer's row of attention that `answer_attention` is made of, in every layer, from the weights that eager attention returns. Matchers and Florence-2 have theirs in cross-attention or in the pooling head, as [Matchers](models.md#matchers) says. The pooling head of SigLIP returns no weights, so there the formula of attention is written out.
- **batch**: six questions in one batch, shorter texts and smaller pictures padded, from each asked alone: the largest difference in logits, probabilities, cells and image shares.

{table}

For scale: the largest logit of a family is {logits}, and the largest cell of a row {cells}.

The tests of `tests/models/hf` hold the same limits, and also compare words' rows, single heads, rollout, relevance and the probabilities of whole answers with independent computations.
"""


def page_of(columns: Sequence[Measured]) -> str:
    """The whole page."""
    logits, cells = zip(*(scale for each in columns for scale in each.scales.values()), strict=True)
    return _PAGE.format(
        versions=" and ".join(each.transformers for each in columns), torch=columns[0].torch,
        table=table_of(columns), logits=f"{min(logits):.2g} to {max(logits):.2g}",
        cells=f"{min(cells):.2g} to {max(cells):.2g}",
    )  # fmt: skip


def main() -> int:
    """Print a table, or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", action="store_true", help="write docs/parity.md")
    parser.add_argument("--with", type=Path, dest="overlay", metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.json:
        print(json.dumps(measured()))
        return 0
    overlay = given.overlay or (OVERLAY if given.docs else None)
    if overlay and not (overlay / "transformers").is_dir():
        parser.error(f"{overlay} has no transformers; make test-transformers5 makes it")
    columns = [measured(), *([measured_with(overlay)] if overlay else [])]
    print(table_of(columns))
    if given.docs:
        write_atomically(PAGE, page_of(columns).encode())
    over = [
        f"{TITLES[family]}, transformers {each.transformers}: {name} {figure:.1e} > {limit:.0e}"
        for each in columns
        for family, figures in each.families.items()
        for name, figure, limit in zip(Figures._fields, figures, LIMITS, strict=True)
        if not figure <= limit
    ]
    for each in over:
        print(each, file=sys.stderr)
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
