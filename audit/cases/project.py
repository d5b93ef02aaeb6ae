"""Find the project in which a command is called: pytest's root, and its configuration file.

The rules are those of pytest for a call without arguments, from "Initialization: determining
rootdir and configfile" in its reference.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.base.errors import CaseError, ProjectError
from audit.base.places import named_from
from audit.cases.discovery import DEFAULT, Pattern, parse

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class Project:
    """A project: its root, its configuration file if it has one, and the file's keys.

    Attributes:
        root: relative to the working directory if it lies below it.
    """

    root: Path
    file: Path | None = None
    keys: Keys = field(default_factory=dict)

    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns of its case files.

        Raises:
            ProjectError: the key ``audit_cases`` does not hold valid patterns.
        """
        written = self.keys.get("audit_cases", list(DEFAULT))
        try:
            if isinstance(written, str):
                # The text is split as a shell splits it, which would remove backslashes.
                written = [written] if "\\" in written else shlex.split(written)
            if not isinstance(written, list) or not all(isinstance(w, str) for w in written):
                raise CaseError("patterns are needed here")
            return parse(written, self.root)
        except (CaseError, ValueError) as error:
            raise ProjectError(f"{self.file}: audit_cases: {error}") from None

    @property
    def accepted(self) -> Path:
        """Its folder of accepted baselines, or the folder with a subfolder for each model."""
        return self._configured("audit_baselines") or self.root / "baselines"

    def baselines_of(self, model: str, name: str) -> Path:
        """The folder of a model's baselines: the configured one if it is this model's, or by name.

        Args:
            model: the model as the user asked for it.
            name: the model's short name.
        """
        configured = self.keys.get("audit_model") or "reference"
        mine = model == configured or Path(model).absolute() == (self.root / configured).absolute()
        return (mine and self._configured("audit_baselines")) or self.root / "baselines" / name

    def _configured(self, key: str) -> Path | None:
        written = self.keys.get(key) or None
        if written is not None and not isinstance(written, str):
            raise ProjectError(f"{self.file}: {key}: a folder is needed here")
        return None if written is None else self.root / Path(written).expanduser()


def project_at(here: Path | None = None) -> Project:
    """The project to which the working directory, or ``here``, belongs.

    Raises:
        ProjectError: a configuration file cannot be read.
    """
    here = Path.cwd() if here is None else here.absolute()
    root, file, keys = _found(here)
    return Project(Path(named_from(root, Path.cwd())), file, keys)


def keys_of(file: Path) -> Keys:
    """The keys of a configuration file of any name; none if it does not configure pytest.

    Raises:
        ProjectError: it cannot be read.
    """
    by_suffix = {".ini": "tox.ini", ".cfg": "setup.cfg", ".toml": "pyproject.toml"}
    reader = _READERS.get(file.name) or _READERS.get(by_suffix.get(file.suffix, ""))
    return (_read(file, reader) if reader else None) or {}


def _found(here: Path) -> tuple[Path, Path | None, Keys]:
    bare: Path | None = None
    for folder in (here, *here.parents):
        for name, keys_of in _READERS.items():
            path = folder / name
            if path.is_file():
                keys = _read(path, keys_of)
                if keys is not None:
                    return folder, path, keys
                if name == "pyproject.toml" and bare is None:
                    bare = path
    if bare is not None:
        return bare.parent, bare, {}
    for folder in (here, *here.parents):
        if (folder / "setup.py").is_file():
            return folder, None, {}
    return here, None, {}


def _read(path: Path, keys_of: Callable[[Path], Keys | None]) -> Keys | None:
    try:
        return keys_of(path)
    except (OSError, ValueError) as error:  # TOML's and UTF-8's errors are ValueErrors
        raise ProjectError(f"{path}: cannot be read: {error}") from None


def _ini(section: str, *, always: bool = False) -> Callable[[Path], Keys | None]:
    def keys_of(path: Path) -> Keys | None:
        import iniconfig  # noqa: PLC0415  pytest reads these files with it

        try:
            read = iniconfig.IniConfig(str(path))
        except iniconfig.ParseError as error:
            raise ValueError(str(error)) from None
        if section in read:
            return dict(read[section].items())
        return {} if always else None

    return keys_of


def _pytest_toml(path: Path) -> Keys | None:
    return _table(tomllib.loads(path.read_text(encoding="utf-8")), "pytest") or {}


def _pyproject(path: Path) -> Keys | None:
    ours = _table(_table(tomllib.loads(path.read_text(encoding="utf-8")), "tool"), "pytest")
    if "ini_options" in ours:
        return _table(ours, "ini_options")
    return ours or None


def _table(data: Keys, key: str) -> Keys:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


_READERS: Mapping[str, Callable[[Path], Keys | None]] = {
    "pytest.toml": _pytest_toml,
    ".pytest.toml": _pytest_toml,
    "pytest.ini": _ini("pytest", always=True),
    ".pytest.ini": _ini("pytest", always=True),
    "pyproject.toml": _pyproject,
    "tox.ini": _ini("pytest"),
    "setup.cfg": _ini("tool:pytest"),
}
"""By name, in pytest's order: gives the keys, or None if the file does not configure pytest."""
