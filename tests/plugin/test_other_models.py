"""Models that other packages bring are audited as any other, and asked only for maps they give."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.packages import TOY, install

ROOT = Path(__file__).parents[2]

MAPS = """\
defaults: {map: {method: rollout}}
cases:
  - id: default
    image: images/a.png
    text: there are two birds
    expect: {label: yes}
  - id: own
    image: images/a.png
    text: there are two birds
    map:
      method: encoder_attention
      word: birds
    expect:
      label: yes
      attention:
        - {metric: entropy, map: {method: blank}, max: 1}
        - {metric: js, against: {method: relevance}, max: 1}
"""


@pytest.fixture
def toys(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """The project without its toy; the package that is installed beside it brings one."""
    project.makeconftest("")
    unknown = TOY.replace("Known(ToyModel.labels, ToyModel.methods)", "Known()")
    install(
        tmp_path / "installed", "toy-audit", {"toy": "toy_audit", "vague": "vague_audit"},
        toy_audit=TOY, vague_audit=unknown.replace('"toy:"', '"vague:"'),
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    return project  # its sessions forget the modules that they imported


def test_a_model_of_another_package_is_audited(toys: pytest.Pytester) -> None:
    toys.runpytest("cases", "--audit-model", "toy:x", "--audit-update=new").assert_outcomes(
        passed=3
    )
    result = toys.runpytest("cases", "--audit-model", "toy:x")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["audit: model toy, revision r1, *"])


def test_an_engine_is_only_for_models_that_have_one(toys: pytest.Pytester) -> None:
    result = toys.runpytest("cases", "--audit-model", "toy:x", "--audit-engine", "fast")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--audit-engine: 'fast' is not for toy:x, a kind of model that has no engines"]
    )


def test_a_map_that_the_model_does_not_give_is_refused_at_collection(
    toys: pytest.Pytester,
) -> None:
    (toys.path / "cases" / "maps.yaml").write_text(MAPS)
    result = toys.runpytest("cases", "--audit-model", "toy:x", "--collect-only")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    known = "choose from: answer_attention, blank, centre, occlusion, random, uniform"
    result.stdout.fnmatch_lines(
        [
            f"*maps.yaml:1:26: defaults.map.method: the model gives no map 'rollout'; {known}. "
            "Without map, each model is measured by its own default",
            "*maps.yaml:11:15: map.method: the model gives no map 'word_attention'; "
            "did you mean 'answer_attention'?",
            f"*maps.yaml:17:42: expect.attention[[]1[]].against.method: *'relevance'; {known}",
        ]
    )
    assert "blank'" not in result.stdout.str()


def test_where_the_methods_are_unknown_before_loading_they_are_checked_right_after(
    toys: pytest.Pytester,
) -> None:
    (toys.path / "cases" / "maps.yaml").write_text(MAPS)
    toys.runpytest("cases", "--audit-model", "vague:x", "--collect-only").assert_outcomes()
    result = toys.runpytest("cases", "--audit-model", "vague:x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*maps.yaml:1:26: defaults.map.method: the model gives no map *"])
    toys.runpytest("cases/birds.yaml", "--audit-model", "vague:x").assert_outcomes(failed=2)


def test_a_broken_package_is_one_line_and_other_models_are_audited(
    toys: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = install(
        tmp_path / "broken", "bad-audit", {"bad": "bad_audit"}, bad_audit="import nothing_like_it"
    )
    monkeypatch.syspath_prepend(str(broken))
    result = toys.runpytest("cases", "--audit-model", "bad:x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*the model 'bad' of bad-audit 1.5 cannot be used: * No module named 'nothing_like_it'"]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    toys.runpytest("cases", "--audit-model", "toy:x", "--audit-update=new").assert_outcomes(
        passed=3
    )


def test_a_near_miss_of_a_scheme_names_it(toys: pytest.Pytester) -> None:
    result = toys.runpytest("cases", "--audit-model", "tooy:x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*tooy:x: no such checkpoint folder; did you mean 'toy:x'?*"])


def test_a_folder_of_a_schemes_name_is_given_by_its_path(toys: pytest.Pytester) -> None:
    (toys.path / "toy:x").mkdir()
    toys.runpytest("cases", "--audit-model", "toy:x", "--audit-update=new").assert_outcomes(
        passed=3
    )
    result = toys.runpytest("cases", "--audit-model", "./toy:x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*toy:x: not a ModelScope checkpoint, *"])


@pytest.mark.slow
def test_workers_find_a_model_of_another_package_too(
    toys: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.pathsep.join([str(tmp_path / "installed"), str(ROOT)])
    monkeypatch.setenv("PYTHONPATH", path)
    result = toys.runpytest_subprocess(
        "cases", "--audit-model", "toy:x", "--audit-update=new", "-n1"
    )
    result.assert_outcomes(passed=3)
