"""The errors that audit raises on purpose: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AuditError(Exception):
    """Base of the errors that audit raises on purpose.

    Two are not: a wrong argument is a ValueError, and :class:`audit.UndefinedMap`, which is one,
    tells of an input for which there is no map.
    """


class CaseError(AuditError):
    """A case file, or something that it names, cannot be used."""


class SourceError(AuditError):
    """A table, a data set or a folder of pictures cannot be read, or not as asked."""


class TextError(AuditError, ValueError):
    """A hypothesis or a premise cannot be asked as it is written.

    Also a ValueError, so that pydantic reports it as a problem with the key.
    """


class ImageError(AuditError):
    """A picture cannot be read, or is larger than the limits allow."""


class ModelError(AuditError):
    """A model cannot be found, is not of a supported kind, or cannot run as asked."""


class MissingExtra(ModelError):
    """Packages are not installed that an extra brings; the message says which extra."""


class NotFinite(ModelError):
    """A model gave NaN or infinity; a figure computed from it would mean nothing."""


class Unavailable(ModelError):
    """A model could not be asked: what serves it is not there, busy or broken."""


class Undecided(ModelError):
    """What is known of an answer leaves open which label it is, or how likely."""


class MapError(AuditError):
    """A map cannot be read as requested: there is no such method, layer, head or word."""


class NotGathered(MapError):
    """A map needs more of the model than it was asked for; ``audit.gather`` asks for it."""


class CaptureError(AuditError):
    """A hook missed something that it must see; figures computed from it would be wrong."""


class ProjectError(AuditError):
    """pytest's configuration file cannot be read, or a key of audit in it has a wrong value."""


class BaselineError(AuditError):
    """A baseline cannot be read, compared or accepted."""


class FigureError(AuditError):
    """A name in a file is not the name of a figure."""


class RunError(AuditError):
    """A run folder is missing, incomplete or in another format."""


class TableError(AuditError):
    """A table of cases or of results cannot be read or written."""


class BulkError(AuditError):
    """A bulk audit cannot start, go on or be read: its source, its folder, or what is in it."""


class Unfinished(BulkError):
    """A bulk audit ended before its last row; what is written stays, and it can be continued."""


class Undefined(ValueError):
    """A metric has no value for this input; the message says why.

    Not an :class:`AuditError`: the reason is stored instead of the value, and the audit goes on.
    """


_JOINERS = "\u200c\u200d"
"""Used inside Persian words and emoji; they are invisible and do not move the cursor."""


def printable(text: str) -> str:
    """``text`` as one line that a terminal shows unchanged and no CI pipeline takes for a command.

    Control characters move a terminal's cursor, direction marks make one line look like another,
    half a surrogate pair cannot be written, and GitHub obeys lines that begin with ``::`` and
    anything after ``##[``.

    >>> printable("birds\\r\\n::error::no")
    'birds\\\\r\\\\n::error::no'
    >>> printable("  ::error::no"), printable("x ##[error]no")
    ('  :.:error::no', 'x #.#[error]no')
    """
    plain = "".join(c if c.isprintable() or c in _JOINERS else ascii(c)[1:-1] for c in text)
    plain = plain.replace("##[", "#.#[")
    bare = plain.lstrip()
    if bare.startswith("::"):
        plain = f"{plain[: len(plain) - len(bare)]}:.:{bare[2:]}"
    return plain


_LONGEST = 500
"""Characters of an exception's message that are kept; torch's go on for pages."""


def in_a_sentence(error: BaseException) -> str:
    """What went wrong, in one printable line; an error that is not ours begins with its type.

    >>> in_a_sentence(ImageError("a.png: no such picture"))
    'a.png: no such picture'
    >>> in_a_sentence(KeyError("head")), in_a_sentence(MemoryError())
    ("KeyError: 'head'", 'MemoryError')
    """
    try:
        message = " ".join(str(error).split())
    except Exception:  # somebody else's exception, which cannot even give its message
        message = ""
    plain = printable(message)
    if len(plain) > _LONGEST:
        plain = f"{plain[: _LONGEST - 1]}…"
    if isinstance(error, AuditError) and plain:
        return plain
    kind = type(error).__name__
    return f"{kind}: {plain}" if plain else kind


_MANY = 40
"""If there are more choices than this, only the nearest are listed."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A clause that names the valid choice closest to ``name``, or all of them.

    >>> nearest("entrpy", ["mass", "entropy"])
    "did you mean 'entropy'?"
    >>> nearest("zzz", ["mass", "entropy"])
    'choose from: entropy, mass'
    >>> nearest("MASS", ["mass", "entropy"])
    "did you mean 'mass'?"
    """
    known = sorted(choices)
    close = get_close_matches(name, known, n=1, cutoff=0.65)
    close = close or [each for each in known if each.casefold() == name.casefold()]
    if close:
        return f"did you mean {close[0]!r}?"
    if len(known) <= _MANY:
        return f"choose from: {', '.join(known)}"
    some = get_close_matches(name, known, n=5, cutoff=0.0)
    return f"the nearest of {len(known)} choices are {', '.join(some)}"
