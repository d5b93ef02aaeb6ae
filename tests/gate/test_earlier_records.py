"""What version 0.1 wrote is read under today's names of methods: baselines, runs, noise floors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.base.errors import BaselineError, RunError
from audit.base.files import digest_file
from audit.base.settings import Limits, Update
from audit.cases.loading import Case, load_cases
from audit.gate import accepted, baselines
from audit.gate.changes import changes_of
from audit.gate.decisions import Decision
from audit.gate.outcomes import Outcome, State
from audit.gate.review import accept, standing
from audit.gate.runfolder import Run
from audit.gate.tolerances import floor_of, load_floors, load_noise, noise_path
from audit.gate.verdict import Policy
from audit.report.gallery import write_gallery
from audit.studies.comparison import compare
from audit.studies.sides import side_of_folder
from tests.pages import words_of
from tests.projects import stored_in
from tests.toy_model import ToyOfWords

SHIPPED = Path(__file__).parent / "version_0_1"
"""A baseline as version 0.1 shipped it, both files byte by byte."""

OWN, OTHER, WORD = (
    "answer_attention",
    "answer_attention layers=last",
    "word_attention word=birds",
)
DISTANCE = "js against=(answer_attention layers=last)"

CASES = """\
defaults: {map: {method: cross_attention, layers: all}}
cases:
  - id: birds
    image: white.png
    text: there are two birds
    regions: {corner: [[0.0, 0.0, 0.5, 0.5]]}
    expect:
      label: yes
      attention:
        - {metric: mass, region: corner, max: 0.99}
        - {metric: js, against: {method: cross_attention, layers: last}, max: 1}
        - map: {method: encoder_attention, word: birds}
          metric: js
          against: {method: cross_attention, layers: last}
          min: 0
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose baselines and whose run, which moved away from them, are of version 0.1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").mkdir()
    Image.new("RGB", (40, 40), "white").save(tmp_path / "cases" / "white.png")
    (tmp_path / "cases" / "birds.yaml").write_text(CASES)
    audited("first", "all")
    baselines.promote(Path("first/proposals"), Path("baselines"))
    monkeypatch.setenv("TOY_LEAN", "0.2")  # half of what lies on its cell moves below
    audited("old", "all")
    monkeypatch.setenv("TOY_LEAN", "0")
    older(Path("baselines"))
    older(Path("old"))
    return tmp_path


def case() -> Case:
    (found,) = load_cases(Path("cases/birds.yaml"))
    return found


def audited(name: str, update: Update = "") -> Outcome:
    """One run of the project by today's version."""
    model, run, folder = ToyOfWords(), Run(Path(name)), Path("baselines")
    about = model.fingerprint.to_dict()
    run.start({"id": name, "model": about, "baselines": "baselines"})
    policy = Policy(folder, update, {"model": about}, load_noise(folder))
    (outcome,) = stored_in(run, [case()], model, policy)
    run.finish({"suite": None})
    return outcome


def older(folder: Path) -> None:
    """Write baselines or a run anew, as version 0.1 did."""
    for path in folder.rglob("*.npz"):
        with np.load(path) as arrays:
            found = {former(name): arrays[name] for name in arrays.files}
        np.savez_compressed(path, **found)  # type: ignore[arg-type]
    for path in folder.rglob("*.json"):
        data = json.loads(former(path.read_text()))
        data.pop("view", None)
        data.pop("former_digest", None)
        if "case_digest" in data:
            # A picture was known by its file's bytes.
            data["case_digest"] = case().former_digest
            data["image" if "provenance" in data else "image_digest"] = case().file_digest
        if "maps" in data.get("provenance", {}):
            data["provenance"]["maps"] = digest_file(path.with_suffix(".npz"))
        if data.get("baseline_digest"):
            # Of the file's bytes.
            data["baseline_digest"] = digest_file(Path("baselines") / path.name)
        path.write_text(json.dumps(data))


def former(text: str) -> str:
    return text.replace("answer_attention", "cross_attention").replace(
        "word_attention", "encoder_attention"
    )


def test_a_project_of_version_0_1_is_what_these_tests_take_it_for(project: Path) -> None:
    written = Path("old/outcomes/birds.json").read_text() + Path("baselines/birds.json").read_text()
    assert "answer_attention" not in written
    assert "word_attention" not in written.replace("encoder_attention", "")
    assert "js against=(cross_attention layers=last) (encoder_attention word=birds)" in written
    with np.load("old/outcomes/birds.npz") as arrays:
        assert "baseline:encoder_attention word=birds" in arrays.files


def test_a_baseline_that_version_0_1_shipped_is_read_under_todays_names() -> None:
    held = accepted.held(SHIPPED, "every-word-finds-its-thing")
    assert held.baseline is not None
    assert not held.damage
    assert held.baseline.default_map == "answer_attention"
    keys = {"answer_attention", "word_attention word=birds", "word_attention word=branch"}
    assert set(held.baseline.figures) == set(held.baseline.anchors) == set(held.maps) == keys
    distance = "js against=(word_attention word=branch)"
    assert held.baseline.figures["word_attention word=birds"][distance] == 0.931917
    assert held.baseline.anchors["word_attention word=birds"][distance] == 0.931917


def test_the_case_of_a_shipped_baseline_is_the_same_case_today() -> None:
    """So that no baseline and no run of version 0.1 is of another case."""
    cases = load_cases(Path(__file__).parents[2] / "cases" / "maps.yaml")
    (same,) = [each for each in cases if each.id == "every-word-finds-its-thing"]
    stored = accepted.load(SHIPPED, same.id)
    assert stored is not None
    assert stored.case_digest == same.former_digest
    assert stored.image == same.file_digest
    assert not stored.is_stale(same.digest, same.former_digest)


def test_a_case_is_the_same_however_its_maps_are_spelled(project: Path) -> None:
    before = case()
    Path("cases/birds.yaml").write_text(
        CASES.replace("cross_attention", "answer_attention").replace(
            "encoder_attention", "word_attention"
        )
    )
    now = case()
    assert [spec.key for spec in now.maps] == [spec.key for spec in before.maps]
    assert [spec.key for spec in now.maps] == [OWN, OTHER, WORD]
    assert now.digest == before.digest
    assert standing(Path("baselines"), [now]).accepted == ["birds"]


def test_a_session_compares_every_figure_with_a_baseline_of_version_0_1(project: Path) -> None:
    outcome = audited("new")
    assert outcome.state is State.PASSED, outcome.sentence
    rows = {row.figure: row for row in outcome.drift}
    shown = {name if key == OWN else f"{name} ({key})"
             for key, figures in outcome.metrics.items() for name in figures}  # fmt: skip
    assert set(rows) == {"label", "probability of yes", *shown}
    assert {DISTANCE, f"{DISTANCE} ({WORD})"} <= shown
    assert {row.change for row in rows.values()} == {0.0}
    maps = Run(Path("new")).maps("birds")
    assert set(maps) == {each for key in (OWN, OTHER, WORD) for each in (key, f"baseline:{key}")}


def test_a_run_of_version_0_1_is_read_under_todays_names(project: Path) -> None:
    run = Run(Path("old"))
    (outcome,) = run.outcomes()
    assert outcome.default_map == OWN
    assert list(outcome.metrics) == [OWN, OTHER, WORD]
    assert DISTANCE in outcome.metrics[OWN]
    assert DISTANCE in outcome.metrics[WORD]
    assert set(run.maps("birds")) == {
        each for key in (OWN, OTHER, WORD) for each in (key, f"baseline:{key}")
    }
    figures = [row.figure for row in outcome.drift]
    assert {"mass[corner]", f"mass[corner] ({WORD})", DISTANCE, f"{DISTANCE} ({WORD})"} <= {
        *figures
    }
    assert [verdict.expectation for verdict in outcome.verdicts] == [
        "label",
        "mass of corner",
        "js against answer_attention layers=last",
        "js against answer_attention layers=last (word_attention word=birds)",
    ]
    assert [name for name, _ in run.strips("birds")["words"]] == ["there", "are", "two", "birds"]


def test_the_suites_gate_and_the_gallery_find_every_figure_of_a_run_of_version_0_1(
    project: Path,
) -> None:
    run = Run(Path("old"))
    (change,) = changes_of(run.outcomes())
    assert {"js", "mass", "entropy"} <= set(change.changes)
    assert change.changes["mass"] > 0.3  # the region is to be avoided, and less of it is better
    page = write_gallery(run, "all").read_text()
    assert "cross_attention" not in page
    assert "encoder_attention" not in page
    assert "js against answer_attention layers=last (word_attention word=birds)" in words_of(page)
    assert f'"{DISTANCE}":0.0' in page.partition('"ratios"')[2]


@pytest.mark.parametrize("before", ["old", "baselines"])
def test_a_run_or_baselines_of_version_0_1_are_compared_with_a_run_of_today(
    project: Path, before: str
) -> None:
    outcome = audited("new")
    sides = [side_of_folder(Path(name)) for name in (before, "new")]
    assert sides[0] is not None
    assert sides[1] is not None
    found = compare(sides[0], sides[1], Limits())
    assert found.left_out == {}
    (pair,) = found.pairs
    assert set(map(str, pair.changes)) == set(outcome.metrics[OWN])
    assert isinstance(pair.distances["js"], float)
    assert pair.beyond is (before == "old")


@pytest.mark.parametrize("decided", [True, False])
def test_a_run_of_version_0_1_is_accepted_and_written_with_todays_names(
    project: Path, decided: bool
) -> None:
    before = accepted.load(Path("baselines"), "birds")
    assert before is not None
    review = [Decision(case="birds", decision="accept", reason="seen")] if decided else None
    assert accept(Run(Path("old")), () if decided else ("birds",), review).cases == ["birds"]
    written = json.loads(Path("baselines/birds.json").read_text())
    assert written["default_map"] == OWN
    assert set(written["figures"]) == {OWN, OTHER, WORD}
    assert "cross_attention" not in json.dumps(written)
    assert "encoder_attention" not in json.dumps(written)
    held = accepted.held(Path("baselines"), "birds")
    assert held.baseline is not None
    assert set(held.maps) == {OWN, OTHER, WORD}
    # What left its tolerance is accepted as a whole; what did not keeps its first anchor.
    moved, kept = held.baseline.figures[OWN], held.baseline.anchors[OWN]
    assert kept["mass[corner]"] == moved["mass[corner]"] != before.anchors[OWN]["mass[corner]"]
    assert kept["image_share"] == before.anchors[OWN]["image_share"]


def test_anchors_of_version_0_1_are_kept_where_a_figure_moved_within_its_tolerance(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = accepted.load(Path("baselines"), "birds")
    assert before is not None
    monkeypatch.setenv("TOY_LEAN", "0.005")
    audited("new", "all")
    baselines.promote(Path("new/proposals"), Path("baselines"))
    after = accepted.load(Path("baselines"), "birds")
    assert after is not None
    for key, name in ((OWN, "mass[corner]"), (WORD, DISTANCE)):
        assert after.figures[key][name] != before.figures[key][name]
        assert after.anchors[key][name] == before.anchors[key][name]


def test_what_a_session_of_version_0_1_left_undone_is_finished(project: Path) -> None:
    # It died before its end: what it proposed is accepted, though no case is named.
    Path("old/results.json").unlink()
    assert accept(Run(Path("old"))).cases == ["birds"]
    # It died while it renamed files into place, which the next process does.
    shutil.rmtree("baselines")
    staged = Path("baselines/.accepting-1")
    shutil.copytree("old/proposals", staged)
    (staged / "committed").touch()
    baselines.recover(Path("baselines"))
    held = accepted.held(Path("baselines"), "birds")
    assert held.baseline is not None
    assert not held.damage
    assert set(held.maps) == set(held.baseline.figures) == {OWN, OTHER, WORD}


def test_both_names_of_a_map_in_one_record_are_refused(project: Path) -> None:
    """One would silently replace the other."""
    path = Path("baselines/birds.json")
    written = json.loads(path.read_text())
    older = OWN.replace("answer_attention", "cross_attention")
    (own,) = {OWN, older} & set(written["figures"])
    written["figures"] |= dict.fromkeys((OWN, older), written["figures"][own])
    path.write_text(json.dumps(written))
    said = accepted.held(Path("baselines"), "birds").damage
    assert f"figures: {older!r} is an older name of {OWN!r}: keep one" in said


def test_a_noise_floor_of_version_0_1_counts_for_the_methods_of_today(project: Path) -> None:
    path = noise_path(Path("baselines"))
    path.parent.mkdir()
    row = {"js": {"floor": 0.001, "deviations": 500}}
    floors = {"cross_attention": row, "encoder_attention": row}
    path.write_text(json.dumps({"format": 1, "floors": floors}))
    found = load_floors(Path("baselines"))
    assert floor_of(found, "answer_attention", "js") == 0.001
    assert floor_of(found, "word_attention", "js") == 0.001
    outcome = audited("new")
    rows = {row.figure: row.tolerance for row in outcome.drift}
    assert rows[DISTANCE] == rows[f"{DISTANCE} ({WORD})"] == 0.002


def test_a_baseline_of_version_0_1_is_stale_once_the_pictures_file_is_another(
    project: Path,
) -> None:
    Image.open("cases/white.png").save("cases/white.png", compress_level=0)
    assert audited("new").state is State.STALE


def test_a_baseline_of_version_0_1_gets_the_pictures_identity_when_it_is_accepted_again(
    project: Path,
) -> None:
    assert audited("kept", "changed").state is State.PASSED
    assert not Run(Path("kept")).proposals.exists()
    before = accepted.load(Path("baselines"), "birds")
    audited("again", "all")
    baselines.promote(Path("again/proposals"), Path("baselines"))
    after = accepted.load(Path("baselines"), "birds")
    assert before is not None
    assert after is not None
    assert (before.case_digest, before.image) == (case().former_digest, case().file_digest)
    assert (after.case_digest, after.image) == (case().digest, case().image_digest)
    assert after.anchors == before.anchors


def test_a_run_of_version_0_1_is_accepted_only_while_the_pictures_file_is_the_same(
    project: Path,
) -> None:
    accept(Run(Path("old")), ("birds",))
    stored = accepted.load(Path("baselines"), "birds")
    assert stored is not None
    assert (stored.case_digest, stored.image) == (case().digest, case().image_digest)
    Image.open("cases/white.png").save("cases/white.png", compress_level=0)
    with pytest.raises(BaselineError, match="birds: the case changed since the run"):
        accept(Run(Path("old")), ("birds",))


def test_baselines_of_today_are_not_taken_for_those_of_a_run_of_version_0_1(
    project: Path,
) -> None:
    """The baselines do not keep the digest of the file's bytes; so the page has to say why."""
    audited("again", "all")
    baselines.promote(Path("again/proposals"), Path("baselines"))
    sides = [side_of_folder(Path(name)) for name in ("old", "baselines")]
    assert sides[0] is not None
    assert sides[1] is not None
    with pytest.raises(RunError, match="share no case"):
        compare(sides[0], sides[1], Limits())
    more = replace(sides[0].subjects["birds"], case="more")
    both = [replace(side, subjects={**side.subjects, "more": more}) for side in sides]
    assert compare(both[0], both[1], Limits()).left_out == {
        "birds": "the case itself changed between the two, or one of them is of an older version, "
        "which knew a picture by its file's bytes; to compare them, audit the case anew there"
    }
