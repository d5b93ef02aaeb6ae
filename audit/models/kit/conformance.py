"""What audit relies on in every model, as checks that an adapter's author can run.

On the command line, see :mod:`audit.models.kit.check`; in a test, :func:`check_adapter`. Each check
is a function of a :class:`Subject` that raises :class:`Failure` with one sentence for the author.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from audit.base.errors import AuditError, TextError, in_a_sentence, nearest
from audit.base.files import fit_for_a_name
from audit.base.geometry import WHOLE
from audit.base.images import open_image, picture_of
from audit.base.settings import DTYPES, UNKNOWN
from audit.base.words import words_in
from audit.maps.methods import METHODS
from audit.maps.trace import EACH_WORD, NOTHING_MORE, Need
from audit.models.kit.remains import network_state, surroundings, told_changes
from audit.models.kit.singleheads import check_single_heads
from audit.models.kit.subject import (
    Failure,
    Subject,
    choices,
    example_queries,
    impossible,
    is_finite,
    key_of,
    off,
    refuse_difference,
    refuse_missing,
    refuse_odd,
    told_key,
)
from audit.models.protocol import Decoding, Model, Query

SEEN = 1e-6
"""Change in a cell, as a part of the largest, that shows that a model looked at its picture."""

ABSENT = "xylophone zeppelin"
"""A phrase that is in no text."""


def check_labels(subject: Subject) -> None:
    """Labels are distinct texts, and every trace gives each of them a probability, in order."""
    labels = tuple(subject.model.labels)
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise Failure(f"labels are {labels}; there must be at least two, each once")
    for trace in subject.traces:
        if tuple(trace.probabilities) != labels:
            raise Failure(
                f"a trace has probabilities of {tuple(trace.probabilities)}, and the model's "
                f"labels are {labels}; they must be the same, in the same order"
            )


def check_methods(subject: Subject) -> None:
    """Every method of the model is one of audit's that come from a model."""
    known = [name for name, row in METHODS.items() if row.from_model]
    methods = tuple(subject.model.methods)
    for method in methods:
        if method not in known:
            raise Failure(f"methods has {method!r}; {nearest(method, known)}")
    if len(set(methods)) != len(methods):
        raise Failure(f"methods are {methods}; one stands there twice")


def check_probabilities(subject: Subject) -> None:
    """Probabilities are finite numbers in [0, 1] that sum to 1, and the label is one of them."""
    for trace in subject.traces:
        refuse_odd(replace(trace, readings={}, view=WHOLE))


def check_label(subject: Subject) -> None:
    """The label is the likeliest answer, unless the model says that it decides otherwise."""
    model = subject.model
    if isinstance(model, Decoding) and not model.label_is_likeliest:
        return
    for trace in subject.traces:
        likeliest = max(trace.probabilities, key=trace.probabilities.__getitem__)
        said, most = trace.probabilities[trace.label], trace.probabilities[likeliest]
        if said < most:
            raise Failure(
                f"the label is {trace.label!r} with {said:.4f}, but {likeliest!r} has {most:.4f}; "
                "a model that decides otherwise says so with label_is_likeliest = False"
            )


def check_readings(subject: Subject) -> None:
    """Every reading that is asked for is there: of the grid's shape, finite, none negative.

    Also with each choice that cases may ask for: the largest head, one head, another residual.
    """
    for query, trace in zip(subject.queries, subject.traces, strict=True):
        refuse_missing(subject.need, trace)
        for method in subject.model.methods:
            others = frozenset(choices(method))
            refuse_missing(others, subject.ask([query], others)[0])


def check_nothing_more(subject: Subject) -> None:
    """A trace holds the readings that were asked for and no others: none, if none was."""
    query = subject.queries[0]
    (plain,) = subject.ask([query])
    if plain.readings:
        raise Failure(f"no reading was asked for, and the trace holds {len(plain.readings)}")
    trace = subject.traces[0]
    asked = {key.method for key in subject.need}
    others = sorted({key.method for key in trace.readings} - asked)
    for method in subject.model.methods:
        need = frozenset({key_of(method)})
        (alone,) = subject.ask([query], need)
        others += sorted({key.method for key in alone.readings} - {method})
    if others:
        raise Failure(f"the trace holds readings of {others[0]}, which was not asked for")


def check_words(subject: Subject) -> None:
    """A word has the same reading by its name and by its place; one that is not there has none."""
    if "word_attention" not in subject.model.methods:
        return
    for query, trace in zip(subject.queries, subject.traces, strict=True):
        there = words_in(query.text)
        words = [word.text for word in trace.words]
        strange = [word for word in words if word not in there]
        if strange or not words:
            raise Failure(
                f"words of {query.text!r} are {words}; they must be audit.base.words.words_in of "
                "the text, as far as the model sees them"
            )
        place = next((i for i, word in enumerate(words) if words.count(word) == 1), None)
        if place is None:
            continue
        named, absent = (EACH_WORD._replace(word=w) for w in (words[place], ABSENT))
        numbered = EACH_WORD._replace(word=place)
        (found,) = subject.ask([query], frozenset({named, numbered, absent}))
        if absent in found.readings:
            raise Failure(f"there is a reading of {ABSENT!r}, which is not in {query.text!r}")
        if named not in found.readings or numbered not in found.readings:
            raise Failure(f"{words[place]!r} of {query.text!r} has no reading by name or by place")
        apart = off(found.readings[named], found.readings[numbered])
        if apart > subject.tolerance.cell:
            raise Failure(
                f"{words[place]!r} of {query.text!r} has another reading by its name than by its "
                f"place, {place}: a cell differs by {apart:.2g} of the largest"
            )


def check_batch(subject: Subject) -> None:
    """A batch gives what single calls give: label, probabilities, prompt and readings."""
    together = subject.ask(subject.queries, subject.need)
    for query, one, batched in zip(subject.queries, subject.traces, together, strict=True):
        refuse_difference(
            subject, one, batched, f"asked alone and in a batch, {query.text!r}",
            "is padding masked, and does each row keep its own length?",
        )  # fmt: skip
    if subject.ask([]):
        raise Failure("an empty batch must give an empty list")


def check_order(subject: Subject) -> None:
    """The order of a batch does not matter, and the same query may be in it twice."""
    together = subject.ask(subject.queries, subject.need)
    queries = [*reversed(subject.queries), subject.queries[0]]
    found = subject.ask(queries, subject.need)
    expected = [*reversed(together), together[0]]
    for query, one, batched in zip(queries, expected, found, strict=True):
        refuse_difference(
            subject, one, batched, f"in a batch of another order, {query.text!r}",
            "traces must come in the order of the queries",
        )  # fmt: skip


def check_grid_and_view(subject: Subject) -> None:
    """Grid and view depend on the picture alone, and the view covers a part of it."""
    for query, trace in zip(subject.queries, subject.traces, strict=True):
        refuse_odd(replace(trace, readings={}, probabilities={trace.label: 1.0}))
        for other in (q for q in subject.queries if q.text != query.text):
            (again,) = subject.ask([replace(query, text=other.text)])
            if (again.grid, again.view) != (trace.grid, trace.view):
                raise Failure(
                    f"one picture has the grid {tuple(trace.grid)} and view {tuple(trace.view)} "
                    f"with one text and {tuple(again.grid)}, {tuple(again.view)} with another"
                )


def check_pictures_matter(subject: Subject) -> None:
    """Another picture gives another map, and so does the same one flipped left to right."""
    first = subject.queries[0]
    others = [query.image for query in subject.queries[1:] if query.image is not first.image]
    flipped = ImageOps.mirror(picture_of(first.image))
    for name, image in (("flipped left to right", flipped), ("another picture", others[0])):
        (other,) = subject.ask([replace(first, image=image)], subject.need)
        for key in sorted(subject.traces[0].readings, key=repr):
            reading, seen = subject.traces[0].readings[key], other.readings.get(key)
            if seen is None or not is_finite(reading):
                continue  # the check of readings tells that
            if off(reading, seen) <= SEEN:
                raise Failure(
                    f"{told_key(key)} is the same when the picture is {name}: no cell changes by "
                    f"more than {SEEN:g} of the largest, so it does not show where the model looks"
                )


def check_texts_matter(subject: Subject) -> None:
    """Another text gives another prompt; a premise is part of it or is refused."""
    first = subject.queries[0]
    for one, other in pairwise(subject.traces):
        if one.prompt == other.prompt or one.tokens == other.tokens:
            raise Failure(f"two texts gave the same prompt {one.prompt!r} or the same tokens")
    with suppress(AuditError):
        (with_premise,) = subject.model.trace([replace(first, premise="it is a drawing")])
        if with_premise.prompt == subject.traces[0].prompt:
            raise Failure(
                "a premise is not in the prompt; a model that reads none must raise a ModelError"
            )


def check_paths(subject: Subject) -> None:
    """A picture's path gives what the opened picture gives: turned as EXIF says, as RGB."""
    query = subject.queries[0]
    picture, turned = picture_of(query.image), Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    with tempfile.TemporaryDirectory(prefix="audit-check-") as folder:
        for name, image, exif in (
            ("a picture", picture, Image.Exif()),
            ("a picture that EXIF turns", picture, turned),
            ("a grey picture", picture.convert("L"), Image.Exif()),
        ):
            path = Path(folder) / f"{name}.png"
            image.save(path, exif=exif)
            given = subject.ask([replace(query, image=path)], subject.need)[0]
            opened = subject.ask([replace(query, image=open_image(path))], subject.need)[0]
            refuse_difference(
                subject, given, opened, f"{name}, given by its path and opened,",
                "open pictures with audit.models.kit.picture_of",
            )  # fmt: skip


def check_errors(subject: Subject) -> None:
    """What cannot be answered is refused with an AuditError, which is told with its case."""
    for what, query, need in impossible(subject):
        try:
            subject.model.trace([query], need)
        except AuditError:
            continue
        except Exception as error:
            raise Failure(
                f"asked for {what}, the model raised {in_a_sentence(error)}; it must raise an "
                "AuditError, such as MapError or ImageError, that says what is wrong"
            ) from error
        raise Failure(f"asked for {what}, the model gave a trace; it must raise an AuditError")


def check_usable_after_errors(subject: Subject) -> None:
    """After an error, alone or within a batch, the model answers as it did before."""
    before = subject.traces[0]
    for what, query, need in impossible(subject):
        for batch in ([query], [subject.queries[0], query]):
            with suppress(Exception):
                subject.model.trace(batch, need)
            (after,) = subject.ask([subject.queries[0]], subject.need)
            refuse_difference(
                subject, before, after, f"before and after it was asked for {what}, the model",
                "an error must leave nothing behind",
            )  # fmt: skip


def check_odd_texts(subject: Subject) -> None:
    """Odd texts are answered or refused with an AuditError; one that may be cut is not too long."""
    odd = ("?!", "{} {0} {text}", "{} {1} {text}", "</s>[SEP]", "二羽の鳥")
    first, long = subject.queries[0], "a bird and " * 400
    cut = replace(first, text=long, truncate=True)
    prompts: dict[str, str] = {}
    for query in (*(replace(first, text=text) for text in (*odd, long)), cut):
        try:
            prompts[query.text] = subject.model.trace([query])[0].prompt
        except AuditError as error:
            if query is cut and isinstance(error, TextError):
                raise Failure(f"a text that may be cut (truncate) was refused: {error}") from error
        except Exception as error:
            raise Failure(
                f"asked about {query.text[:40]!r}, the model raised {in_a_sentence(error)}; a text "
                "that it cannot read must be refused with a TextError"
            ) from error
    braces = [prompts[text] for text in odd[1:3] if text in prompts]
    if len(braces) == 2 and braces[0] == braces[1]:
        raise Failure(f"{odd[1]!r} and {odd[2]!r} gave one prompt: do not format the user's text")


def check_nothing_left(subject: Subject) -> None:
    """A pass leaves nothing: no hooks, gradients or changed weights, and no random state drawn."""
    network, first = getattr(subject.model, "torch_model", None), subject.queries[0]
    picture = ImageOps.mirror(picture_of(first.image))  # one that nobody was given yet
    query = replace(first, image=picture)

    subject.ask([first], subject.need)  # what is cached at the first pass may stay
    passes: list[tuple[str, Query, Need]] = [
        ("a reading of every method", query, subject.need),
        ("no reading", query, NOTHING_MORE),
        *impossible(subject),
    ]
    for what, asked, need in passes:
        before = surroundings(network, [picture])
        with suppress(Exception):
            subject.model.trace([asked], need)
        changes = told_changes(before, surroundings(network, [picture]))
        changes += told_changes(subject.network_before, network_state(network))
        if changes:
            raise Failure(
                f"after a pass that was asked for {what}, all must be as before, but "
                f"{'; '.join(changes)}"
            )


def check_fingerprint(subject: Subject) -> None:
    """The fingerprint names the model, and is the same when the model is loaded once more."""
    known = subject.model.fingerprint
    if not known.name or "/" in known.name or not fit_for_a_name(known.name):
        raise Failure(f"the fingerprint's name is {known.name!r}; baselines lie in a folder of it")
    if known.dtype not in (*DTYPES, UNKNOWN) or not known.digest:
        raise Failure(
            f"the fingerprint has dtype {known.dtype!r} and digest {known.digest!r}; it must have "
            f"one of {', '.join((*DTYPES, UNKNOWN))}, and a digest"
        )
    if known.device == "auto":
        raise Failure("the fingerprint's device is 'auto'; it must be where the model runs")
    if subject.load is None:
        return
    try:
        again = subject.load()
    except Exception as error:
        raise Failure(
            f"the model cannot be loaded a second time: {in_a_sentence(error)}"
        ) from error
    for name in ("digest", "weights", "configuration", "tokenizer", "preprocessing"):
        one, other = getattr(known, name), getattr(again.fingerprint, name)
        if one != other:
            raise Failure(
                f"the fingerprint's {name} is {one[:12]}… of one load and {other[:12]}… of another"
            )
    second = replace(subject, model=again)
    refuse_difference(
        subject, subject.traces[0], second.ask([subject.queries[0]], subject.need)[0],
        "loaded twice, the model", "are all weights in the file?",
    )  # fmt: skip


CHECKS: Mapping[str, Callable[[Subject], None]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_labels, check_methods, check_probabilities, check_label, check_readings,
        check_single_heads, check_nothing_more, check_words, check_batch, check_order,
        check_grid_and_view, check_pictures_matter, check_texts_matter, check_paths, check_errors,
        check_usable_after_errors, check_odd_texts, check_nothing_left, check_fingerprint,
    )
}  # fmt: skip
"""Every check by its name."""


def check_adapter(
    model: Model,
    queries: Sequence[Query] | None = None,
    load: Callable[[], Model] | None = None,
) -> None:
    """Run every check.

    Args:
        queries: see :class:`Subject`; drawn pictures, if not said.
        load: loads the same model once more.

    Raises:
        Failure: with a line for each check that failed; its cause is what the model raised first.
    """
    subject, lines = Subject(model, queries or example_queries(), load), []
    cause: BaseException | None = None
    for name, check in CHECKS.items():
        try:
            check(subject)
        except Failure as failure:
            lines.append(f"{name}: {failure}")
            cause = cause or failure.__cause__
    if lines:
        raise Failure("\n".join(lines)) from cause
