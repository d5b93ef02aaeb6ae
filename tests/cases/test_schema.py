"""The JSON schema of case files says what the loader does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from audit.cases.schema import schema
from audit.metrics.registry import METRICS
from tests.case_files import OPTIONS, PLAIN, load, problems


def test_the_schema_describes_every_key() -> None:
    whole = schema()
    for name, definition in {**whole["$defs"], "file": whole}.items():
        for key, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"


@pytest.mark.parametrize("text", [PLAIN, OPTIONS])
def test_the_schema_is_valid_and_accepts_what_loads(text: str) -> None:
    Draft202012Validator.check_schema(schema())
    written = yaml.safe_load(text.replace("label: yes", "label: 'yes'"))
    assert list(Draft202012Validator(schema()).iter_errors(written)) == []


@pytest.mark.parametrize(
    ("expectation", "valid"),
    [
        ({"metric": "mass", "region": "a"}, True),
        ({"metric": "mas", "region": "a"}, False),
        ({"metric": "mass"}, False),
        ({"metric": "entropy", "region": "a"}, False),
        ({"metric": "entropy", "tolerance": 1}, False),
        ({"metric": "pointing", "region": "a", "tolerance": 1}, True),
        ({"metric": "pointing", "region": "a", "tolerance": -1}, False),
        ({"metric": "iou", "region": "a", "threshold": "quantile:0.9"}, True),
        ({"metric": "iou", "region": "a", "threshold": "quantile:1.0"}, False),
        ({"metric": "focus_area", "share": 0.8}, True),
        ({"metric": "focus_area", "share": 1}, False),
        ({"metric": "js"}, False),
        ({"metric": "js", "against": {"method": "blank"}}, True),
        ({"metric": "mass", "region": "a", "against": {"method": "blank"}}, False),
    ],
)
def test_the_schema_knows_what_each_metric_takes_as_the_loader_does(
    folder: Path, expectation: dict, valid: bool
) -> None:
    case = {
        "id": "a",
        "image": "a.png",
        "text": "birds",
        "regions": {"a": [[1, 1, 9, 9]]},
        "expect": {"label": "yes", "attention": [{"min": 0.5, **expectation}]},
    }
    assert Draft202012Validator(schema()).is_valid({"cases": [case]}) == valid
    if valid:
        load(folder, yaml.safe_dump({"cases": [case]}))
    else:
        assert problems(folder, yaml.safe_dump({"cases": [case]}))


def test_the_schema_says_of_each_metric_what_the_registry_says() -> None:
    choices = schema()["$defs"]["AttentionExpectation"]["properties"]["metric"]["oneOf"]
    told = {choice["const"]: choice["description"] for choice in choices}
    assert set(told) == set(METRICS)
    assert told["auc"].endswith(
        "0 to 1; better: higher; of a uniform map: 0.5; undefined when: the region is empty or "
        "covers the whole picture."
    )
