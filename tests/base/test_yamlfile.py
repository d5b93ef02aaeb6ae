"""YAML is read alike, values and places, by the parser in C and the one in Python."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from audit.base import yamlfile

_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.none() | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXTS.filter(bool), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_VALUES, st.booleans())
def test_both_parsers_read_the_same_values_at_the_same_places(value: object, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    python, native = (
        yamlfile._parsed(Path("x.yaml"), text, loader)
        for loader in (yamlfile._Loader, yamlfile._FastLoader)
    )
    assert native == python


def test_the_shipped_case_files_have_the_same_places_in_both_parsers() -> None:
    for path in (Path(__file__).parents[2] / "cases").glob("*.yaml"):
        text = path.read_text()
        native = yamlfile._parsed(path, text, yamlfile._FastLoader)
        assert native == yamlfile._parsed(path, text, yamlfile._Loader)
