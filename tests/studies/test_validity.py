"""The measurement of maps: its randomisation reaches everything, its verdicts follow its rules."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from audit import load_model
from audit.base.errors import BaselineError, ModelError
from audit.commands import main as cli
from audit.commands.maps import _heads_for_scenes
from audit.maps.reading import MapSpec, read_map
from audit.maps.spec import CONTROLS
from audit.models.kit.randomise import randomise_downwards, stages
from audit.models.protocol import Query
from audit.report.validity_page import style_of, verdicts, write_page
from audit.runs.evidence import gather
from audit.studies.validity.measure import MAPS, Settings, measure
from tests.checkpoints import make_checkpoint
from tests.head_toy import write_heads
from tests.progress import Titles

CHOSEN = "answer_attention heads=L1H1"


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return load_model(str(make_checkpoint(tmp_path / "tiny", seed=3)), device="cpu")


def test_every_parameter_and_statistic_is_in_one_stage_top_first(model: Any) -> None:
    network = model.torch_model
    found = stages(network, model.stages)
    assert [stage.name for stage in found] == [
        "decoder output", "decoder layer 2", "decoder layer 1", "decoder positions",
        "encoder output", "encoder layer 2", "encoder layer 1", "embeddings and ResNet",
    ]  # fmt: skip
    named = {n: v for n, v in [*network.named_parameters(), *network.named_buffers()]
             if v.is_floating_point()}  # fmt: skip
    memory = {value.data_ptr() for value in named.values()}
    held = [value.data_ptr() for stage in found for value in stage.values.values()]
    assert len(held) == len(set(held))
    assert set(held) == memory
    # What peers' randomisation skips, since no module resets it.
    assert any(name.endswith("c_attn") for stage in found for name in stage.values)


def test_randomising_changes_every_tensor_that_is_not_constant_and_only_at_its_stage(
    model: Any,
) -> None:
    network = model.torch_model
    before = {
        name: v.clone() for s in stages(network, model.stages) for name, v in s.values.items()
    }
    order = {s.name: set(s.values) for s in stages(network, model.stages)}
    done: set[str] = set()
    for name in randomise_downwards(network, 0, model.stages):
        done |= order[name]
        now = {n: v for s in stages(network, model.stages) for n, v in s.values.items()}
        for key, value in now.items():
            changed = not torch.equal(value, before[key])
            constant = before[key].numel() == 1 or bool((before[key] == before[key].mean()).all())
            assert changed == (key in done and not constant), key
    assert done == set(before)


def test_a_network_whose_parts_are_not_known_is_randomised_at_once(model: Any) -> None:
    assert list(randomise_downwards(model.torch_model, 0)) == ["all weights"]
    with pytest.raises(ModelError, match="stages say nothing of its weight encoder"):
        stages(model.torch_model, [("decoder", r"decoder\.")])


def test_the_encoders_map_does_not_move_while_only_the_decoder_is_randomised(model: Any) -> None:
    """It did, while the embedding that both share was taken for the decoder's own."""
    query = Query(Image.effect_noise((64, 64), 80).convert("RGB"), "a dog runs")
    spec = MapSpec(method="word_attention", word="dog")
    (trace,) = gather(model, [query], [[spec]], 1)
    intact = read_map(trace, spec)
    for name in randomise_downwards(model.torch_model, 0, model.stages):
        (trace,) = gather(model, [query], [[spec]], 1)
        same = np.allclose(read_map(trace, spec), intact, atol=1e-6)
        assert same == (name.startswith("decoder") or name == "encoder output"), name


@pytest.mark.slow
def test_the_measurement_is_whole_finite_and_written(tmp_path: Path) -> None:
    titles = Titles()
    settings = Settings(
        scenes=3, randomised_scenes=1, absent_scenes=2, curve_scenes=2, steps=1, heads=("L1H1",)
    )
    names = (CHOSEN, *MAPS)
    found = measure("reference", "cpu", settings, titles)
    assert titles == ["place, faithfulness", "entropy", "randomisation"]
    json.dumps(found, allow_nan=False)
    assert tuple(found["maps"]) == names
    for name, row in found["maps"].items():
        assert set(row["differences"]) == set(CONTROLS) - {name}
        if row["figures"]:
            assert {"pointing", "mass", "lift", "rank", "auc"} <= set(row["figures"])
    assert found["maps"]["answer_attention"]["figures"]["mass"]["mean"] > 0.7
    assert found["maps"]["uniform"]["figures"]["lift"]["mean"] == pytest.approx(1.0)
    assert {"deletion_margin", "insertion_margin"} <= set(found["maps"]["occlusion"]["figures"])
    stages_found = found["randomisation"]["stages"]
    assert stages_found[-1] == "embeddings and ResNet"
    for name, values in found["randomisation"]["maps"].items():
        assert len(values) == len(stages_found)
        assert all(-1 <= value <= 1 for value in values), name
    page = tmp_path / "validity.md"
    plot = write_page(page, found)
    with Image.open(plot) as drawn:
        assert drawn.width > 1000
    text = page.read_text()
    assert found["model"]["digest"] in text
    assert all(f"| `{name}` |" in text for name in names)
    assert f"`{CHOSEN}` is the map of the heads that `audit heads` chose" in text
    assert "for the first 2 scenes" in text


def bounds(low: float, high: float = 1.0) -> dict[str, float]:
    return {"mean": (low + high) / 2, "low": low, "high": high}


def measured() -> dict[str, Any]:
    """A map that is good at everything."""
    over = {c: {"pointing": bounds(0.1), "mass": bounds(0.2)} for c in CONTROLS}
    row = {
        "differences": over,
        "figures": {"deletion_margin": bounds(0.01), "insertion_margin": bounds(0.02)},
        "entropy": {"separation": 0.95},
    }
    return {"maps": {"m": row}, "randomisation": {"maps": {"m": [0.9, 0.1]}}}


def test_a_map_that_beats_its_controls_is_trusted_and_each_failure_costs_its_own_use() -> None:
    good = measured()
    assert verdicts("m", good) == dict.fromkeys(
        ("place", "faithful", "sensitive", "dispersion"), True
    )
    for use, (path, value) in {
        "place": (("maps", "m", "differences", "blank", "mass"), bounds(-0.01)),
        "faithful": (("maps", "m", "figures", "deletion_margin"), bounds(0.0)),
        "sensitive": (("randomisation", "maps", "m"), [0.1, -0.6]),
        "dispersion": (("maps", "m", "entropy"), {"separation": 0.89}),
    }.items():
        bad = copy.deepcopy(good)
        place: Any = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        said = verdicts("m", bad)
        assert [name for name, holds in said.items() if not holds] == [use]


@pytest.mark.slow
def test_the_command_prints_json_and_writes_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.studies.validity import measure as module

    tiny = str(make_checkpoint(tmp_path / "tiny", seed=3))

    def few(
        source: str, device: str, settings: Settings, progress: Any, options: dict[str, str]
    ) -> dict[str, Any]:
        assert (source, device, options) == ("reference", "auto", {})
        assert (settings.scenes, settings.processes) == (2, 2)
        small = replace(settings, randomised_scenes=1, steps=1)
        return measure(tiny, device, small, progress, options)

    monkeypatch.setattr(module, "measure", few)
    page = tmp_path / "page.md"
    result = CliRunner().invoke(
        cli.app, ["validity", "--scenes", "2", "--processes", "2", "--out", str(page), "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["page"] == str(page)
    assert page.exists()
    assert page.with_suffix(".png").exists()


@pytest.mark.slow
def test_heads_that_were_chosen_on_the_measured_scenes_are_refused_and_of_other_weights_not_used(
    tmp_path: Path,
) -> None:
    model = str(make_checkpoint(tmp_path / "tiny", seed=3))
    digest = load_model(model, device="cpu").fingerprint.digest
    for seed, weights, expected in (
        (777, digest, None),
        (778, digest, ("L2H1",)),
        (777, "d" * 64, ()),
    ):
        write_heads(tmp_path, model={"digest": weights}, boxes=f"200 drawn scenes, seed {seed}")
        if expected is None:
            with pytest.raises(BaselineError, match="were chosen on the scenes of audit validity"):
                _heads_for_scenes(model, "cpu", tmp_path, {})
        else:
            assert _heads_for_scenes(model, "cpu", tmp_path, {}) == expected


def test_no_two_maps_are_drawn_alike() -> None:
    styles = [style_of(place) for place in range(110)]
    assert len({*styles}) == 110
    assert len({each.colour for each in styles[:10]}) == 10
    assert len({each.marker for each in styles[:10]}) == 10
