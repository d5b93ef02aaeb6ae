"""Names of cases and their variants, and the files that are named by them.

A variant is named like one of pytest's parameters, ``birds[mirror]``. Brackets are wildcards in
shells, globs and ``.gitignore``, so its files are called ``birds+mirror`` instead.
"""

from __future__ import annotations

import re

CASE = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""The form of a case's id."""

VARIANT = r"[a-z0-9][a-z0-9-]*"
"""The form of a variant's name: lower case, since some systems ignore case in file names."""

LONGEST_CASE, LONGEST_VARIANT = 100, 40

_BOTH = re.compile(rf"({CASE})\[({VARIANT})\]")
_FILE = re.compile(rf"({CASE})\+({VARIANT})")


def variant_name(case: str, variant: str) -> str:
    """The name of a variant of ``case``.

    >>> variant_name("birds", "mirror")
    'birds[mirror]'
    """
    return f"{case}[{variant}]"


def made_from(name: str) -> str:
    """The case that a variant is made from; empty if ``name`` is not that of a variant.

    >>> made_from("birds[mirror]"), made_from("birds")
    ('birds', '')
    """
    both = _BOTH.fullmatch(name)
    return both[1] if both else ""


def stem_of(name: str) -> str:
    """The name of a case's files, without their suffix.

    >>> stem_of("birds"), stem_of("birds[mirror]")
    ('birds', 'birds+mirror')
    """
    return _BOTH.sub(r"\1+\2", name) if _BOTH.fullmatch(name) else name


def name_of(stem: str) -> str:
    """The case whose files are called ``stem``, the inverse of :func:`stem_of`.

    >>> name_of("birds+mirror"), name_of("birds")
    ('birds[mirror]', 'birds')
    """
    both = _FILE.fullmatch(stem)
    return variant_name(both[1], both[2]) if both else stem


def slug(name: str) -> str:
    """What must be unique about a name: its letters and digits, whatever their case.

    >>> slug("Two_Birds"), slug("two-birds[mirror]"), slug("two-birds-mirror")
    ('two-birds', 'two-birds+mirror', 'two-birds-mirror')
    """
    parts = stem_of(name).lower().split("+")
    return "+".join(re.sub(r"[^a-z0-9]+", "-", part).strip("-") for part in parts)
