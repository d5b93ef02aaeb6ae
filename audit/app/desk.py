"""What the page does, without the page itself: pictures, questions, answers, and errors."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from audit.app.cost import check_cost
from audit.base.errors import AuditError, ModelError
from audit.base.files import as_typed
from audit.base.images import open_image
from audit.base.texts import readable
from audit.cases.loading import Case
from audit.explaining import ExplainedMap, NoMap, explain_maps
from audit.maps.methods import METHODS, UndefinedMap, canonical
from audit.maps.mistakes import told
from audit.maps.spec import MapSpec
from audit.models.protocol import Model, Query
from audit.reference.world import note_on_picture
from audit.report.pictures import data_uri, outlined

LONGEST = 2_000
"""The most characters of a hypothesis or a premise; a model reads far fewer."""

_PREVIEW = 900
"""The largest width, in pixels, of the picture on the page."""

_LEAST = 16
"""The smallest width, in pixels; nobody can draw boxes on a narrower picture."""


@dataclass(frozen=True)
class Picture:
    """A picture that was opened, and about which one can ask.

    Attributes:
        path: the file.
        folder: where a case about it belongs.
        written: the value of ``image`` in that case.
        size: width and height in pixels of the picture as people see it, turned as EXIF says; the
            boxes of a case are counted in these.
        preview: the picture at most 900 pixels wide, as a data URI.
        uploaded: whether a visitor sent it, so that it must be saved beside the case.
    """

    path: Path
    folder: str
    written: str
    size: tuple[int, int]
    preview: str
    uploaded: bool


@dataclass(frozen=True)
class Question:
    """The values of the page's fields.

    Attributes:
        keys: keys of the map that have a field of their own; an empty value is not set.
        more: further keys, as on the command line: ``temperature=0.5 subtract=blank``.
    """

    picture: Picture | None
    text: str
    premise: str
    model: str
    method: str
    keys: Mapping[str, str]
    more: str
    layers: bool
    words: bool


@dataclass(frozen=True)
class Answer:
    """What the model answered, and the question.

    Attributes:
        note: why the answer means nothing; empty if there is no such reason.
    """

    picture: Picture
    text: str
    premise: str | None
    found: ExplainedMap
    note: str = ""

    def kept(self) -> Answer:
        """A small copy to keep once everything is drawn: a picture may take 200 MB."""
        small = self.found.image.copy()
        small.thumbnail((_LEAST, _LEAST))
        return replace(self, found=replace(self.found, image=small))


def uploaded(path: Path) -> Picture:
    """Open a picture that a visitor sent.

    Raises:
        ImageError: it is not a picture, damaged, or larger than :mod:`audit.base.images` allows.
    """
    name = re.sub(r"[^\w.-]+", "-", path.stem).strip(".-")[:80] or "picture"
    return _opened(path, "cases", f"images/{name}{path.suffix.lower()}", uploaded=True)


def example(case: Case) -> Picture:
    """The picture of a case.

    Raises:
        ImageError: the picture can no longer be read.
    """
    folder = case.file.parent
    written = Path(os.path.relpath(case.image, folder)).as_posix()
    return _opened(case.image, as_typed(folder), written, uploaded=False)


def _opened(path: Path, folder: str, written: str, *, uploaded: bool) -> Picture:
    image = open_image(path)
    preview = data_uri(outlined(image, {}, min(_PREVIEW, max(_LEAST, image.width))))
    return Picture(path, folder, written, image.size, preview, uploaded)


def spec_of(question: Question) -> MapSpec:
    """The map that the fields describe; :class:`~audit.maps.spec.MapSpec` reads and checks it.

    Raises:
        ValueError: see :meth:`audit.maps.spec.MapSpec.parse`.
    """
    row = METHODS.get(canonical(question.method))
    taken = row.keys if row else ()
    given = [
        f"{key}={shlex.quote(value.strip())}"
        for key, value in question.keys.items()
        if key in taken and value.strip()
    ]
    return MapSpec.parse(" ".join([question.method, *given, question.more]))


class Desk:
    """Answers questions with one of the offered models; the last one stays loaded.

    A model may take gigabytes, so there is never more than one.
    """

    def __init__(
        self,
        sources: Sequence[str],
        load: Callable[[str], Model],
    ) -> None:
        self.sources = tuple(sources)
        self._load = load
        self._loaded: tuple[str, Model] | None = None

    def ask(self, question: Question) -> Answer:
        """Ask the model that the question names.

        Raises:
            AuditError: the model or the picture cannot be used.
            ValueError: there is no picture, or the map cannot be read or takes too long; see
                :func:`audit.explaining.explain_maps` and :func:`audit.app.cost.check_cost`.
        """
        if question.picture is None:
            raise ValueError("there is no picture yet: upload one or pick an example")
        for name, given in (("hypothesis", question.text), ("premise", question.premise)):
            if len(given) > LONGEST:
                raise ValueError(f"the {name} has {len(given):,} characters, more than {LONGEST:,}")
        text = readable(question.text, "the hypothesis")
        # An empty field is not a premise.
        premise = readable(question.premise, "the premise") if question.premise else None
        spec = spec_of(question)
        model = self._model(question.model)
        if spec.method == "occlusion":
            query = Query(open_image(question.picture.path), text, premise)
            check_cost(spec, model.trace([query])[0].grid)
        (found,) = explain_maps(
            model,
            question.picture.path,
            text,
            premise,
            [spec],
            layers=question.layers and spec.per_layer,
            words=question.words,
        )
        if isinstance(found, NoMap):
            raise UndefinedMap(found.reason)
        note = note_on_picture(found.model.source, found.image)
        return Answer(question.picture, text, premise, found, note)

    def _model(self, source: str) -> Model:
        # Otherwise a request could name any folder of this machine.
        if source not in self.sources:
            raise ModelError(f"{source}: not offered here; choose from {', '.join(self.sources)}")
        if self._loaded is None or self._loaded[0] != source:
            self._loaded = None
            self._loaded = source, self._load(source)
        return self._loaded[1]


def message(error: Exception, picture: Picture | Path | None = None) -> str:
    """An error in words for the visitor; the details of an unexpected one go to the log.

    Args:
        picture: its path on this machine is replaced by its name in the message.
    """
    if isinstance(error, ValidationError):
        return told(error)
    if not isinstance(error, (AuditError, ValueError)):
        logging.getLogger(__name__).error("a question failed", exc_info=error)
        return "something went wrong; the log of audit serve says what"
    text = str(error)
    if picture is not None:
        path = picture if isinstance(picture, Path) else picture.path
        text = text.replace(str(path), path.name)
    return text
