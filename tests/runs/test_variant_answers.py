"""Variants are made, asked with their case, judged against its answer, and stored like cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.base.images import open_image
from audit.base.settings import Limits
from audit.cases.loading import Case, load_cases
from audit.gate import accepted, baselines
from audit.gate.changes import changes_of
from audit.gate.decisions import load_decisions
from audit.gate.outcomes import Outcome, State
from audit.gate.review import accept, standing
from audit.gate.runfiles import FOLLOWS
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.protocol import Query
from audit.runs.making import picture_to_ask
from audit.runs.runner import audit_cases
from audit.studies.comparison import compare
from audit.studies.sides import side_of_baselines, side_of_run
from tests.looking_toys import RED, LookingToy
from tests.projects import stored_in
from tests.toy_model import ToyModel

CASES = """\
cases:
  - id: birds
    image: a.png
    text: there are two birds
    regions: {patch: [[0, 0, 20, 20]]}
    expect: {label: yes}
    variants:
      - {mirror: true, follows: true, js: 0.05,
         attention: [{metric: mass, region: patch, min: 0.4}]}
      - {crop: [0, 0, 40, 40], follows: true, js: 0.05}
      - {brightness: 1.01, follows: true, js: 0.001}
      - {blank: true, probability: {falls: 0.2}}
      - {swap: b.png, label: same, probability: falls}
      - {paraphrase: two birds are there, follows: true, js: 0.001}
  - {id: other, image: b.png, text: there are birds, expect: {label: yes}}
"""


class Counting(ToyModel):
    """The toy, which notes the text and the size of every picture that it is asked about."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        self.batches.append([
            f"{q.text}{'' if isinstance(q.image, Path) else f' {q.image.size[0]}'}" for q in queries
        ])  # fmt: skip
        return super().trace(queries, need)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A case about a red patch at the left edge, with variants, and a case without."""
    grey = np.full((80, 80, 3), 90, np.uint8)
    Image.fromarray(grey).save(tmp_path / "b.png")
    grey[:20, :20] = RED
    Image.fromarray(grey).save(tmp_path / "a.png")
    path = tmp_path / "cases.yaml"
    path.write_text(CASES)
    return path


def named(file: Path) -> dict[str, Case]:
    return {case.id: case for case in load_cases(file)}


def with_variants(file: Path, *variants: str, label: str = "yes") -> list[Case]:
    head, tail = (
        CASES.split("    variants:\n", maxsplit=1)[0],
        "".join(f"      - {v}\n" for v in variants),
    )
    file.write_text(f"{head.replace('label: yes', f'label: {label}')}    variants:\n{tail}")
    return load_cases(file)


def outcomes(cases: Sequence[Case], model: object) -> dict[str, Outcome]:
    return {c.case.id: c.outcome for c in audit_cases(cases, model)}  # type: ignore[arg-type]


def test_pictures_are_made_in_memory_and_the_same_each_time(file: Path) -> None:
    cases = with_variants(
        file, "{mirror: true}", "{crop: [0, 0, 40, 20]}", "{brightness: 0.5}", "{jpeg: 20}",
        "{blur: 3}", "{blank: true, label: other}", "{paraphrase: two birds}",
    )  # fmt: skip
    base, *variants = cases
    assert picture_to_ask(base) == base.image
    *made, texts = [picture_to_ask(case) for case in variants]
    assert texts == base.image
    whole = np.asarray(open_image(base.image))
    mirrored, cropped, darker, rough, soft, blank = (np.asarray(each) for each in made)
    assert (mirrored == whole[:, ::-1]).all()
    assert (cropped == whole[:20, :40]).all()
    assert np.abs(darker.astype(int) - whole // 2).max() <= 1
    assert 0 < np.abs(rough.astype(int) - whole).max() < 200
    assert 100 < soft[10, 19, 0] < 255  # the edge is no longer sharp
    assert (blank == 128).all()
    again = [picture_to_ask(case) for case in variants[:-1]]
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(made, again, strict=True))


def test_a_model_that_looks_keeps_its_relations(file: Path) -> None:
    found = outcomes(list(named(file).values()), LookingToy("whole"))
    assert [o.sentence for o in found.values() if o.state is not State.PASSED] == []
    assert found["birds[mirror]"].metrics["answer_attention"]["mass[patch]"] > 0.4
    assert found["birds[crop]"].image_size == (40, 40)


@pytest.mark.parametrize("sees", ["crop", "pad", "whole"])
def test_maps_follow_whatever_part_of_the_picture_the_model_sees(file: Path, sees: str) -> None:
    wide = np.full((80, 160, 3), 90, np.uint8)
    wide[20:40, 60:80] = RED
    Image.fromarray(wide).save(file.with_name("a.png"))
    cases = with_variants(
        file,
        "{mirror: true, follows: true, js: 0.02}",
        "{crop: [40, 0, 120, 80], follows: true, js: 0.2}",
    )
    found = outcomes(cases, LookingToy(sees, cells=16))  # type: ignore[arg-type]
    assert [o.sentence for o in found.values() if o.failed] == []


def test_a_map_that_stays_where_it_was_does_not_follow(file: Path) -> None:
    class Fixed(ToyModel):
        def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
            return super()._one(Query(Image.new("RGB", (8, 8)), query.text), need)

    found = outcomes(list(named(file).values()), Fixed())
    mirror = found["birds[mirror]"]
    assert mirror.state is State.BROKEN
    assert mirror.sentence.startswith("the map is 0.")
    assert found["birds[brightness]"].state is State.PASSED
    assert found["birds[blank]"].sentence.startswith(
        "the probability of yes is 0.9, and 0.9 for the case: it must fall by at least 0.2"
    )


def test_a_wrong_case_is_named_in_the_sentences_of_its_variants(file: Path) -> None:
    found = outcomes(with_variants(file, "{jpeg: 90}", label="no"), ToyModel())
    assert found["birds"].state is State.BROKEN
    variant = found["birds[jpeg]"]
    assert variant.state is State.PASSED
    assert variant.sentence == (
        "the expectation holds; the case itself is answered yes, and must be answered no"
    )


def test_a_variant_whose_case_has_no_answer_is_an_error(file: Path) -> None:
    class Fails(ToyModel):
        def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
            if any(isinstance(query.image, Path) for query in queries):
                raise ValueError("no files")
            return super().trace(queries, need)

    found = outcomes(with_variants(file, "{jpeg: 90}"), Fails())
    assert found["birds[jpeg]"].state is State.ERROR
    assert found["birds[jpeg]"].sentence == (
        "the case that it is made from has no answer: ValueError: no files"
    )


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_case_is_asked_once_however_its_variants_are_batched(file: Path, size: int) -> None:
    model = Counting()
    cases = load_cases(file)
    assert len(list(audit_cases(cases, model, batch_size=size))) == len(cases)
    asked = [text for batch in model.batches for text in batch]
    assert len(asked) == len(cases)
    assert max(map(len, model.batches)) <= size


@pytest.mark.parametrize("size", [1, 8])
def test_a_variant_alone_asks_its_case_with_it(file: Path, size: int) -> None:
    model = Counting()
    found = named(file)
    chosen = [found["birds[mirror]"], found["birds[crop]"]]
    assert len(list(audit_cases(chosen, model, batch_size=size))) == 2
    asked = [text for batch in model.batches for text in batch]
    assert asked == ["there are two birds", "there are two birds 80", "there are two birds 40"]
    assert len(model.batches) == (1 if size == 8 else 3)


def test_in_any_order_a_case_is_asked_once(file: Path) -> None:
    model = Counting()
    cases = load_cases(file)[::-1]
    assert len(list(audit_cases(cases, model, batch_size=2))) == len(cases)
    assert sum(map(len, model.batches)) == len(cases)


def test_a_variant_is_stored_beside_its_case_with_a_picture_of_its_own(
    file: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    stored_in(run, load_cases(file), LookingToy("whole"))
    names = {path.name for path in (run.folder / "outcomes").iterdir()}
    assert {"birds+mirror.json", "birds+mirror.npz"} <= names
    assert not any(set(name) & set("[]*?") for name in names)
    mirror, base = run.outcome("birds[mirror]"), run.outcome("birds")
    assert mirror.case == "birds[mirror]"
    assert (mirror.variant_of, mirror.variant_of_image) == ("birds", base.image_digest)
    assert (base.variant_of, base.variant_of_image, base.made) == ("", "", "")
    assert mirror.made == "mirror"
    picture, original = run.image(mirror.image_digest), run.image(base.image_digest)
    assert picture is not None
    assert original is not None
    assert (np.asarray(picture) == np.asarray(original)[:, ::-1]).all()
    ((_, there),) = run.strips("birds[mirror]")[FOLLOWS]
    np.testing.assert_allclose(there, run.maps("birds")["answer_attention"][:, ::-1], atol=1e-3)
    assert {o.case for o in run.outcomes()} == set(named(file))


def test_baselines_of_variants_are_accepted_judged_and_kept(file: Path, tmp_path: Path) -> None:
    folder, run = tmp_path / "baselines", Run(tmp_path / "run")
    cases = load_cases(file)
    stored_in(run, cases, LookingToy("whole"), Policy(folder, "new"))
    taken = baselines.promote(run.proposals, folder)
    assert taken == sorted(case.id for case in cases)
    assert (folder / "birds+blank.json").exists()
    blank = accepted.load(folder, "birds[blank]")
    assert blank is not None
    assert (blank.case, blank.expected) == ("birds[blank]", "")
    assert standing(folder, cases).accepted == taken
    assert baselines.prune(folder, [case.id for case in cases]) == []
    assert baselines.prune(folder, ["birds", "other"], delete=True) == sorted(
        case.id for case in cases if case.variant
    )
    assert sorted(path.stem for path in folder.glob("*.json")) == ["birds", "other"]


def test_a_variant_is_stale_when_its_case_changes(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    run = Run(tmp_path / "run")
    stored_in(run, load_cases(file), LookingToy("whole"), Policy(folder, "new"))
    baselines.promote(run.proposals, folder)
    file.write_text(CASES.replace("[0, 0, 20, 20]", "[0, 0, 20, 22]"))
    stale = standing(folder, load_cases(file)).stale
    assert stale == sorted(case.id for case in load_cases(file) if case.id != "other")


def test_variants_are_accepted_from_a_run_by_name_and_by_review(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, run, folder = LookingToy("whole"), Run(Path("run")), Path("baselines")
    run.start({"id": "r", "model": model.fingerprint.to_dict(), "baselines": "baselines"})
    stored_in(run, load_cases(Path("cases.yaml")), model, Policy(folder))
    run.finish({})
    assert accept(run, ["birds[mirror]"]).cases == ["birds[mirror]"]
    review = {
        "format": 1, "run": "r",
        "decisions": [{"case": "birds[crop]", "decision": "accept", "reason": "seen"}],
    }  # fmt: skip
    Path("decisions.json").write_text(json.dumps(review))
    done = accept(run, decisions=load_decisions(Path("decisions.json"), run))
    assert done.cases == ["birds[crop]"]
    assert (folder / "birds+crop.npz").exists()


def test_for_the_suite_a_variant_belongs_to_the_picture_of_its_case(
    file: Path, tmp_path: Path
) -> None:
    folder, first, second = tmp_path / "baselines", Run(tmp_path / "a"), Run(tmp_path / "b")
    cases, model = load_cases(file), LookingToy("whole")
    stored_in(first, cases, model, Policy(folder, "new"))
    baselines.promote(first.proposals, folder)
    stored_in(second, cases, model, Policy(folder))
    changes = {change.case: change for change in changes_of(second.outcomes())}
    pictures = {c.image_digest for c in cases if c.variant is None}
    assert {change.image for change in changes.values()} == pictures
    # Where no label is right, none can be lost, and its probability has no direction.
    assert changes["birds[blank]"].right == (False, False)
    assert "probability" not in changes["birds[blank]"].changes
    assert changes["birds[mirror]"].right == (True, True)
    for before in (side_of_run(first, "a"), side_of_baselines(folder)):
        found = compare(before, side_of_run(second, "b"), Limits())
        assert len(found.pairs) == len(cases)
        assert found.suite.images == len(pictures)
