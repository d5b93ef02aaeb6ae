"""One tiny checkpoint of each family, and the models that are loaded from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit.models.hf.adapter import ChatModel
from audit.models.hf.sources import found
from audit.models.kit.quiet import quiet
from tests import tiny_chat, tiny_matchers


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny checkpoint, made when it is first needed."""
    root = tmp_path_factory.mktemp("chat")
    return cache(lambda family: tiny_chat.save(family, root / family))


@pytest.fixture(scope="session")
def model_of(folder_of: Callable[[str], Path]) -> Callable[[str], ChatModel]:
    """The adapter of a family's tiny model."""
    return cache(lambda family: ChatModel(found(f"hf:{folder_of(family)}"), device="cpu"))


@pytest.fixture(scope="session")
def plain_of(folder_of: Callable[[str], Path]) -> Callable[[str], tuple[Any, Any]]:
    """The same as transformers loads it, without audit: network and processor."""

    @cache
    def plain(family: str) -> tuple[Any, Any]:
        with quiet():
            network = AutoModelForImageTextToText.from_pretrained(folder_of(family))
            return network.eval(), AutoProcessor.from_pretrained(folder_of(family))

    return plain


@pytest.fixture(params=tiny_chat.MAKERS)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.fixture
def model(family: str, model_of: Callable[[str], ChatModel]) -> ChatModel:
    return model_of(family)


@pytest.fixture
def plain(family: str, plain_of: Callable[[str], tuple[Any, Any]]) -> tuple[Any, Any]:
    return plain_of(family)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where checkpoints are that no test spoils."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a family's checkpoint that a test may spoil."""

    def copied(family: str) -> Path:
        if not (made / family).is_dir():
            maker = tiny_chat if family in tiny_chat.MAKERS else tiny_matchers
            maker.save(family, made / family)
        return shutil.copytree(made / family, tmp_path / family)

    return copied
