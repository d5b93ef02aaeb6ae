"""Every map against every control, on scenes of the reference model's world with true boxes.

Three questions to a map. *Place*: does it lie where the named things are, more than the controls
do? *Faithfulness*: does the answer depend on the cells that it marks, more than on random ones
(Petsiuk, Das & Saenko 2018)? *Sensitivity*: does it change when the weights are randomised from
the top (Adebayo et al. 2018)? And one to its entropy: does it tell a picture without the named
animal from one with it?
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.distances import spearman
from audit.errors import Undefined
from audit.evidence import Curves, curves, gather
from audit.geometry import Box, mask
from audit.maps import Map, UndefinedMap, read_map
from audit.mapspec import CONTROLS, RANDOM, MapSpec
from audit.metrics import deletion_margin, insertion_margin
from audit.models.base import Model, Query
from audit.models.ofa import OFAVisualEntailment
from audit.models.randomise import randomise_downwards
from audit.models.randomise import stages as all_stages
from audit.placement import auc, lift, mass, pointing, rank
from audit.reference.hypotheses import Hypothesis, hypothesis, word_boxes
from audit.reference.scenes import SIZE, Scene, scene
from audit.shape import entropy
from audit.statistics import Interval, mean_interval, separation
from audit.trace import Trace

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]

MAPS = (
    "cross_attention",
    "cross_attention subtract=blank",
    "encoder_attention word=NOUN",
    "rollout",
    "rollout residual=0.5",
    "relevance",
    "relevance variant=paper",
    "occlusion",
    *CONTROLS,
)
"""What is measured; NOUN stands for the noun of each hypothesis."""

FIGURES: dict[str, Callable[[Map, NDArray[np.float64]], float]] = {
    "pointing": pointing,
    "mass": mass,
    "lift": lift,
    "rank": rank,
    "auc": auc,
}


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        scenes: scenes of the held-out seed with an entailed hypothesis each.
        randomised_scenes: how many of them for the randomisation test.
        absent_scenes: hypotheses about an absent animal, for the entropy.
        seed: of the scenes; held out, so not the one that trained the model.
        steps: of the deletion and insertion curves, each a pass; fewer than a case's, for time.
    """

    scenes: int = 300
    randomised_scenes: int = 40
    absent_scenes: int = 300
    seed: int = 777
    batch_size: int = 8
    steps: int = 15


@dataclass(frozen=True)
class _Asked:
    """A hypothesis about a scene and the specs of all maps for it, by the name in ``MAPS``."""

    query: Query
    said: Hypothesis
    specs: dict[str, MapSpec]


def measure(
    load: Callable[[], OFAVisualEntailment], settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Measure all maps of a model.

    Args:
        load: loads the model; called twice, since the randomisation test ruins its copy.

    Returns:
        Plain data for JSON: ``model`` (fingerprint), ``settings``, ``maps`` (by name: ``figures``,
        ``differences`` to each control, ``undefined``, ``entropy``), ``randomisation``.
    """
    model = load()
    entailed = [_entailed(settings.seed, i) for i in range(settings.scenes)]
    values, margins, undefined = _placed(model, entailed, settings, progress)
    entropies = _entropies(model, settings, progress)
    found: dict[str, Any] = {}
    for name in MAPS:
        figures = {f: mean_interval(v) for f, v in _kept(values[name]).items()}
        figures |= {f: mean_interval(v) for f, v in margins[name].items()}
        found[name] = {
            "figures": {f: _bounds(i) for f, i in figures.items()},
            "differences": {
                control: {
                    f: _bounds(mean_interval(_differences(values[name][f], values[control][f])))
                    for f in FIGURES
                }
                for control in CONTROLS
                if control != name
            },
            "undefined": undefined[name],
            "entropy": entropies[name],
        }
    return {
        "model": model.fingerprint.to_dict(),
        "settings": asdict(settings),
        "maps": found,
        "randomisation": _randomised(load(), entailed, settings, progress),
    }


def _bounds(interval: Interval) -> dict[str, float]:
    return {name: round(value, 4) + 0.0 for name, value in interval._asdict().items()}


def _kept(values: dict[str, list[float | None]]) -> dict[str, list[float]]:
    kept = {name: [v for v in column if v is not None] for name, column in values.items()}
    return {name: column for name, column in kept.items() if column}


def _differences(ours: list[float | None], theirs: list[float | None]) -> list[float]:
    pairs = zip(ours, theirs, strict=True)
    return [a - b for a, b in pairs if a is not None and b is not None]


def _entailed(seed: int, index: int) -> _Asked:
    drawn = scene(seed, index)
    return _asked(drawn, hypothesis(drawn, "yes", np.random.default_rng([seed, index, 5])))


def _asked(drawn: Scene, said: Hypothesis) -> _Asked:
    nouns = word_boxes(said.text, drawn)
    named = next((noun for noun, boxes in nouns.items() if boxes == said.about), None)
    noun = named or next(iter(nouns), said.text.split()[-1])
    specs = {name: MapSpec.parse(name.replace("NOUN", noun)) for name in MAPS}
    return _Asked(Query(drawn.image, said.text), said, specs)


def _read(trace: Trace, spec: MapSpec) -> Map | None:
    try:
        return read_map(trace, spec)
    except UndefinedMap:
        return None


def _placed(
    model: Model, entailed: list[_Asked], settings: Settings, progress: Progress
) -> tuple[
    dict[str, dict[str, list[float | None]]],
    dict[str, dict[str, list[float]]],
    dict[str, int],
]:
    """Figures against the true boxes, and margins over the random control, a value a scene."""
    values: Any = defaultdict(lambda: defaultdict(list))
    margins: Any = defaultdict(lambda: defaultdict(list))
    undefined = dict.fromkeys(MAPS, 0)
    for asked in progress(entailed, len(entailed), "place, faithfulness"):
        (trace,) = gather(model, [asked.query], [list(asked.specs.values())], settings.batch_size)
        region = mask([Box(*(v / SIZE for v in box)) for box in asked.said.about], trace.grid)
        maps = {name: _read(trace, spec) for name, spec in asked.specs.items()}
        for name, p in maps.items():
            undefined[name] += p is None
            for figure, function in FIGURES.items():
                values[name][figure].append(None if p is None else function(p, region))

        def hidden(p: Map, query: Query = asked.query, trace: Trace = trace) -> Curves:
            return curves(model, query, trace, p, settings.batch_size, settings.steps)

        chance = maps.pop(RANDOM.key)
        assert chance is not None
        control = hidden(chance)
        for name, p in maps.items():
            # The uniform control has no order of its own: its ties are broken at random.
            if p is not None and name != "uniform":
                found = hidden(p)
                pairs = ((found.deletion, control.deletion), (found.insertion, control.insertion))
                margins[name]["deletion_margin"].append(deletion_margin(*pairs[0]))
                margins[name]["insertion_margin"].append(insertion_margin(*pairs[1]))
    return values, margins, undefined


def _entropies(model: Model, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Mean entropy of entailed hypotheses and of those about an absent animal, and their AUC.

    Without occlusion, which would double the time of the whole.
    """
    cheap = [name for name in MAPS if name != "occlusion"]
    found: dict[str, dict[str, list[float]]] = {n: {"present": [], "absent": []} for n in cheap}
    for index in progress(range(settings.absent_scenes), settings.absent_scenes, "entropy"):
        drawn = scene(settings.seed, index)
        absent = _asked(drawn, _about_absent(drawn, settings.seed, index))
        for kind, asked in (("present", _entailed(settings.seed, index)), ("absent", absent)):
            specs = [asked.specs[name] for name in cheap]
            (trace,) = gather(model, [asked.query], [specs], settings.batch_size)
            for name, spec in zip(cheap, specs, strict=True):
                p = _read(trace, spec)
                if p is not None:
                    found[name][kind].append(entropy(p))
    return {
        name: {
            "present": _bounds(mean_interval(kinds["present"])),
            "absent": _bounds(mean_interval(kinds["absent"])),
            "separation": round(separation(kinds["absent"], kinds["present"]), 4),
        }
        for name, kinds in found.items()
        if kinds["present"] and kinds["absent"]
    } | {"occlusion": None}


def _about_absent(drawn: Scene, seed: int, index: int) -> Hypothesis:
    """A false hypothesis whose animal is not in the picture."""
    rng = np.random.default_rng([seed, index, 6])
    while True:
        said = hypothesis(drawn, "no", rng)
        if not said.about and said.change != "unrelated":
            return said


def _randomised(
    model: OFAVisualEntailment, entailed: list[_Asked], settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Mean Spearman correlation with the intact map after each stage, from the top.

    A map that is undefined or constant after randomising has nothing in common with the intact
    one: its correlation counts as 0.
    """
    looking = [name for name in MAPS if name not in (*CONTROLS, "occlusion")]
    chosen = entailed[: settings.randomised_scenes]

    def maps() -> list[dict[str, Map | None]]:
        found = []
        for asked in chosen:
            specs = [asked.specs[name] for name in looking]
            (trace,) = gather(model, [asked.query], [specs], settings.batch_size)
            found.append({n: _read(trace, s) for n, s in zip(looking, specs, strict=True)})
        return found

    intact = maps()
    stages: list[str] = []
    correlations: dict[str, list[float]] = {name: [] for name in looking}
    downwards = randomise_downwards(model.torch_model, settings.seed)
    count = len(all_stages(model.torch_model))
    for stage in progress(downwards, count, "randomisation"):
        stages.append(stage)
        now = maps()
        for name in looking:
            pairs = [(a[name], b[name]) for a, b in zip(intact, now, strict=True)]
            values = [_correlation(p, q) for p, q in pairs if p is not None]
            correlations[name].append(round(float(np.mean(values)), 4) if values else 0.0)
    return {"stages": stages, "maps": correlations}


def _correlation(p: Map, q: Map | None) -> float:
    if q is None:
        return 0.0
    try:
        return spearman(p, q)
    except Undefined:
        return 0.0
