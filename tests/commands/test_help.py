"""The help of every command shows examples, and they are commands that it takes."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from audit.commands.main import app

# What click calls a group, whichever click typer brings.
GROUP: Any = typer.main.get_command(app)
EXAMPLE = re.compile(r"^ *Example: audit (.+?) *$", re.MULTILINE)


def shown(*command: str) -> str:
    """The help as a terminal of 80 columns shows it; a longer example would be cut in two."""
    ran = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert ran.exit_code == 0
    return ran.output


def check(example: str, name: str) -> None:
    """Parse the example as the command line does, up to running it."""
    given = shlex.split(example)
    assert given[0] == name
    command = GROUP.commands[name]
    with GROUP.make_context("audit", list(given)) as root:
        if given[1:] != ["--help"]:
            command.make_context(name, given[1:], parent=root)


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_the_help_of_each_command_has_an_example_that_it_takes(name: str) -> None:
    examples = EXAMPLE.findall(shown(name))
    assert examples, (
        f"audit {name} --help has no example: end the docstring with a paragraph of its own, "
        f"`Example: audit {name} ...`, of at most 78 characters"
    )
    for example in examples:
        check(example, name)


def test_the_help_of_audit_itself_has_examples_that_it_takes() -> None:
    examples = EXAMPLE.findall(shown())
    assert examples
    for example in examples:
        check(example, shlex.split(example)[0])


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_the_help_of_a_command_shows_no_types_of_python(name: str) -> None:
    """``<bool>`` after a switch looks like a value that it takes, and ``<list[str]>`` like one."""
    told = shown(name)
    assert not re.findall(r"<\w[^>]*>", told)
    assert re.search(r"--help +Show", told)


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_nothing_in_the_help_of_a_command_is_taken_for_markup(name: str) -> None:
    """rich leaves out ``[@REVISION]``: what stands in square brackets there is a style."""
    for each in GROUP.commands[name].params:
        assert not re.search(r"\[[a-z@#/]", each.help or ""), each.name


def test_an_example_with_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --al"):
        check("report audit-run --al", "report")
