"""These tests run with both versions of transformers; with which one, the environment says."""

from __future__ import annotations

import os
from importlib import metadata

import transformers


def test_transformers_is_the_version_that_is_to_be_tested() -> None:
    wanted = os.environ.get("AUDIT_TRANSFORMERS", "4")  # make test-transformers5 sets it
    assert transformers.__version__.partition(".")[0] == wanted
    assert metadata.version("transformers") == transformers.__version__
