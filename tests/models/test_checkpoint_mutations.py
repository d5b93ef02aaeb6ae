"""Whatever becomes of a checkpoint folder, loading it ends: in a model, or in one clear error."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from audit import load_model
from audit.base.errors import AuditError
from audit.models.protocol import Query
from tests.checkpoints import make_checkpoint
from tests.mutations import mutate

MUTATIONS = 40


class Hang(BaseException):
    """Not an Exception, so that nothing takes it for a failure of its own."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
def test_a_damaged_folder_is_refused_in_one_message_or_its_model_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = make_checkpoint(tmp_path / "whole")
    query = Query(Image.new("RGB", (80, 60), "red"), "a dog runs")
    capfd.readouterr()
    refused = 0
    for seed in range(MUTATIONS):
        folder = shutil.copytree(whole, tmp_path / str(seed))
        done, said, loaded = mutate(folder, seed), "", False
        try:
            with at_most(10):
                model = load_model(str(folder), device="cpu")
                loaded = True
                (trace,) = model.trace([query])
        except AuditError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(done) from error
        if said:
            assert loaded or str(folder) in said, done
            assert len(said.splitlines()) == 1, done
            refused += 1
        else:
            assert math.isclose(sum(trace.probabilities.values()), 1, abs_tol=1e-4), done
        assert capfd.readouterr() == ("", ""), done
        shutil.rmtree(folder)
    assert MUTATIONS // 3 < refused < MUTATIONS
