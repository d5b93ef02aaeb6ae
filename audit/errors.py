"""The errors that audit raises on purpose: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AuditError(Exception):
    """Base of every error that audit raises on purpose."""


class CaseError(AuditError):
    """A case file, or something that it names, cannot be used."""


class TextError(AuditError, ValueError):
    """A hypothesis or a premise cannot be asked as it is written.

    A ValueError too, so that pydantic takes it for a finding about the key.
    """


class ImageError(AuditError):
    """A picture cannot be read, or is larger than the limits allow."""


class ModelError(AuditError):
    """A model cannot be found, is not of a supported kind, or cannot run as asked."""


class CaptureError(AuditError):
    """A hook did not see what it must see; figures drawn from it would be wrong."""


class BaselineError(AuditError):
    """A baseline cannot be read, compared or accepted."""


class RunError(AuditError):
    """A run folder is missing, incomplete or of another format."""


class Undefined(ValueError):
    """A metric has no value for this input; the message says why.

    No :class:`AuditError`: the reason is stored in the value's place, and the audit goes on.
    """


_MANY = 40
"""More choices than this are not listed."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A clause that names the valid choice closest to ``name``, or all of them.

    >>> nearest("entrpy", ["mass", "entropy"])
    "did you mean 'entropy'?"
    >>> nearest("zzz", ["mass", "entropy"])
    'choose from: entropy, mass'
    """
    known = sorted(choices)
    close = get_close_matches(name, known, n=1, cutoff=0.65)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(known) <= _MANY:
        return f"choose from: {', '.join(known)}"
    some = get_close_matches(name, known, n=5, cutoff=0.0)
    return f"of {len(known)} choices the nearest are {', '.join(some)}"
