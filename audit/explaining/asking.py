"""Asks a model one question, and reads maps from what it leaves.

:func:`explain` is for scripts and notebooks, :func:`explain_maps` for command line and page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from audit.base.errors import AuditError, MapError, ModelError, in_a_sentence
from audit.base.handed import Handed, picture_from
from audit.base.images import open_image
from audit.explaining.explanation import Explanation
from audit.explaining.kept import KEPT
from audit.explaining.mapped import ExplainedMap, NoMap
from audit.maps.methods import METHODS
from audit.maps.reading import UndefinedMap, layer_maps, read_map, word_maps
from audit.maps.spec import MapSpec, default_map
from audit.maps.trace import EACH_WORD, NOTHING_MORE, Evidence
from audit.metrics.measuring import measure
from audit.models.protocol import Model, Query
from audit.runs.evidence import check_batch_size, gather


def explain_maps(
    model: Model,
    image: Path | Image.Image,
    text: str,
    premise: str | None,
    specs: Sequence[MapSpec],
    *,
    truncate: bool = False,
    layers: bool = False,
    words: bool = False,
    batch_size: int = 8,
) -> list[ExplainedMap | NoMap]:
    """Ask ``model`` one question, and read each of the maps from its answer.

    If one map is undefined for this question, the others are still returned.

    Args:
        truncate: whether the model may cut texts that are longer than it reads.
        layers: also read the map of each single layer, for methods that have one for each layer.
        words: also read the model's attention from each word of the hypothesis.
        batch_size: pictures in a batch, for maps that need many.

    Raises:
        ImageError: the picture cannot be read.
        MapError: the model does not have the method, or the layer, head or word.
        ModelError: the model failed, or what it gave is no answer.
        TextError: a text is blank, or longer than the model reads.
        ValueError: ``layers`` is set, but no method has maps for single layers.
    """
    check_layers(specs, layers)
    if words:
        check_words(model)
    picture = open_image(image) if isinstance(image, Path) else image
    query = Query(picture, text, premise, truncate)
    evidence = answered(model, query, specs, words=words, batch_size=batch_size)
    return [mapped(model, query, evidence, spec, layers=layers, words=words) for spec in specs]


def answered(
    model: Model, query: Query, specs: Sequence[MapSpec], *, words: bool, batch_size: int
) -> Evidence:
    """What is needed to read each of the maps, and, if asked for, those of words.

    Raises:
        MapError: the model does not have the method; the message names those that it has.
        AuditError: see :func:`audit.runs.evidence.gather`; any failure of the model is one.
    """
    for spec in specs:
        _check_method(model, spec)
    also = frozenset({EACH_WORD}) if words else NOTHING_MORE
    try:
        (evidence,) = gather(model, [query], [specs], batch_size, also)
    except AuditError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model {model.fingerprint.source} failed: {in_a_sentence(error)}"
        ) from error
    return evidence


def mapped(
    model: Model, query: Query, evidence: Evidence, spec: MapSpec, *, layers: bool, words: bool
) -> ExplainedMap | NoMap:
    """One map of what a model answered, with its figures; or why there is none."""
    trace = evidence.trace
    try:
        seen = read_map(evidence, spec)
    except UndefinedMap as reason:
        return NoMap(trace, spec, str(reason), model.fingerprint)
    seen.flags.writeable = False  # figures and drawings are made of it
    assert isinstance(query.image, Image.Image)
    return ExplainedMap(
        query.image,
        trace,
        spec,
        seen,
        measure(seen, {}, evidence, spec),
        layer_maps(evidence, spec) if layers and spec.per_layer else [],
        word_maps(trace) if words else [],
        model.fingerprint,
        query.premise,
    )


def check_layers(specs: Sequence[MapSpec], layers: bool) -> None:
    """Check that a map has single layers, if they are requested.

    Raises:
        ValueError: none has; the message names the methods.
    """
    if layers and not any(spec.per_layer for spec in specs):
        maps = dict.fromkeys(spec.key if spec.single_heads else spec.method for spec in specs)
        raise ValueError(f"--layers: the method {', '.join(maps)} is not read layer by layer")


def has_words(model: Model) -> bool:
    """Whether the model gives its attention from each word of the hypothesis."""
    return EACH_WORD.method in model.methods


def check_words(model: Model) -> None:
    """Refuse maps of words of a model that has none.

    Raises:
        MapError: it has none; the message names the maps that it gives.
    """
    if not has_words(model):
        raise MapError(
            f"the model gives no {EACH_WORD.method}, so there is no map of a word; {given(model)}"
        )


def _check_method(model: Model, spec: MapSpec) -> None:
    method = spec.reading.method
    needed = spec.row.from_model or spec.method == "blank"
    if needed and method not in model.methods:
        raise MapError(
            f"the model gives no {method}, which the map {spec.key!r} is made of; {given(model)}"
        )


def given(model: Model) -> str:
    """The maps that a model gives, in a clause."""
    others = [name for name, row in METHODS.items() if not row.from_model and name != "blank"]
    every = f"{', '.join(others[:-1])} and {others[-1]}"
    if not model.methods:
        return f"it has no maps of its own: like every model it can be asked for {every}"
    return f"it gives {', '.join(model.methods)} and, like every model, {every}"


def explain(
    image: Handed,
    text: str,
    model: str | Model = "reference",
    *,
    map: str | MapSpec | None = None,
    maps: Sequence[str | MapSpec] = (),
    premise: str | None = None,
    truncate: bool = False,
    layers: bool = False,
    words: bool | None = None,
    batch_size: int = 8,
) -> Explanation:
    """Ask a model about one picture: what it answers, and where it looked.

    One forward pass is enough for maps of attention. Other maps cost more, which is spent only if
    they are asked for: ``relevance`` a backward pass, ``occlusion`` a pass for each place of its
    window, maps that are compared with a grey picture or a question that asks nothing one more.

    Args:
        image: the path of a picture, its bytes, a picture of Pillow, or an array (height, width, 3)
            of uint8 in RGB. Files and bytes are turned as EXIF says, the others are not; the answer
            keeps a copy.
        text: the hypothesis: a sentence about the picture.
        model: a loaded model (:func:`audit.load_model`), or a source as ``--audit-model`` takes it.
            The two models that were last named stay loaded, so asking again does not load again; a
            checkpoint folder is loaded anew if its files changed. To choose device, precision or
            asking file, load the model yourself.
        map: the map to read: a spec, or a string as on the command line, such as
            ``"relevance variant=paper"`` or ``"answer_attention layers=4,8,12"``. By default the
            model's own default map.
        maps: the same, for several.
        premise: a text premise beside the picture.
        truncate: whether the model may cut texts that are longer than it reads.
        layers: whether ``draw`` and ``to_dict`` have the map of each layer, too.
        words: True if ``draw`` and ``to_dict`` have the map of each word, too; False to leave
            words out altogether. By default they are there for ``words()`` if the model gives them.
        batch_size: pictures in a batch, for maps that need many; at least 1.

    Returns:
        Answer, maps and figures. Maps are (rows, cols) over the model's grid, float64,
        non-negative, with sum 1; probabilities are in [0, 1]. A map that is undefined for this
        question is named in ``undefined``; the others are there.

    Raises:
        ImageError: the picture cannot be read, or is none.
        MapError: the model does not give the map; the message names those that it gives. Or there
            is no such layer, head or word.
        ModelError: the model cannot be loaded, or fails.
        TextError: a text is blank, or longer than the model reads.
        UndefinedMap: none of the maps is defined for this question; the message says why.
        ValueError: a map is not written as one, ``map`` and ``maps`` are both given, ``layers``
            is set and no map has them, or another argument is none of what it can be.
    """
    _check_choices(layers, words)
    check_batch_size(batch_size)
    asked = _model(model)
    specs = _specs(map, maps, asked)
    check_layers(specs, layers)
    if words:
        check_words(asked)
    picture = picture_from(image)
    # The caller may go on to draw in the picture; the answer's own must stay what was seen.
    query = Query(picture.copy() if picture is image else picture, text, premise, truncate)
    reading_words = has_words(asked) if words is None else words
    evidence = answered(asked, query, specs, words=reading_words, batch_size=batch_size)
    found = tuple(
        mapped(asked, query, evidence, spec, layers=layers, words=bool(words)) for spec in specs
    )
    reasons = {each.spec.key: each.reason for each in found if isinstance(each, NoMap)}
    if len(reasons) == len(found):
        alone = len(found) == 1
        raise UndefinedMap(
            "; ".join(why if alone else f"{key}: {why}" for key, why in reasons.items())
        )
    assert isinstance(query.image, Image.Image)
    return Explanation(
        query.image, query.text, query.premise, evidence, asked.fingerprint, asked.methods, found
    )


def _check_choices(layers: bool, words: bool | None) -> None:
    """Refuse a list of layers, or a word, in the place of a yes or no."""
    for name, given, example in (
        ("layers", layers, "answer_attention layers=1,3"),
        ("words", words, "word_attention word=birds"),
    ):
        if given is not None and not isinstance(given, bool):
            raise ValueError(
                f"{name} is True or False, not {given!r}; to choose {name}, name them in the map: "
                f"map={example!r}"
            )


def _model(model: str | Model) -> Model:
    if isinstance(model, str):
        return KEPT.get(model)
    if not hasattr(model, "trace"):
        raise ModelError(
            "a model is a name, as --audit-model takes it, or what audit.load_model gives, not an "
            f"object of the type {type(model).__name__}"
        )
    return model


def _specs(map: str | MapSpec | None, maps: Sequence[str | MapSpec], model: Model) -> list[MapSpec]:
    """The maps that are asked for, each once, in order."""
    if map is not None and maps:
        raise ValueError("give map for one map or maps for several, not both")
    if isinstance(maps, str | MapSpec):
        raise ValueError(f"maps is a list of maps; for one write map={maps!r}")
    wanted = [MapSpec.of(each) for each in maps or ([] if map is None else [map])]
    return list({spec.key: spec for spec in wanted}.values()) or [default_map(model.methods)]
