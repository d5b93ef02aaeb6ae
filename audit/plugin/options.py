"""Reads the plugin's settings from its options and from the keys in pytest's configuration."""

from __future__ import annotations

import math
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.base.errors import CaseError, ModelError
from audit.base.languages import CHOICES, Language, choice_of
from audit.base.settings import DTYPES, MOST_THREADS, Limits, Settings
from audit.cases.discovery import DEFAULT
from audit.cases.phrases import VARIABLE, chosen_language

OPTIONS = {
    "model": (
        "reference",
        "reference, shortcut, reference-chat, a checkpoint folder, a ModelScope id[@REVISION], "
        "hf:FOLDER, hf:ORG/NAME[@REVISION], openai:URL#MODEL, or what else `audit model --list` "
        "shows",
    ),
    "device": ("auto", "auto, cpu, cuda or cuda:N"),
    "dtype": ("float32", "float32 or bfloat16"),
    "engine": ("", "for OFA: fast (the default), or reference for modelscope's own passes"),
    "asking": ("", "for chat models and matchers: a file that says how they are asked"),
    "requests": ("", "for served models: how many questions the server is asked at once (4)"),
    "key": ("", "for served models: the environment variable that holds the key (OPENAI_API_KEY)"),
    "batch-size": ("auto", "cases that the model answers at a time, or auto"),
    "threads": ("auto", "threads of torch in each process, or auto"),
    "baselines": ("", "folder of accepted baselines (default: baselines/<model name>)"),
    "min-cases": ("0", "number of cases that a session must audit; with fewer it fails"),
    "run-dir": ("", "folder to write the run into (default: audit-runs/<time>)"),
    "gallery": ("failed", "failed or all: which cases the gallery shows with all their maps"),
    "language": (
        "auto",
        "auto, en or zh: language of the gallery (auto: its reader's) and of messages about case "
        f"files (auto: ${VARIABLE}, or en)",
    ),
    "summary": ("", "Markdown file for the summary (default: $GITHUB_STEP_SUMMARY, if set)"),
    "suite-gate": ("on", "on or off: whether a shift over all cases fails the session"),
    "suite-alpha": ("0.05", "suite-level gate: significance level after correction"),
    "suite-effect": ("0.5", "suite-level gate: smallest mean change that counts, in tolerances"),
    "omnibus-limit": (
        "auto",
        "suite-level gate: largest mean squared move of all figures, in noise floors, from "
        "baselines of other weights; auto for what harmless conditions give",
    ),
}  # fmt: skip
"""By name: the default, and the help text."""

_OF_SOME = {
    "engine": "engines",
    "asking": "asking file",
    "requests": "requests",
    "key": "key",
}
"""Options that only some kinds of models have, and what the others have not."""

_CHOICES = {
    "dtype": DTYPES,
    "gallery": ("failed", "all"),
    "language": CHOICES,
    "suite-gate": ("on", "off"),
}


def add_options(parser: pytest.Parser) -> None:
    """Register the options, each prefixed with ``audit``, and their keys in the configuration."""
    group = parser.getgroup("audit", "audit of visual entailment models")
    for name, (default, text) in OPTIONS.items():
        group.addoption(f"--audit-{name}", metavar=name.upper(), default=None, help=text)
        parser.addini(_key(name), f"{text} (--audit-{name})", default=default)
    group.addoption(
        "--audit-update",
        choices=("new", "changed", "all"),
        default="",
        help="accept baselines from this session: for cases without one, for changed ones, or all",
    )
    group.addoption(
        "--audit-update-force",
        action="store_true",
        help="allow --audit-update even if the environment variable CI is set",
    )
    parser.addini(
        "audit_cases", f"glob patterns of case files, from root ({' '.join(DEFAULT)})", "args", None
    )


def read_settings(config: pytest.Config) -> Settings:
    """Read the settings from the command line, or else from the configuration file.

    Raises:
        pytest.UsageError: an option does not allow its value, or an update was requested under CI.
    """
    update = config.getoption("--audit-update")
    if update and _in_ci() and not config.getoption("--audit-update-force"):
        raise pytest.UsageError(
            "--audit-update is refused where CI is set: a pipeline must not accept its own "
            "baselines (override: --audit-update-force)"
        )
    for name, choices in _CHOICES.items():
        if value_of(config, name) not in choices:
            raise _refused(config, name, " or ".join(choices))
    size, threads = _count(config, "batch-size"), _count(config, "threads", MOST_THREADS)
    limits = Limits(
        _level(config, "suite-alpha"),
        _number(config, "suite-effect"),
        None if value_of(config, "omnibus-limit") == "auto" else _number(config, "omnibus-limit"),
    )
    fewest = value_of(config, "min-cases")
    if re.fullmatch("[0-9]{1,9}", fewest) is None:
        raise _refused(config, "min-cases", "a number from 0 on")
    worker, model = getattr(config, "workerinput", None), _model(config)
    return Settings(
        model=model,
        device=value_of(config, "device"),
        dtype=value_of(config, "dtype"),
        batch_size=size or 0,
        baselines=path_of(config, "baselines"),
        root=root_of(config),
        min_cases=int(fewest),
        update=update,
        run_folder=Path(worker["audit_run_dir"]) if worker is not None else _run_folder(config),
        run_id=worker["audit_run_id"] if worker is not None else secrets.token_hex(8),
        suite=value_of(config, "suite-gate") == "on" and not update,
        limits=limits,
        everything=value_of(config, "gallery") == "all",
        language=choice_of(value_of(config, "language")),
        worker=int(worker["workerid"].removeprefix("gw")) if worker is not None else None,
        workers=worker["workercount"] if worker is not None else 1,
        threads=threads,
        options=_options(config, model),
    )


def read_language(config: pytest.Config) -> Language:
    """The language of messages about case files.

    Raises:
        pytest.UsageError: there are no messages in it.
    """
    asked = value_of(config, "language")
    if asked not in CHOICES:
        raise _refused(config, "language", " or ".join(CHOICES))
    try:
        return chosen_language(choice_of(asked))
    except CaseError as error:
        raise pytest.UsageError(str(error)) from None


def runs_nothing(config: pytest.Config) -> bool:
    """Whether pytest only lists what it would run."""
    return any(config.getoption(name, False) for name in ("collectonly", "setuponly", "setupplan"))


SUMMARY = "## Audit "
"""Every summary that audit writes begins like this."""


def outdate_summary(config: pytest.Config) -> None:
    """Mark the summary of an earlier session as failed, in case this session is killed."""
    path = path_of(config, "summary")
    try:
        if path is None or not path.is_file():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            ours = file.read(len(SUMMARY)) == SUMMARY
        if ours:
            path.write_text(f"{SUMMARY}failed\n\nThe session did not come to its end.\n")
    except OSError:
        return  # writing the summary later reports what is wrong


def _in_ci() -> bool:
    """Whether this is a CI pipeline; all of them set this variable."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "f", "false", "n", "no", "off")


def value_of(config: pytest.Config, name: str) -> str:
    """The value of an option from the command line, the configuration file, or its default."""
    given = config.getoption(f"--audit-{name}")
    return str(given if given is not None else config.getini(_key(name)))


def path_of(config: pytest.Config, name: str) -> Path | None:
    """The path that an option gives, or None if it is not given.

    On the command line it is relative to the working directory, in the configuration to root.
    """
    given = value_of(config, name)
    on_command_line = config.getoption(f"--audit-{name}") is not None
    base = config.invocation_params.dir if on_command_line else root_of(config)
    return Path(os.path.normpath(base / Path(given).expanduser())) if given else None


def asked_for(config: pytest.Config) -> bool:
    """Whether the command line has one of audit's options, so that the user expects cases."""
    names = [*(f"--audit-{name}" for name in OPTIONS), "--audit-update"]
    return any(config.getoption(name) not in (None, "") for name in names)


def root_of(config: pytest.Config) -> Path:
    """pytest's root, to which patterns of case files and paths in the configuration are relative.

    pytest looks for it before it knows this plugin's options. Without a configuration file it takes
    the folder of ``--audit-model FOLDER`` for a folder of tests. So in that case the search is done
    again, as pytest does it, but with the real arguments.
    """
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        return Path(worker["audit_root"])
    at = config.invocation_params.dir
    if config.inipath or config.getoption("rootdir") or (config.rootpath / "setup.py").exists():
        return config.rootpath
    asked = [at / argument.partition("::")[0] for argument in config.args]
    places = [path if path.is_dir() else path.parent for path in asked]
    common = Path(os.path.commonpath([at, *map(os.path.normpath, places)]))
    return at if common == Path(common.anchor) else common


def _key(name: str) -> str:
    return f"audit_{name.replace('-', '_')}"


def _refused(config: pytest.Config, name: str, needed: str) -> pytest.UsageError:
    where = f"--audit-{name}"
    if config.getoption(where) is None:
        where = f"{config.inipath or 'the configuration'}: {_key(name)}"
    return pytest.UsageError(f"{where}: {value_of(config, name)!r} is not {needed}")


def _model(config: pytest.Config) -> str:
    """The model; a folder as an absolute path, to be found from any working directory."""
    model, folder = value_of(config, "model"), path_of(config, "model")
    if folder is None or not folder.is_dir():
        return model
    from audit.models.registry import is_scheme  # noqa: PLC0415  heavy, and most name no folder

    return model if is_scheme(model) else str(folder)


def _options(config: pytest.Config, model: str) -> dict[str, str]:
    """The given options that only some kinds of models have."""
    given = {name: value_of(config, name) for name in _OF_SOME if value_of(config, name)}
    if not given:
        return {}
    if "asking" in given:
        given["asking"] = str(path_of(config, "asking"))
    from audit.models.registry import options_of  # noqa: PLC0415  heavy, and most give none

    try:
        taken = options_of(model)
    except ModelError:
        return given  # loading the model reports what is wrong with it
    for name, value in given.items():
        choices = taken.get(name)
        if choices is None:
            raise _refused(
                config, name, f"for {model}, a kind of model that has no {_OF_SOME[name]}"
            )
        if choices and value not in choices:
            raise _refused(config, name, " or ".join(choices))
    return given


def _run_folder(config: pytest.Config) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    unnamed = root_of(config) / "audit-runs" / f"{stamp}-{secrets.token_hex(2)}"
    return path_of(config, "run-dir") or unnamed


def _count(config: pytest.Config, name: str, most: int | None = None) -> int | None:
    """A positive whole number, or None for ``auto``."""
    given = value_of(config, name)
    if given == "auto":
        return None
    known = re.fullmatch("0*[1-9][0-9]{0,8}", given)
    if known is None or int(given) > (most or int(given)):
        limit = "a positive number" if most is None else f"a number from 1 to {most}"
        raise _refused(config, name, f"auto or {limit}")
    return int(given)


def _number(config: pytest.Config, name: str) -> float:
    number = _read(config, name)
    if not 0 <= number < math.inf:
        auto = "auto or " if OPTIONS[name][0] == "auto" else ""
        raise _refused(config, name, f"{auto}a number from 0 on")
    return number


def _level(config: pytest.Config, name: str) -> float:
    """A level of significance; at 0 no test could ever fail, and at 1 every one would."""
    level = _read(config, name)
    if not 0 < level < 1:
        raise _refused(config, name, "a number above 0 and below 1")
    return level


def _read(config: pytest.Config, name: str) -> float:
    try:
        return float(value_of(config, name))
    except ValueError:
        return math.nan
