"""Decides which of the files that pytest finds are case files, and reports if there were none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import CaseError, ProjectError
from audit.base.places import named_from
from audit.cases.discovery import DEFAULT, SUFFIXES, Pattern, holds_cases, parse, unmatched
from audit.cases.phrases import told
from audit.cases.project import keys_of
from audit.plugin.options import asked_for, read_language, root_of

_NAMED = 3
"""How many files a line names before it only counts the rest."""

_LOOKED_AT = 50
"""If nothing at all was collected, this many files that match no pattern are searched for cases."""


class CaseFiles:
    """The case files of a session.

    Attributes:
        taken: the collected files by real path, so that links do not collect one twice.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.taken: dict[str, Path] = {}
        self._config = config
        self._root = root_of(config)
        self._patterns = _patterns(config, self._root)
        self._configured = config.getini("audit_cases") is not None
        self._without_key: list[str] = []
        self._unmatched: list[str] = []

    def takes(self, path: Path, *, named: bool) -> bool:
        """Whether a file is a case file that was not collected yet.

        Args:
            named: whether the command line names this file; then it need not match a pattern.
        """
        suffix = path.suffix.lower()
        if suffix == ".py":
            return False
        pattern = next((p for p in self._patterns if p.matches(path)), None)
        if pattern is None and not (named and suffix in SUFFIXES):
            if suffix in SUFFIXES:
                self._unmatched.append(str(path))
            return False
        if not (pattern is not None and pattern.names_a_file) and not holds_cases(path):
            self._without_key.append(str(path))
            return False
        return self.taken.setdefault(os.path.realpath(path), path) == path

    def warn(self) -> None:
        """Warn about configured patterns that match no file, since cases may be missing."""
        if self._configured:
            for sentence in unmatched(self._patterns):
                self._config.issue_config_time_warning(
                    pytest.PytestConfigWarning(
                        f"audit_cases: {told(sentence, read_language(self._config))}"
                    ),
                    stacklevel=2,
                )

    def to_dict(self) -> dict[str, Any]:
        """What an xdist worker sends to the controller."""
        return {
            "taken": [str(path) for path in self.taken.values()],
            "without_key": self._without_key,
            "unmatched": self._unmatched,
        }

    def receive(self, sent: Mapping[str, Any]) -> None:
        """Take over what a worker sent; all workers collect the same files."""
        self.taken = {os.path.realpath(path): Path(path) for path in sent["taken"]}
        self._without_key, self._unmatched = sent["without_key"], sent["unmatched"]

    def line(self, *, nothing: bool) -> str:
        """What to say if the user wanted cases and none was found; otherwise empty.

        Args:
            nothing: whether the session collected no item of any kind.
        """
        if self.taken or self._only_modules():
            return ""
        missed = []
        if nothing:
            missed = [p for p in self._unmatched[:_LOOKED_AT] if holds_cases(Path(p))]
        if not (missed or asked_for(self._config) or self._in_reach(nothing=nothing)):
            return ""
        written = " ".join(pattern.written for pattern in self._patterns) or "(nothing)"
        line = f"audit: no case was collected: audit_cases is {written}, from root {self._root}"
        if missed:
            line += f"; no pattern matches {_listed(missed)}"
        if self._without_key:
            line += f"; without a key 'cases': {_listed(self._without_key)}"
        return line

    def _only_modules(self) -> bool:
        """Whether the command line names nothing but modules, such as the checks of an adapter."""
        at, written = self._config.invocation_params.dir, self._config.args
        named = [argument.partition("::")[0] for argument in written]
        return self._config.getoption("pyargs") and not any((at / each).exists() for each in named)

    def _in_reach(self, *, nothing: bool) -> bool:
        """Whether the command line covers a folder where case files would be.

        The default patterns apply to every project, so for them it must name their folder.
        """
        if not (self._configured or nothing):
            return False
        at = self._config.invocation_params.dir
        for argument in self._config.args:
            path = Path(os.path.normpath(at / argument.partition("::")[0]))
            for pattern in self._patterns:
                place = pattern.folder
                if path.suffix != ".py" and path.is_relative_to(place):
                    return True
                if self._configured and place.is_relative_to(path):
                    return True
        return False


def _patterns(config: pytest.Config, root: Path) -> tuple[Pattern, ...]:
    try:
        written = config.getini("audit_cases")
        if written is None:
            return parse(DEFAULT, root)
        # pytest splits words like a shell, which removes backslashes.
        raw = keys_of(config.inipath).get("audit_cases") if config.inipath else None
        return parse([raw] if isinstance(raw, str) and "\\" in raw else written, root)
    except (CaseError, ProjectError, ValueError, pytest.UsageError) as error:
        where = f"{config.inipath or 'the configuration'}: audit_cases"
        raise pytest.UsageError(f"{where}: {told(str(error), read_language(config))}") from None


def _listed(paths: list[str]) -> str:
    some = ", ".join(named_from(Path(path), Path.cwd()) for path in paths[:_NAMED])
    more = len(paths) - _NAMED
    return some if more <= 0 else f"{some} and {more} more"
