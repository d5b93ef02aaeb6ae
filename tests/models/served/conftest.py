"""One server of one tiny chat model, and the adapters that ask it and load it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from audit.models.hf.adapter import ChatModel
from audit.models.hf.sources import found
from audit.models.kit.asking import Asking
from audit.models.served.adapter import ServedModel
from audit.models.served.address import key_for, parsed
from audit.models.served.wire import Limits
from tests import tiny_chat
from tests.chat_server import ChatServer, serving

SHORT = Asking(answers={"yes": ["Yes", "yes"], "no": ["No", "no"]})
"""Answers of one token each to the tiny model."""

QUICK = Limits(tries=4, pause=0.01, answer=20.0)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose first token of an answer is a character, which can be sent back to it."""
    return tiny_chat.save("qwen2_5_vl", tmp_path_factory.mktemp("served") / "tiny", seed=4)


@pytest.fixture(scope="session")
def running(checkpoint: Path) -> Iterator[ChatServer]:
    with serving(checkpoint) as server:
        yield server


@pytest.fixture
def server(running: ChatServer, monkeypatch: pytest.MonkeyPatch) -> ChatServer:
    """The server, which behaves until it is told otherwise."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    running.reset()
    return running


Reach = Callable[..., ServedModel]


@pytest.fixture
def reach(server: ChatServer) -> Reach:
    """Makes the adapter of the served model."""

    def reach(
        asking: Asking = SHORT, *, requests: int = 2, limits: Limits = QUICK, key: str = ""
    ) -> ServedModel:
        address = parsed(server.source)
        return ServedModel(address, key_for(address, key), asking, requests, limits)

    return reach


@pytest.fixture
def load(checkpoint: Path) -> Callable[[Asking], ChatModel]:
    """Loads the same checkpoint by the adapter for transformers."""
    return lambda asking: ChatModel(
        found(f"hf:{checkpoint}"), device="cpu", threads=1, asking=asking
    )
