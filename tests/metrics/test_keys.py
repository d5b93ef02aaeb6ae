"""Names of figures: what is written is read again, and what names no figure is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from audit.base.errors import FigureError
from audit.cases.schema import Region
from audit.maps.keys import method_of
from audit.maps.spec import MapSpec
from audit.metrics.keys import FigureKey, Option, canonical_name
from audit.metrics.registry import METRICS

SHIPPED = Path(__file__).parents[2] / "baselines" / "reference"


def is_region(name: str) -> bool:
    try:
        TypeAdapter(Region).validate_python(name)
    except ValidationError:
        return False
    return True


# Letters, marks and digits of every script, and every other character that a name may have.
regions = st.text(
    st.characters(categories=["L", "M", "N"]) | st.sampled_from(" _-.,:'’&+/()"), min_size=1
).filter(is_region)
words = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" ()'\"[]=\\"), min_size=1
)
maps = st.sampled_from(
    [
        "rollout",
        "answer_attention layers=last:2 heads=1,3",
        "relevance variant=paper smooth=0.5",
    ]
) | words.map(lambda word: MapSpec.model_construct(method="word_attention", word=word).key)
thresholds = st.sampled_from(["quantile", "max_share", "mass"]).flatmap(
    lambda rule: st.floats(0.001, 0.999).map(lambda value: f"{rule}:{value}")
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "tolerance": st.integers(0, 500),
    "threshold": thresholds,
    "share": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "against": maps,
}


@st.composite
def figures(draw: st.DrawFn) -> FigureKey:
    metric = draw(st.sampled_from(list(METRICS)))
    row = METRICS[metric]
    options = {name: draw(VALUES[name]) for name in row.options if draw(st.booleans())}
    region = draw(regions) if row.kind == "region" else None
    return FigureKey.of(metric, region, options).of_map(draw(st.just("") | maps))


@given(figures())
def test_every_name_that_is_written_is_read_as_the_figure_it_was_written_for(
    key: FigureKey,
) -> None:
    assert FigureKey.parse(str(key)) == key


@given(st.text(), figures())
def test_whatever_a_name_is_it_is_read_exactly_or_refused(noise: str, key: FigureKey) -> None:
    written = str(key)
    for text in (noise, written + noise, noise + written, written[:-1], written[1:]):
        known = FigureKey.known(text)
        if known is None:
            with pytest.raises(FigureError, match="names no figure") as error:
                FigureKey.parse(text)
            assert str(error.value).isprintable()
        else:
            assert known == FigureKey.parse(text)
            assert str(known) == text


@pytest.mark.parametrize(
    ("metric", "region", "options", "map_key", "name"),
    [
        ("mass", "birds", {}, "", "mass[birds]"),
        ("mass", "two birds", {}, "", "mass[two birds]"),
        ("mass", "two birds (left)", {}, "rollout", "mass[two birds (left)] (rollout)"),
        ("entropy", None, {}, "", "entropy"),
        ("entropy", None, {}, "relevance variant=paper", "entropy (relevance variant=paper)"),
        ("pointing", "birds", {"tolerance": 1}, "", "pointing[birds] tolerance=1"),
        ("pointing", "birds", {"tolerance": 0}, "", "pointing[birds]"),
        ("iou", "birds", {"threshold": "mass:0.5"}, "", "iou[birds] threshold=mass:0.5"),
        ("iou", "birds", {"threshold": "max_share:0.5"}, "", "iou[birds]"),
        ("focus_area", None, {"share": 0.8}, "", "focus_area share=0.8"),
        ("focus_area", None, {"share": 0.8}, "rollout", "focus_area share=0.8 (rollout)"),
        ("js", None, {"against": "blank layers=last:2"}, "", "js against=(blank layers=last:2)"),
        ("js", None, {"against": "blank"}, "rollout", "js against=(blank) (rollout)"),
    ],
)
def test_a_name_holds_what_differs_from_the_default_and_leads_to_its_row(
    metric: str, region: str | None, options: dict[str, Option], map_key: str, name: str
) -> None:
    key = FigureKey.of(metric, region, options).of_map(map_key)
    assert str(key) == name
    assert FigureKey.parse(name) == key
    assert key.row is METRICS[metric]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mas[birds]", "'mas[birds]' names no figure: 'mas' is not a metric; did you mean 'mass'?"),
        ("entrpy (rollout)", "'entrpy' is not a metric; did you mean 'entropy'?"),
        ("", "'' names no figure: a name is like pointing[birds] tolerance=1"),
        ("mass[birds", "'mass[birds' names no figure: a name is like"),
        ("mass[a][b]", "a name is like"),
        ("entropy ", "a name is like"),
        ("entropy (rollout) (rollout)", "a name is like"),
        ("entropy\x1b[2J", r"'entropy\x1b[2J' names no figure: a name is like"),
        ("mass", "the metric 'mass' needs a region: mass[REGION]"),
        ("entropy[birds]", "the metric 'entropy' takes no region"),
        ("mass[birds] share=0.8", "'mass' takes no option 'share'; it takes none"),
        ("focus_area shore=0.8", "'focus_area' takes no option 'shore'; it takes share"),
        ("focus_area share=most", "share needs a number, but has 'most'"),
        ("pointing[birds] tolerance=0.5", "tolerance needs a number, but has '0.5'"),
        ("pointing[birds] tolerance=0", "write it as 'pointing[birds]'"),
        ("pointing[birds] tolerance=01", "write it as 'pointing[birds] tolerance=1'"),
        ("pointing[birds] tolerance=1 tolerance=2", "write it as 'pointing[birds] tolerance=2'"),
        ("js against=blank", "write it as 'js against=(blank)'"),
        ("mass[birds] tolerance=" + "9" * 5000, "needs a number"),
        ("mass" + "x" * 100_000, "is not a metric; choose from: area_above,"),
    ],
)  # fmt: skip
def test_what_names_no_figure_is_told_with_what_is_wrong(name: str, said: str) -> None:
    with pytest.raises(FigureError) as error:
        FigureKey.parse(name)
    assert said in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("name", "today"),
    [
        ("js against=(encoder_attention word='two birds')",
         "js against=(word_attention word='two birds')"),
        ("js against=(blank) (cross_attention layers=last)",
         "js against=(blank) (answer_attention layers=last)"),
        ("mass[cross_attention]", "mass[cross_attention]"),
        ("label", "label"),
        ("probability of cross_attention", "probability of cross_attention"),
        ("js against=(encoder_attention", "js against=(encoder_attention"),
    ],
)  # fmt: skip
def test_a_name_of_an_earlier_version_is_read_with_the_maps_as_they_are_spelled_today(
    name: str, today: str
) -> None:
    assert canonical_name(name) == today


def test_every_figure_of_the_shipped_baselines_is_known() -> None:
    names = {
        name
        for path in SHIPPED.glob("*.json")
        for by_map in json.loads(path.read_text())["figures"].values()
        for name in by_map
    }
    assert len(names) > 50
    for name in names:
        assert str(FigureKey.parse(name)) == name


@given(maps)
def test_the_method_is_the_first_word_of_a_maps_key(key: str) -> None:
    assert method_of(key) in ("rollout", "answer_attention", "relevance", "word_attention")
