"""Case files as people and merges leave them: one message for each mistake, and no traceback."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import pytest

from audit.base.errors import CaseError
from audit.base.geometry import parse_box
from audit.base.yamlfile import MAX_BYTES
from audit.cases.loading import load_cases
from tests.case_files import load, problems

PLAIN = """\
defaults: {map: {layers: last}, tags: [guide], drift: {mass: 0.1}}
cases:
  - id: birds
    image: a.png
    text: there are two birds
    premise: it is a garden
    regions: {birds: [[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]}
    repeat: 2
    critical: true
    expect:
      label: yes
      probability: {min: 0.6}
      attention:
        - {metric: mass, region: birds, min: 0.4}
        - {metric: entropy, max: 0.9, map: {layers: "last:2", heads: [1, 3]}}
"""


def changed(old: str, new: str) -> str:
    assert PLAIN.count(old) >= 1
    return PLAIN.replace(old, new, 1)


TAGS = "!!bool, !!float, !!int, !!map, !!null, !!seq, !!str"
VALUES = [
    ("label: yes", "label: !!bool maybe", "x.yaml:11:7: cases[0].expect.label: 'maybe' is not !!bool: write true or false"),
    ("label: yes", "label: !!int yes", "x.yaml:11:7: cases[0].expect.label: 'yes' is not !!int: write 12"),
    ("label: yes", "label: !!float yes", "x.yaml:11:7: cases[0].expect.label: 'yes' is not !!float: write 0.5"),
    ("label: yes", "label: !!null yes", "x.yaml:11:7: cases[0].expect.label: 'yes' is not !!null: write null"),
    ("label: yes", "label: !!timestamp yes", f"x.yaml:11:7: cases[0].expect.label: the tag '!!timestamp' is not known; choose from: {TAGS}"),
    ("label: yes", "label: !!binary eWVz", f"x.yaml:11:7: cases[0].expect.label: the tag '!!binary' is not known; choose from: {TAGS}"),
    ("label: yes", "label: !!python/name:os.system", f"x.yaml:11:7: cases[0].expect.label: the tag '!!python/name:os.system' is not known; choose from: {TAGS}"),
    ("label: yes", "label: !!set {yes}", "x.yaml:11:7: cases[0].expect.label: the tag '!!set' is not known; did you mean '!!str'?"),
    ("label: yes", "label: !!str [yes]", "x.yaml:11:7: cases[0].expect.label: !!str does not fit what is written here, which is !!seq"),
    ("label: yes", 'label: "\\ud83d"', "x.yaml:11:7: cases[0].expect.label: half a character (the lone surrogate U+D83D): write the whole one"),
    ("birds: [[", '"b\\udc00": [[1, 1, 9, 9]], birds: [[', "x.yaml:7:15: cases[0].regions.b?: in this key: half a character (the lone surrogate U+DC00): write the whole one"),
    ("label: yes", 'label: "\\UFFFFFFFF"', "x.yaml:11:17: not YAML: found invalid Unicode character escape code"),
    ("[20, 10", f"[{'9' * 400}, 10", "x.yaml:7:46: cases[0].regions.birds[1][0]: a number of 400 digits; at most 15"),
    ("min: 0.4", f"min: {'9' * 5000}", "x.yaml:14:41: cases[0].expect.attention[0].min: a number of 5,000 digits; at most 15"),
    ("[20, 10", "[1e999, 10", "x.yaml:7:46: cases[0].regions.birds[1][0]: needs a finite number, but has inf"),
    ("[20, 10", "[.nan, 10", "x.yaml:7:46: cases[0].regions.birds[1][0]: needs a finite number, but has nan"),
    ("[20, 10", "[017, 10", "x.yaml:7:46: cases[0].regions.birds[1][0]: '017': readers of YAML differ on numbers that begin with 0; write 17, or put it in quotes if it is a text"),
    ("id: birds", "id: 08", "x.yaml:3:5: cases[0].id: '08': readers of YAML differ on numbers that begin with 0; write 8, or put it in quotes if it is a text"),
    *(
        ("[20, 10", f"[{written}, 10", f"x.yaml:7:46: cases[0].regions.birds[1][0]: '{written}' is read as a text; write the number in decimal digits, without quotes")
        for written in ("0x14", "0o24", "1_0", "1:30")
    ),
    ("min: 0.4", "min: '0,4'", "x.yaml:14:41: cases[0].expect.attention[0].min: '0,4' is read as a text; write the number: 0.4?"),
    ("[20, 10", "[null, 10", "x.yaml:7:46: cases[0].regions.birds[1][0]: a number is needed here"),
    ("[20, 10", "[true, 10", "x.yaml:7:46: cases[0].regions.birds[1][0]: a number is needed here"),
    ("min: 0.4", "min: true", "x.yaml:14:41: cases[0].expect.attention[0].min: a number is needed here, not true or false"),
    ("mass: 0.1", "mass: true", "x.yaml:1:56: defaults.drift.mass: a number is needed here, not true or false"),
    ("repeat: 2", "repeat: true", "x.yaml:8:5: cases[0].repeat: a number is needed here, not true or false"),
    ("layers: last", "temperature: true", "x.yaml:1:18: defaults.map.temperature: no key of a map is true or false"),
    ("critical: true", "critical: maybe", "x.yaml:9:5: cases[0].critical: true or false is needed here"),
    ("label: yes", "label: true", "x.yaml:11:7: cases[0].expect.label: text is needed here; put it in quotes if it looks like something else"),
    ("label: yes", "label: ~", "x.yaml:11:7: cases[0].expect.label: text is needed here; put it in quotes if it looks like something else"),
    ("two birds", "two birds #1 and #2", "x.yaml:5:5: cases[0].text: the text ends before '#1 and #2', which YAML takes for a comment; put the text in quotes, or a space after # if it is a comment"),
    ("a garden", "a garden\n      on route #66", "x.yaml:6:5: cases[0].premise: the text ends before '#66', which YAML takes for a comment; put the text in quotes, or a space after # if it is a comment"),
    ("id: birds", "? [a]\n    : b", "x.yaml:3:7: not YAML: a key must be a text"),
    ("id: birds", "? ''\n    : b", "x.yaml:3:7: not YAML: a key must be a text"),
    ("id: birds", "id: birds\n    \"a\\n::error::b\": 1", "x.yaml:4:5: cases[0].'a\\n::error::b': unknown key; choose from: critical, drift, expect, id, image, map, premise, regions, repeat, tags, text, truncate, variants, xfail"),
    ("label: yes", "label: *yes", "x.yaml:11:14: not YAML: found undefined alias 'yes'"),
    ("two birds", "two \x07birds", "x.yaml:5:25: not YAML: the character U+0007 is not allowed in a file"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), VALUES)
def test_a_value_that_is_none_is_told_with_its_place_and_what_to_write(
    folder: Path, old: str, new: str, said: str
) -> None:
    assert problems(folder, changed(old, new)) == [said]


BOXES = [
    ("[20.5, 10.2, 40.1, 30.0]", "lies outside the image: fractions are between 0.0 and 1.0; decimal pixels? round them: [20, 10, 40, 30]"),
    ("[20.5, 10, 40, 30]", "mixes pixels (integers) and fractions (decimals); use one; decimal pixels? round them: [20, 10, 40, 30]"),
    # 40 + 20 and 10 + 20 lie inside 80 x 40; 70 + 20 does not.
    ("[40, 10, 20, 20]", "is empty: right must exceed left, bottom top; x, y, width, height? write [40, 10, 60, 30]"),
    ("[0.7, 0.5, 0.2, 0.3]", "is empty: right must exceed left, bottom top; x, y, width, height? write [0.7, 0.5, 0.9, 0.8]"),
    ("[70, 10, 20, 20]", "is empty: right must exceed left, bottom top"),
    ("[0.1, 0.2, 1.3, 0.4]", "lies outside the image: fractions are between 0.0 and 1.0"),
    ("[200.5, 10.0, 300.0, 30.0]", "lies outside the image: fractions are between 0.0 and 1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("box", "said"), BOXES)
def test_a_box_in_another_notation_is_refused_with_a_hint(
    folder: Path, box: str, said: str
) -> None:
    text = changed("[20, 10, 40, 30]", box)
    assert problems(folder, text) == [
        f"x.yaml:7:45: cases[0].regions.birds[1]: the box {box} {said}"
    ]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("/nowhere/b.png", "/nowhere/b.png: no such picture"),
        ("FOLDER/b.png", "b.png: no such picture; did you mean 'a.png'?"),
        (f"{'b' * 300}.png", "cannot be read: File name too long; choose from: a.png"),
        ('"a\\0.png"', "the picture's name has a control character (U+0000)"),
        ('"\\udcff.png"', "half a character (the lone surrogate U+DCFF): write the whole one"),
        ("folder.png", "folder; choose from: a.png"),
        (".", "a folder"),
        ("pipe.png", "; choose from: a.png"),
        ("/dev/zero", "/dev/zero: "),
        ("loop.png", "Too many levels of symbolic links; choose from: a.png"),
        ("a.png/b.png", "a.png/b.png: no such picture"),
        ("' '", "the picture's name is empty"),
    ],
)
def test_an_image_that_is_no_picture_is_told_at_once(folder: Path, image: str, said: str) -> None:
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    started = time.monotonic()
    (line,) = problems(folder, changed("a.png", image.replace("FOLDER", str(folder))))
    assert line.startswith("x.yaml:4:5: cases[0].image: ")
    assert said in line
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "not a file that can be read, but a folder"),
        (os.mkfifo, "not a file that can be read, but a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "not a file that can be read, but a device"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "5,000,001 bytes, more than"),
        (lambda path: path.write_bytes(b"cases:\n - \xff"), "x.yaml:2:4: not UTF-8"),
        (lambda path: path.write_text(PLAIN, "utf-16"), "x.yaml:1:1: not UTF-8"),
        (lambda path: path.write_text(PLAIN + "---\n" + PLAIN), "x.yaml:16:1: not YAML: a second"),
        (lambda path: path.write_text("# nothing\n"), "x.yaml:1:1: the file is empty"),
        (lambda path: path.write_text("cases: []\n"), "1:1: cases: the list is empty; at least"),
        (lambda path: path.write_text("- a\n" * 500_000), "more than 400,000 keys and values"),
        (lambda path: path.write_text("a: " + "[" * 101), "x.yaml:1:103: not YAML: maximum rec"),
    ],
)
def test_a_file_that_is_no_case_file_is_one_message(tmp_path: Path, make, said: str) -> None:
    path = tmp_path / "x.yaml"
    make(path)
    with pytest.raises(CaseError, match=re.escape(said)):
        load_cases(path)


def test_tabs_for_spaces_are_told_where_they_stand(folder: Path) -> None:
    assert problems(folder, changed("    image", "\timage")) == [
        "x.yaml:4:1: not YAML: found character '\\t' that cannot start any token: a tab; indent with "
        "spaces"
    ]


LAYOUT = [
    ("    expect:", "   expect:", "x.yaml:10:4: not YAML: expected <block end>, but found '<block mapping start>': indent it as the lines that it belongs to, which begin in line 3"),
    ("two birds", "birds: two", "x.yaml:5:26: not YAML: mapping values are not allowed here: put a text with ': ' in quotes, or mend the indentation"),
    ("{min: 0.6}", "{min: 0.6", "x.yaml:13:16: not YAML: expected ',' or '}', but got ':': the bracket that opens in line 12 is not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), LAYOUT)
def test_a_layout_that_is_no_yaml_is_told_with_what_to_do(
    folder: Path, old: str, new: str, said: str
) -> None:
    assert problems(folder, changed(old, new)) == [said]


def test_a_region_with_one_bracket_is_one_mistake(folder: Path) -> None:
    boxes = "[[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]"
    assert problems(folder, changed(boxes, "[20, 10, 40, 30]")) == [
        "x.yaml:7:15: cases[0].regions.birds: a region is a list of boxes, each in its own brackets: "
        "[[left, top, right, bottom]]"
    ]


def test_a_key_that_is_indented_into_the_regions_is_told_so(folder: Path) -> None:
    text = "cases:\n  - id: a\n    image: a.png\n    text: b\n    regions:\n      expect: {label: yes}\n"
    assert problems(folder, text)[-1] == (
        "x.yaml:6:7: cases[0].regions.expect: a region is a list of boxes; if 'expect' is a key of the "
        "case, indent it less"
    )


def test_a_path_that_starts_above_the_case_file_is_told_without_that(folder: Path) -> None:
    assert problems(folder, changed("a.png", f"{folder.name}/a.png")) == [
        f"x.yaml:4:5: cases[0].image: {folder.name}/a.png: no such picture; paths start from the "
        "case file's folder: write 'a.png'"
    ]


def test_a_byte_order_mark_and_the_line_ends_of_windows_change_nothing(folder: Path) -> None:
    (plain,) = load(folder, PLAIN)
    (other,) = load(folder, b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode())
    assert other == plain


@pytest.mark.parametrize(
    "written",
    [
        "there are two birds  # of three",
        "there are two birds ## of three",
        "there are two birds #",
        "'there are two birds' #1",
        "there are two birds\n    # of three",
    ],
)
def test_a_comment_that_means_to_be_one_is_no_part_of_a_text(folder: Path, written: str) -> None:
    (case,) = load(folder, changed("there are two birds", written))
    assert case.text == "there are two birds"


def test_other_keys_may_have_comments_of_any_form(folder: Path) -> None:
    (case,) = load(folder, changed("id: birds", "id: birds #1"))
    assert case.id == "birds"


def test_mistakes_of_every_kind_are_told_in_one_go(folder: Path) -> None:
    other = PLAIN[PLAIN.index("  - id") :].replace("id: birds", "id: cats")
    text = (
        PLAIN.replace("a.png", "b.png").replace("label: yes", "label: !!bool maybe")
        + other.replace("a.png", "c.png").replace("[20, 10", "[70, 10")
        + "more: 1\n"
    )
    assert [line.split(": ")[1] for line in problems(folder, text)] == [
        "cases[0].image",
        "cases[0].expect.label",
        "cases[1].image",
        "more",
    ]


MERGED = """\
x-scene: &scene
  image: a.png
  expect: &wanted {label: yes}
x-sure: &sure {text: from sure, expect: {<<: *wanted, probability: {min: 0.9}}}
cases:
  - <<: *scene
    id: one
    text: there are two birds
  - {id: two, <<: [*sure, *scene]}
  - {<<: [*scene, *sure], id: three}
  - {<<: [{text: inline}, *scene], id: four}
"""


def test_merge_keys_and_keys_of_the_files_own_work(folder: Path) -> None:
    one, two, three, four = load(folder, MERGED)
    assert [c.text for c in (one, two, three, four)] == [
        "there are two birds", "from sure", "from sure", "inline",
    ]  # fmt: skip
    # What is merged first wins, and what a case writes itself wins over both.
    assert one.expect.probability is None
    assert two.expect.label == "yes"
    assert two.expect.probability.min == 0.9
    assert three.expect.probability is None


def test_a_mistake_in_what_is_merged_is_told_where_it_is_written(folder: Path) -> None:
    text = MERGED.replace("image: a.png", "imag: a.png")
    assert problems(folder, text)[0] == (
        "x.yaml:2:3: cases[0].imag: unknown key; did you mean 'image'?"
    )
    missing = problems(folder, MERGED.replace("image: a.png", "image: b.png"))[0]
    assert missing.startswith("x.yaml:2:3: cases[0].image: b.png: no such picture")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cases:\n  - {<<: 5}\n", "x.yaml:2:10: cases[0].<<: only mappings can be merged: one, or a list of them"),
        ("cases:\n  - {<<: [{id: a}, a]}\n", "x.yaml:2:20: cases[0].<<: only mappings can be merged: one, or a list of them"),
        ("cases:\n  - {<<: {id: a}, <<: {id: b}}\n", "x.yaml:2:19: not YAML: the key '<<' occurs twice (first in line 2)"),
        ("cases:\n  - {<<: {id: a, id: b}}\n", "x.yaml:2:18: not YAML: the key 'id' occurs twice (first in line 2)"),
        ("x-a: &a {<<: *a}\ncases: []\n", "x.yaml:1:6: not YAML: aliases expand without end"),
        ("cases:\n  - {'<<': {id: a}}\n", "x.yaml:2:6: cases[0].<<: unknown key; choose from: critical, drift, expect, id, image, map, premise, regions, repeat, tags, text, truncate, variants, xfail"),
        ("cases:\n  - {x-a: 1}\n", "x.yaml:2:6: cases[0].x-a: unknown key; choose from: critical, drift, expect, id, image, map, premise, regions, repeat, tags, text, truncate, variants, xfail"),
        ("y-a: 1\ncases: []\n", "x.yaml:1:1: y-a: unknown key; choose from: cases, defaults"),
    ],
)  # fmt: skip
def test_a_merge_that_is_none_is_told(folder: Path, text: str, said: str) -> None:
    assert said in problems(folder, text)


def test_merges_that_multiply_are_refused_in_time(folder: Path) -> None:
    bomb = "x-a: &a {k: 1}\n" + "".join(
        f"x-{n}: &{n} {{<<: [{', '.join([f'*{p}'] * 9)}]}}\n"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    started = time.monotonic()
    assert problems(folder, bomb)[0].endswith("aliases expand without end")
    assert time.monotonic() - started < 5


_PIECES = [
    "!!bool maybe", "!!int", "!!binary aGk=", "&a ", "*a", "<<: *a", "<<: 5", "{", "}", "[", "]",
    ": ", "- ", "\n", "\t", "#", "'", '"', "|", ">", "---\n", "null", "~", "true", "no", ".nan",
    "9" * 400, "0x1F", "017", "1_0", "-1", "0.5", "1e999", '"\\ud800"', '"\\0"', "\ufeff", "é鸟",
    "? ", "%YAML 1.1\n", "x-a: ", "birds", "x" * 300, "/dev/zero", "..", "!!python/name:os.system",
]  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """``text`` with one to four changes: pieces put in, taken out, doubled or exchanged."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text))
        stop = min(len(text), start + chance.choice([0, 1, 4, 20]))
        lines = text.split("\n")
        match chance.randrange(5):
            case 0:
                text = text[:start] + chance.choice(_PIECES) + text[start:]
            case 1:
                text = text[:start] + chance.choice(_PIECES) + text[stop:]
            case 2:
                text = text[:start] + text[stop:]
            case 3:
                text = text[:stop] + text[start:]
            case _:
                # A value for another: what people do most.
                place = chance.randrange(len(lines))
                key, colon, _ = lines[place].partition(": ")
                lines[place] = key + colon + chance.choice(_PIECES)
                text = "\n".join(lines)
        text = text or " "
    return text


@pytest.mark.parametrize("seed", range(8))
def test_no_mutated_case_file_raises_anything_but_a_case_error_or_takes_long(
    folder: Path, seed: int
) -> None:
    chance, slowest, refused = random.Random(seed), 0.0, 0
    place = re.compile(rf"{re.escape(str(folder))}/x\.yaml:\d+:\d+: ")
    for _ in range(250):
        text = mutated(chance.choice([PLAIN, MERGED]), chance)
        started, said = time.process_time(), ""
        try:
            load(folder, text.encode())
        except CaseError as error:
            refused, said = refused + 1, str(error)
        assert all(place.match(line) for line in said.splitlines()), text
        slowest = max(slowest, time.process_time() - started)
    assert slowest < 1
    assert refused > 100


@pytest.mark.parametrize("box", [[10**400, 1, 2, 3], [1, 2, 3, 10**400], [-(10**400), 1, 2, 3]])
def test_a_box_with_an_endless_number_lies_outside_the_image(box: list[int]) -> None:
    with pytest.raises(ValueError, match="lies outside the image of 80 x 40 pixels"):
        parse_box(box, 80, 40)
