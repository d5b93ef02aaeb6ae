"""Which files hold cases: one matcher for pytest and the commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from audit.base.errors import CaseError
from audit.cases.discovery import find_files, holds_cases, parse, unmatched
from audit.gate.review import all_cases

CASE = "{id: %s, image: a.png, text: birds, expect: {label: yes}}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Case files at several depths, and one that pytest would not look for."""
    for place in ("top", "cases/one", "cases/two.yml", "cases/deep/three", "cases/deep/er/four",
                  "more/five.audit", "cases/.hidden/six", "build/seven"):  # fmt: skip
        path = tmp_path / (place if place.endswith(".yml") else f"{place}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"cases:\n  - {CASE % path.stem.split('.')[0]}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("cases/*.yaml", "one"),
        ("./cases/*.yaml", "one"),
        ("cases//*.y*ml", "one two"),
        ("cases/**/*.yaml", "four one three"),
        ("cases/*/*.yaml", "three"),
        ("cases/**/er/*.yaml", "four"),
        ("cases/**", "four one three two"),
        ("**/*.audit.yaml", "five.audit"),
        ("*.yaml", "top"),
        ("**/*.yaml", "five.audit four one three top"),
        ("cases/[ot]*.y[!a]*", "two"),
        ("cases/?ne.yaml", "one"),
        ("Cases/*.yaml", ""),
        ("build/*.yaml", "seven"),
        ("cases/one.yaml", "one"),
    ],
)
def test_a_pattern_means_what_it_means_to_pathlib_and_pytest_finds_the_same(
    tree: Path, pattern: str, names: str
) -> None:
    (parsed,) = parse([pattern], tree)
    found = find_files([parsed])
    assert " ".join(sorted(path.stem for path in found)) == names
    for path in found:
        assert parsed.matches(path)
    # Before Python 3.13 a final ** gives folders only.
    plain = f"{pattern}/*" if pattern.endswith("**") else pattern
    expected = {path for path in tree.glob(plain) if path.is_file()}
    left = {tree / "cases/.hidden/six.yaml"}
    if pattern.startswith("*"):
        left.add(tree / "build/seven.yaml")
    assert set(found) == expected - left
    # What is matched does not depend on how the search went.
    every = [path for path in tree.rglob("*.y*ml") if parsed.matches(path)]
    assert set(every) == expected


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "it names no file"),
        (".", "it names no file"),
        ("/", "it names no file"),
        ("a\0b", "it names no file"),
        ("cases\\*.yaml", "write / between folders"),
        ("../cases/*.yaml", "'..' is not allowed; patterns are relative to "),
        ("cases/../*.yaml", "'..' is not allowed"),
        ("cases/**.yaml", "write '**/*.yaml'"),
        ("cases/x**/*.yaml", "write '**/x*'"),
    ],
)
def test_a_pattern_that_is_none_is_refused_with_what_to_write(
    tmp_path: Path, pattern: str, why: str
) -> None:
    with pytest.raises(CaseError) as told:
        parse([pattern], tmp_path)
    assert why in str(told.value)
    assert repr(pattern) in str(told.value)


def test_an_absolute_pattern_finds_its_files_wherever_it_is_asked(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    for pattern in (f"{tree}/cases/**/*.yaml", f"{tree}/cases/one.yaml"):
        found = find_files(parse([pattern], Path("/nowhere")))
        assert tree / "cases" / "one.yaml" in found


def test_a_folder_with_a_space_and_a_linked_checkout_are_found(tree: Path) -> None:
    (tree / "cases").rename(tree / "my cases")
    link = tree.parent / "link"
    link.symlink_to(tree)
    (pattern,) = parse(["my cases/*.yaml"], link)
    assert [path.name for path in find_files([pattern])] == ["one.yaml"]
    assert pattern.matches(tree / "my cases" / "one.yaml")
    assert pattern.matches(link / "my cases" / "one.yaml")


def test_two_patterns_and_links_give_each_file_once_and_loops_end(tree: Path) -> None:
    (tree / "cases" / "again.yaml").symlink_to("one.yaml")
    (tree / "cases" / "deep" / "loop").symlink_to("..")
    (tree / "cases" / "gone.yaml").symlink_to("nothing.yaml")
    found = find_files(parse(["cases/*.yaml", "cases/**/*.yaml"], tree))
    assert [path.relative_to(tree).as_posix() for path in found] == [
        "cases/again.yaml", "cases/deep/er/four.yaml", "cases/deep/three.yaml",
    ]  # fmt: skip


def test_a_pattern_that_no_file_matches_is_told_with_its_root_and_a_hint(tree: Path) -> None:
    told = unmatched(parse(["cases/*.yaml", "csaes/*.yaml", "cases", "cases/*.{yaml,yml}"], tree))
    assert [sentence.split(" of case files ")[0] for sentence in told] == [
        "the pattern 'csaes/*.yaml'", "the pattern 'cases'", "the pattern 'cases/*.{yaml,yml}'",
    ]  # fmt: skip
    assert all(f"matches no file in {tree}" in sentence for sentence in told)
    assert told[1].endswith("it is a folder: write 'cases/**/*.yaml'")
    assert told[2].endswith("write two patterns")


@pytest.mark.parametrize(
    "text",
    [
        "cases:\n  - {}\n",
        "cases: []\n",
        "cases:",
        "\ufeffcases:\n  - {}\n",
        "# a comment\n\n%YAML 1.2\n---\ncases:\n",
        "defaults: {tags: [a]}\ncases:\r\n",
        "  defaults: {}\n  cases: []\n",
        "'cases': []\n",
        '"cases" : []\n',
        "? cases\n: []\n",
        "{cases: []}\n",
        '{\n  "cases": [\n]}\n',
        "--- {cases: []}\n",
        "&all cases: []\n",
        "<<<<<<< HEAD\ncases:\n=======\n",
        # Ours without the key: told as the mistake that it is.
        f"case:\n  - {CASE % 'a'}\n",
        f"Cases:\n  - {CASE % 'a'}\n",
        f"- {CASE % 'a'}\n",
        f"examples:\n  more: [{CASE % 'a'}]\n",
        f"case:\n  - {CASE % 'a'}\n  - {{broken\n",
    ],
)
def test_a_file_with_the_key_or_with_a_case_in_it_is_a_case_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    assert holds_cases(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# cases:\n",
        "other: 1\n",
        "data:\n  cases: [1]\n",
        "- cases: 1\n",
        "text: |\n  cases: 1\n",
        "cases_of: 1\nshowcases: 2\n",
        "cases:none\n",
        "services:\n  web: {image: nginx, text: hello}\n",
        "- {image: a.png, text: a caption of a data set}\n",
        "not yaml: [\n",
        "[" * 100_000,
    ],
)
def test_somebody_elses_file_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert not holds_cases(path)


def test_a_case_file_that_cannot_be_decoded_is_one_so_that_its_error_is_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("cases:\n  - {}\n".encode("utf-16"))
    assert holds_cases(path)
    path.write_bytes(b"cases:\n  - {text: \xe9}\n")
    assert holds_cases(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    assert not holds_cases(path)


def test_the_commands_leave_out_what_holds_no_cases_and_name_what_they_looked_for(
    tree: Path,
) -> None:
    from PIL import Image

    for folder in ("cases", "cases/deep"):
        Image.new("RGB", (4, 4)).save(tree / folder / "a.png")
    (tree / "cases" / "pipeline.yaml").write_text("stages: [build]\n")
    assert [case.id for case in all_cases(["cases/*.yaml"], tree)] == ["one"]
    with pytest.raises(CaseError, match=r"pipeline.yaml.* this key is required"):
        all_cases(["cases/pipeline.yaml"], tree)
    with pytest.raises(CaseError, match=f"no case file matches nothing/\\*.yaml in {tree}"):
        all_cases(["nothing/*.yaml"], tree)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_told_and_not_passed_over(tree: Path) -> None:
    (tree / "cases" / "one.yaml").chmod(0)
    with pytest.raises(CaseError, match="cannot be read"):
        all_cases(["cases/*.yaml"], tree)


def test_looking_at_a_file_of_cases_does_not_parse_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)  # importing it fails
    assert holds_cases(tree / "cases" / "one.yaml")
