"""A model that does not say properly what it is, is refused when it is taken into use."""

from __future__ import annotations

from typing import Any

import pytest

from audit.base.errors import ModelError
from audit.models.registry import checked_model
from tests.toy_model import ToyModel


def toy(**parts: Any) -> Any:
    """The toy with other parts."""
    return type("Other", (ToyModel,), parts)()


@pytest.mark.parametrize("parts", [{}, {"methods": ()}, {"labels": ("match",)}])
def test_a_model_that_says_what_it_is_is_taken(parts: dict[str, Any]) -> None:
    model = toy(**parts)
    assert checked_model(model) is model


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"labels": ("no", "yes", "yes")}, "labels has 'yes' twice"),
        ({"labels": ()}, "it has no labels"),
        ({"labels": ["no", "yes"]}, "labels must be a tuple of texts"),
        ({"labels": ("no", 1)}, "labels must be a tuple of texts"),
        ({"methods": "rollout"}, "methods must be a tuple of texts"),
        ({"methods": ("rollout", "rollout")}, "methods has 'rollout' twice"),
        ({"methods": ("answer_attention", "gaze")}, r"methods has 'gaze'; .*answer_attention"),
        ({"methods": ("rolout",)}, "methods has 'rolout'; did you mean 'rollout'"),
        ({"methods": ("occlusion",)}, "methods has 'occlusion'"),
    ],
)
def test_labels_and_methods_that_cannot_be_right_are_refused_with_the_name_of_the_model(
    parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=f"^the model 'toy' cannot be used: {said}") as caught:
        checked_model(toy(**parts))
    assert "\n" not in str(caught.value)


def test_a_loader_that_gives_nothing_or_something_else_is_told() -> None:
    nothing: Any = None
    with pytest.raises(ModelError, match="of the type NoneType, which is no model: it has no lab"):
        checked_model(nothing)
