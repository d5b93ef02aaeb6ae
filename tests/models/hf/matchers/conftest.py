"""One tiny matcher of each family, and the models that are loaded from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from audit.models.hf.matching import MatchingModel
from tests import matchers_by_hand, tiny_matchers


@pytest.fixture(scope="session")
def matcher_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny checkpoint, made when it is first needed."""
    root = tmp_path_factory.mktemp("matchers")
    return cache(lambda family: tiny_matchers.save(family, root / family))


@pytest.fixture(scope="session")
def matcher(matcher_folder: Callable[[str], Path]) -> Callable[[str], MatchingModel]:
    """The adapter of a family's tiny matcher."""
    return cache(lambda family: tiny_matchers.load(family, matcher_folder(family)))


@pytest.fixture(scope="session")
def plain_matcher(matcher_folder: Callable[[str], Path]) -> Callable[[str], tuple[Any, Any]]:
    """The same by plain transformers with eager attention: network and processor."""
    return cache(
        lambda family: matchers_by_hand.plain(
            family, matcher_folder(family), attn_implementation="eager"
        )
    )


@pytest.fixture(scope="session")
def prompted_folder(matcher_folder: Callable[[str], Path]) -> Path:
    """The folder of a tiny Florence-2."""
    return matcher_folder("florence2")
