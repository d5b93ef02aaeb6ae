"""Lists harmless changes, which must pass the gate."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from audit.base.files import counted
from audit.cases.loading import Case
from audit.models.kit.altering import Plant
from audit.models.kit.spoiling import spoiled
from audit.studies.power import copies
from audit.studies.power.changes import Change, Session, Setting, as_is
from audit.studies.power.copies import Redraw, saved

Product = Callable[[Tensor, Tensor], Tensor]
"""Multiplies an input, (..., columns), with a matrix of weights, (rows, columns)."""


def harmless() -> list[Change]:
    """Every harmless change."""
    return [*_in_process(), *_of_sums(), *_on_disk(), *_by_pytest()]


def _change(name: str, about: str, setting: Setting, plant: Plant = as_is) -> Change:
    return Change(name, "harmless", about, plant, setting)


def _backwards(cases: Sequence[Case]) -> list[Case]:
    return list(cases)[::-1]


def _shuffled(seed: int) -> Callable[[Sequence[Case]], list[Case]]:
    return lambda cases: random.Random(seed).sample(list(cases), len(cases))


def _in_process() -> list[Change]:
    """Other batches, threads, orders, engines, precisions, and files of weights."""
    return [
        _change("again", "the same once more", Setting()),
        _change("all-at-once", "all cases in one batch", Setting(batch_size=0)),
        *(_change(f"batch-{n}", f"batches of {n}", Setting(batch_size=n)) for n in (1, 2, 5, 16)),
        *(_change(f"threads-{n}", counted(n, "thread"), Setting(threads=n)) for n in (1, 2, 3)),
        _change("reversed", "cases in reverse order", Setting(order=_backwards)),
        *(_change(f"order-{n}", f"cases in random order, seed {n}", Setting(order=_shuffled(n)))
          for n in (1, 2)),
        _change("fast", "the engine fast", Setting(engine="fast")),
        _change("fast-1", "the engine fast, batches of 1", Setting(engine="fast", batch_size=1)),
        _change("fast-reversed", "the engine fast, reverse order, one thread",
                Setting(engine="fast", threads=1, order=_backwards)),
        _change("copied", "the checkpoint in another folder", Setting(rewrite=copies.copied)),
        _change("saved-again", "weights saved again", Setting(rewrite=copies.saved_again)),
        _change("safetensors", "weights as safetensors", Setting(rewrite=copies.as_safetensors)),
        _change("two-files", "weights in two files", Setting(rewrite=copies.in_two_files)),
        _change("seeds", "random generators in another state", Setting(around=_other_seeds)),
        *(_change(f"bfloat16-{n}", f"bfloat16 against bfloat16, batches of {n}",
                  Setting("bfloat16", batch_size=n)) for n in (1, 2)),
        _change("bfloat16-reversed", "bfloat16 against bfloat16, reverse order, one thread",
                Setting("bfloat16", 1, 5, _backwards)),
    ]  # fmt: skip


@contextmanager
def _other_seeds() -> Iterator[None]:
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        np.random.seed(123)
        yield
    np.random.set_state(state)


def _of_sums() -> list[Change]:
    """The same sums in another order, as another library of linear algebra has them."""
    return [
        _change("sums-halves", "products of matrices summed in two halves", Setting(),
                _multiplied(_in_halves)),
        _change("sums-backwards", "products of matrices summed backwards", Setting(),
                _multiplied(_from_the_end)),
        _change("without-onednn", "torch without oneDNN", Setting(around=_without_onednn)),
    ]  # fmt: skip


@contextmanager
def _without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that its precision is of Intel's GPUs alone
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _multiplied(product: Product) -> Plant:
    """All linear layers multiply with ``product``."""

    def forward(layer: nn.Linear, given: Tensor) -> Tensor:
        found = product(given, layer.weight)
        return found if layer.bias is None else found + layer.bias

    def spoil(network: nn.Module, _: int) -> None:
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.forward = partial(forward, layer)  # type: ignore[method-assign]

    return spoiled(spoil)


def _in_halves(given: Tensor, weight: Tensor) -> Tensor:
    middle = weight.shape[1] // 2
    first = given[..., :middle] @ weight[:, :middle].T
    return first + given[..., middle:] @ weight[:, middle:].T


def _from_the_end(given: Tensor, weight: Tensor) -> Tensor:
    return given.flip(-1) @ weight.flip(-1).T


def _on_disk() -> list[Change]:
    """Pictures written to disk in another way, and audited by pytest."""
    found: list[tuple[str, str, Redraw]] = [
        ("png-0", "PNG without compression", saved(".png", compress_level=0)),
        ("png-9", "PNG with the highest compression", saved(".png", optimize=True)),
        ("bmp", "BMP", saved(".bmp")),
        ("tiff", "TIFF", saved(".tiff")),
        ("tiff-deflate", "TIFF in deflate", saved(".tiff", compression="tiff_adobe_deflate")),
        ("tiff-lzw", "TIFF in LZW", saved(".tiff", compression="tiff_lzw")),
        ("webp", "lossless WebP", saved(".webp", lossless=True)),
        ("opaque-png", "PNG with an opaque alpha channel", saved(".png", "RGBA")),
        ("opaque-tiff", "TIFF with an opaque alpha channel", saved(".tiff", "RGBA")),
        ("metadata", "PNG with a text, EXIF data and a resolution", copies.with_metadata),
        ("on-its-side", "PNG stored on its side, with EXIF data that turn it back",
         copies.on_its_side),
    ]  # fmt: skip
    return [
        _change(name, f"pictures as {about}, by pytest", Setting(session=Session(redraw=redraw)))
        for name, about, redraw in found
    ]


def _by_pytest() -> list[Change]:
    """Sessions as users and pipelines start them, and on processors that can do less."""
    two = ("-n", "2")
    engine = "reference"
    with_engine = Setting(engine=engine, session=Session(("--audit-engine", engine)))
    found = [
        ("pytest", "pytest, with pictures under other names", Session()),
        ("xdist", "pytest -n 2", Session(two)),
        ("xdist-files", "pytest -n 2 --dist loadfile", Session((*two, "--dist", "loadfile"))),
        ("xdist-webp", "pytest -n 2, pictures as lossless WebP",
         Session(two, redraw=saved(".webp", lossless=True))),
    ]  # fmt: skip
    for name, variable, value in (
        ("openmp-1", "OMP_NUM_THREADS", "1"),
        ("aten-default", "ATEN_CPU_CAPABILITY", "default"),
        ("aten-avx2", "ATEN_CPU_CAPABILITY", "avx2"),
        ("onednn-sse41", "ONEDNN_MAX_CPU_ISA", "SSE41"),
        ("onednn-avx2", "ONEDNN_MAX_CPU_ISA", "AVX2"),
        ("mkl-compatible", "MKL_CBWR", "COMPATIBLE"),
    ):
        session = Session(environment={variable: value})
        found.append((name, f"pytest with {variable}={value}", session))
    return [
        *(_change(name, about, Setting(session=session)) for name, about, session in found),
        _change("pytest-reference", f"pytest with the engine {engine}", with_engine),
    ]
