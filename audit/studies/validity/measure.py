"""Measures every map against every control, on rendered scenes with true boxes.

It asks three questions about a map. *Place*: does it lie on the things that the text names, more
than the controls do? *Faithfulness*: does the answer depend on the cells that it marks, more than
on random ones (Petsiuk, Das & Saenko 2018)? *Sensitivity*: does it change when the weights are
randomised from the top (Adebayo et al. 2018)? And one question about its entropy: does it tell
whether the named animal is in the picture?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from audit.base.console import Progress, alone_interrupted
from audit.base.errors import Undefined
from audit.base.geometry import Box, mask
from audit.base.statistics import Interval, mean_interval, separation
from audit.cases.methods import readable_methods
from audit.maps.reading import Map, UndefinedMap, read_map
from audit.maps.spec import CONTROLS, RANDOM, MapSpec
from audit.maps.trace import Evidence
from audit.metrics.distances import spearman
from audit.metrics.registry import deletion_margin, insertion_margin
from audit.metrics.shape import entropy
from audit.models.kit.altering import Layered
from audit.models.kit.randomise import ALL, randomise_downwards
from audit.models.kit.randomise import stages as all_stages
from audit.models.protocol import Model, Query
from audit.reference.hypotheses import Hypothesis, hypothesis, word_boxes
from audit.reference.scenes import SIZE, Scene, scene
from audit.runs.evidence import Curves, curves, gather
from audit.studies.conditions import NO_OPTIONS
from audit.studies.placing import FIGURES, Row, summary
from audit.studies.plainly import load_plainly

MAPS = (
    "answer_attention",
    "answer_attention subtract=blank",
    "answer_attention relative=generic",
    "answer_attention drop=sinks",
    "word_attention word=NOUN",
    "rollout",
    "rollout residual=0.5",
    "relevance",
    "relevance variant=paper",
    "occlusion",
    *CONTROLS,
)
"""The measured maps, before that of chosen heads; NOUN stands for the noun of each hypothesis."""


@dataclass(frozen=True)
class Settings:
    """How much to measure.

    Attributes:
        scenes: number of held-out scenes, each with an entailed hypothesis.
        randomised_scenes: how many of them are used for the randomisation test.
        absent_scenes: number of hypotheses about an absent animal, for the entropy.
        curve_scenes: how many of the scenes get deletion and insertion curves, the longest part.
        seed: of the scenes; the model was trained with another one.
        steps: of the deletion and insertion curves, one pass each; fewer than for a case, to save
            time.
        processes: number of processes that share the scenes, each with its own model and, if
            there are several, one thread.
        heads: the chosen heads of the model, whose map is measured as well. They must have been
            chosen on other scenes than those of ``seed``.
    """

    scenes: int = 300
    randomised_scenes: int = 40
    absent_scenes: int = 300
    curve_scenes: int = 100
    seed: int = 777
    batch_size: int = 16
    steps: int = 12
    processes: int = 1
    heads: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Asked:
    """A hypothesis about a scene, and the specs of all its maps by name."""

    query: Query
    said: Hypothesis
    specs: dict[str, MapSpec]


def maps_of(model: Model, heads: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of ``MAPS`` that the model can give, and that of its chosen heads if there are any.

    Controls and occlusion are for any model.
    """
    readable = readable_methods(model.methods)
    chosen = [MapSpec(heads=list(heads)).key] if heads else []
    return tuple(name for name in (*chosen, *MAPS) if MapSpec.parse(name).method in readable)


def measure(
    source: str,
    device: str,
    settings: Settings,
    progress: Progress,
    options: Mapping[str, str] = NO_OPTIONS,
) -> dict[str, Any]:
    """Measure all maps of a model.

    Args:
        source, device: see :func:`audit.load_model`; the model is loaded several times, because
            the randomisation test ruins its copy.
        options: of the model's own kind, such as the asking file of chat models.

    Returns:
        Plain data for JSON: ``model`` (fingerprint), ``settings``, ``controls``, ``maps`` (by name:
        ``figures``, ``differences`` to each control, ``undefined``, ``entropy``),
        ``randomisation`` (without stages if the model does not show its network).
    """
    model = load_plainly(source, device, options=options)
    maps = maps_of(model, settings.heads)
    seen = _placed(source, device, settings, progress, options)
    entropies = _entropies(model, settings, progress)
    return {
        "model": model.fingerprint.to_dict(),
        "settings": asdict(settings),
        "controls": [name for name in maps if name in CONTROLS],
        "maps": {name: {**_summary(name, seen), "entropy": entropies.get(name)} for name in maps},
        "randomisation": _randomised(
            load_plainly(source, device, options=options), settings, progress
        ),
    }


def _summary(name: str, seen: Sequence[_Seen]) -> dict[str, Any]:
    """Means with intervals of one map's figures, and of its differences to each control."""
    rows = [Row(str(number), scene.figures) for number, scene in enumerate(seen)]
    controls = [each for each in CONTROLS if each in seen[0].figures]
    found = summary(name, rows, controls, lambda values: _bounds(mean_interval(values)))
    margins = [scene.margins[name] for scene in seen if name in scene.margins]
    for figure in margins[0] if margins else ():
        found["figures"][figure] = _bounds(mean_interval([each[figure] for each in margins]))
    return {**found, "undefined": sum(scene.figures[name] is None for scene in seen)}


def _bounds(interval: Interval) -> dict[str, float]:
    return {name: round(value, 4) + 0.0 for name, value in interval._asdict().items()}


def _entailed(seed: int, index: int, maps: Sequence[str]) -> _Asked:
    drawn = scene(seed, index)
    return _asked(drawn, hypothesis(drawn, "yes", np.random.default_rng([seed, index, 5])), maps)


def _asked(drawn: Scene, said: Hypothesis, maps: Sequence[str]) -> _Asked:
    nouns = word_boxes(said.text, drawn)
    named = next((noun for noun, boxes in nouns.items() if boxes == said.about), None)
    noun = named or next(iter(nouns), said.text.split()[-1])
    specs = {name: MapSpec.parse(name.replace("NOUN", noun)) for name in maps}
    return _Asked(Query(drawn.image, said.text), said, specs)


def _read(evidence: Evidence, spec: MapSpec) -> Map | None:
    try:
        return read_map(evidence, spec)
    except UndefinedMap:
        return None


@dataclass(frozen=True)
class _Seen:
    """Results of one scene by map: figures against the true boxes (None: no map), and margins."""

    figures: dict[str, dict[str, float] | None]
    margins: dict[str, dict[str, float]]


def _placed(
    source: str, device: str, settings: Settings, progress: Progress, options: Mapping[str, str]
) -> list[_Seen]:
    """Measure every scene, in the given number of processes with a model each."""
    numbers = range(settings.scenes)
    title = "place, faithfulness"
    if settings.processes == 1:
        _load(source, device, options)
        alone = map(partial(_scene, settings=settings), numbers)
        return list(progress(alone, settings.scenes, title))
    # Spawned, because a forked process inherits torch's threads without their locks.
    with ProcessPoolExecutor(
        settings.processes,
        get_context("spawn"),
        initializer=_load,
        initargs=(source, device, dict(options), 1),
    ) as pool:
        with alone_interrupted():
            seen = pool.map(partial(_scene, settings=settings), numbers)
        return list(progress(seen, settings.scenes, title))


_loaded: list[Model] = []
"""The model of this process. A pool's tasks can reach what its initializer made only like this."""


def _load(source: str, device: str, options: Mapping[str, str], threads: int | None = None) -> None:
    _loaded[:] = [load_plainly(source, device, threads=threads, options=options)]


def _scene(number: int, settings: Settings) -> _Seen:
    model = _loaded[0]
    asked = _entailed(settings.seed, number, maps_of(model, settings.heads))
    (evidence,) = gather(model, [asked.query], [list(asked.specs.values())], settings.batch_size)
    trace = evidence.trace
    region = mask(
        [Box(*(v / SIZE for v in box)) for box in asked.said.about], trace.grid, trace.view
    )
    maps = {name: _read(evidence, spec) for name, spec in asked.specs.items()}

    def hidden(p: Map) -> Curves:
        return curves(model, asked.query, trace, p, settings.batch_size, settings.steps)

    margins = {}
    if number < settings.curve_scenes:
        chance = maps[RANDOM.key]
        assert chance is not None
        control = hidden(chance)
        for name, p in maps.items():
            if p is not None and name not in _NO_ORDER:
                found = hidden(p)
                margins[name] = {
                    "deletion_margin": deletion_margin(found.deletion, control.deletion),
                    "insertion_margin": insertion_margin(found.insertion, control.insertion),
                }
    return _Seen(
        {
            name: None if p is None else {f: measured(p, region) for f, measured in FIGURES.items()}
            for name, p in maps.items()
        },
        margins,
    )


_NO_ORDER = ("uniform", RANDOM.key, "blank")
"""Controls without margins: in a uniform map all cells tie, and a grey picture shows nothing."""


def _entropies(model: Model, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Mean entropy for entailed hypotheses and for those about an absent animal, and their AUC.

    Occlusion is left out, because it would double the total time.
    """
    cheap = [name for name in maps_of(model, settings.heads) if name != "occlusion"]
    found: dict[str, dict[str, list[float]]] = {n: {"present": [], "absent": []} for n in cheap}
    for index in progress(range(settings.absent_scenes), settings.absent_scenes, "entropy"):
        drawn = scene(settings.seed, index)
        absent = _asked(drawn, _about_absent(drawn, settings.seed, index), cheap)
        present = _entailed(settings.seed, index, cheap)
        for kind, asked in (("present", present), ("absent", absent)):
            specs = [asked.specs[name] for name in cheap]
            (evidence,) = gather(model, [asked.query], [specs], settings.batch_size)
            for name, spec in zip(cheap, specs, strict=True):
                p = _read(evidence, spec)
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
    }


def _about_absent(drawn: Scene, seed: int, index: int) -> Hypothesis:
    """A false hypothesis whose animal is not in the picture."""
    rng = np.random.default_rng([seed, index, 6])
    while True:
        said = hypothesis(drawn, "no", rng)
        if not said.about and said.change != "unrelated":
            return said


def _randomised(model: Model, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Mean Spearman correlation with the intact map after each stage, from the top.

    If a map is undefined or constant after randomising, it has nothing in common with the intact
    one, and its correlation counts as 0. A model that does not say in which order its parts lie is
    randomised at once.
    """
    network = getattr(model, "torch_model", None)
    given = maps_of(model, settings.heads)
    looking = [name for name in given if name not in (*CONTROLS, "occlusion")]
    if network is None or not looking:
        return {"stages": [], "maps": {}}
    parts = model.stages if isinstance(model, Layered) else ALL
    chosen = [_entailed(settings.seed, i, looking) for i in range(settings.randomised_scenes)]

    def maps() -> list[dict[str, Map | None]]:
        found = []
        for asked in chosen:
            specs = [asked.specs[name] for name in looking]
            (evidence,) = gather(model, [asked.query], [specs], settings.batch_size)
            found.append({n: _read(evidence, s) for n, s in zip(looking, specs, strict=True)})
        return found

    intact = maps()
    stages: list[str] = []
    correlations: dict[str, list[float]] = {name: [] for name in looking}
    downwards = randomise_downwards(network, settings.seed, parts)
    count = len(all_stages(network, parts))
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
