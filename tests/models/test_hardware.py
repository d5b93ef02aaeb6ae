"""Devices are shared out, and batches shrink until memory suffices, without losing a case."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.base.errors import ModelError
from audit.models.kit.hardware import Halving, gains_by_fusion, share_cores, spread, threads_set

CPU = torch.device("cpu")


class Small:
    """Answers batches of up to ``holds`` items, and is out of memory for more."""

    def __init__(self, holds: int, error: Exception | None = None) -> None:
        self.holds, self.asked = holds, list[int]()
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.asked.append(len(batch))
        if len(batch) > self.holds:
            raise self.error
        return [item * 2 for item in batch]


@given(st.integers(0, 40), st.integers(1, 50))
def test_every_item_is_answered_once_and_in_order_however_little_fits(
    items: int, holds: int
) -> None:
    small = Small(holds)
    assert Halving(CPU).run(range(items), small) == [item * 2 for item in range(items)]


def test_batches_stay_as_small_as_they_had_to_become() -> None:
    halving, small = Halving(CPU), Small(3)
    halving.run(range(16), small)
    assert small.asked == [16, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    small.asked.clear()
    halving.run(range(6), small)
    assert small.asked == [2, 2, 2]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_way_of_running_out_of_memory_halves(error: Exception) -> None:
    assert Halving(CPU).run([1, 2, 3], Small(1, error)) == [2, 4, 6]


def test_a_single_case_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="cpu does not have enough memory for a single case: use"):
        Halving(CPU).run([1, 2], Small(0))


def test_other_errors_of_the_model_are_not_mistaken_for_lack_of_memory() -> None:
    small = Small(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        Halving(CPU).run([1, 2], small)
    assert small.asked == [2]


def test_what_a_failed_batch_had_allocated_is_free_before_the_next_is_tried() -> None:
    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

    def answer(batch: Sequence[int]) -> list[int]:
        assert Held.alive == 0
        held = Held()
        if len(batch) > 1:
            raise MemoryError
        del held
        return list(batch)

    assert Halving(CPU).run([1, 2, 3, 4], answer) == [1, 2, 3, 4]


def test_workers_take_gpus_in_turn_where_the_choice_is_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [spread("auto", worker) for worker in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [spread("cuda", worker) for worker in range(2)] == ["cuda:0", "cuda:1"]
    assert spread("cuda:1", 0) == "cuda:1"
    assert spread("cpu", 1) == "cpu"


def test_workers_share_the_cores_unless_the_user_has_shared_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with threads_set(2):
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        share_cores(2)
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        share_cores(2)
        assert torch.get_num_threads() == 1
        share_cores(4)
        assert torch.get_num_threads() == 1


def test_workers_without_a_gpu_run_on_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [spread(name, 1) for name in ("auto", "cuda", "cpu")] == ["auto", "cuda", "cpu"]


def test_fused_attention_is_left_alone_where_torch_is_held_to_fewer_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_tile": True})
    for held, gains in (("AVX512", True), ("AVX2", False), ("DEFAULT", False), ("NO AVX", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda held=held: held)
        assert gains_by_fusion(CPU) is gains


def test_torchs_word_about_packing_becomes_one_that_helps() -> None:
    error = RuntimeError("pack_vnni2 is only supported when avx512 is supported")
    with pytest.raises(ModelError, match="ATEN_CPU_CAPABILITY holds torch to less: unset it"):
        Halving(CPU).run([1], Small(0, error))


_HALF = """
from audit import load_model
from PIL import Image
from audit.models.protocol import Query
query = Query(Image.new("RGB", (80, 80), "red"), "there is a bird")
for engine in ("fast", "reference"):
    print(load_model("reference", "cpu", "bfloat16", engine=engine).trace([query])[0].label)
"""


@pytest.mark.slow
@pytest.mark.parametrize("held", ["default", "avx2"])
def test_bfloat16_is_answered_with_fewer_instructions(held: str) -> None:
    env = {**os.environ, "ATEN_CPU_CAPABILITY": held}
    done = subprocess.run(
        [sys.executable, "-c", _HALF], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"yes", "no", "maybe"}
