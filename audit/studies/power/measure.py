"""Plants each change in a copy of the model, audits it against the intact one, and counts catches.

Three gates judge the same outcomes. *Full*: all that fails a pytest session (contracts, drift, the
suite-level gate). *Labels*: a label is not the expected one. *Probabilities*: the same, or the
probability of an accepted label left its tolerance.

A change is *measurable* if a label changed, a figure became undefined or defined, a figure of some
case moved by more than its noise floor, or one without a measured floor left its tolerance.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from audit.base import strictjson
from audit.base.console import Progress, alone_interrupted
from audit.base.errors import AuditError, RunError, nearest
from audit.base.files import digest, make_output, shown_path, to_json, write_json
from audit.base.names import stem_of
from audit.cases.loading import Case
from audit.gate import baselines
from audit.gate.noisefile import read_noise
from audit.gate.outcomes import Outcome
from audit.gate.tolerances import MULTIPLE, Noise, load_noise
from audit.gate.verdict import Policy
from audit.gate.waived import Waived, load_waived
from audit.metrics.registry import REGISTRY_VERSION
from audit.models.kit.altering import Alterable, Alteration, NotPossible, Stored, given_to
from audit.models.kit.fingerprints import weights_digest
from audit.models.kit.hardware import share_cores, threads_set
from audit.models.protocol import Fingerprint, Model, Query
from audit.runs.making import picture_to_ask
from audit.runs.runner import audit_cases
from audit.studies.plainly import check_engine, load_plainly
from audit.studies.power.changes import Change
from audit.studies.power.judging import judged
from audit.studies.power.planted import all_changes
from audit.studies.power.session import Project, audited_by_pytest
from audit.studies.power.sight import facts_of


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        source: the intact model.
        folder: for the results, one file for each change, so that a measurement can continue.
        noise: the folder of baselines whose noise floor sets the tolerances.
        only: ids of changes; none means all.
        processes: how many share the changes.
        options: of the model's own kind, such as the asking file of chat models.
        known: how many cases are not among them because this model is known to fail them.
    """

    source: str
    cases: Sequence[Case]
    folder: Path
    noise: Path
    seed: int = 1
    only: tuple[str, ...] = ()
    processes: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    known: int = 0

    def model(self, dtype: str = "float32", engine: str = "") -> Model:
        """The intact model, loaded.

        Raises:
            NotPossible: models of its kind have no such engine.
            ModelError: it cannot be loaded.
        """
        return load_plainly(self.source, dtype=dtype, engine=engine, options=self.options)

    @property
    def measured(self) -> Noise:
        """The noise that sets the tolerances."""
        return load_noise(self.noise)

    @property
    def waived(self) -> Waived:
        """What a person has set aside for this model."""
        return load_waived(self.noise)

    def accepted(self, dtype: str) -> Path:
        """The folder of the intact model's baselines in one precision."""
        return self.folder / ("baselines" if dtype == "float32" else f"baselines-{dtype}")


def measure_power(asked: Asked, progress: Progress) -> dict[str, Any]:
    """Measure every change that has no result yet; return all results, in order.

    Raises:
        RunError: the folder holds another measurement; a change in ``only`` needs pytest-xdist,
            which is not installed; or the intact model fails a case, so that changes to it mean
            nothing.
        ValueError: there is no change with such an id.
        ModelError: the model cannot be loaded.
    """
    intact = asked.model()
    own = intact.alterations if isinstance(intact, Alterable) else ()
    known = {change.id: change for change in all_changes(own)}
    _check_only(asked.only, known)
    about = _begin(asked, intact)
    _accept(intact, asked)
    del intact
    chosen = [c for c in known.values() if not asked.only or c.id in asked.only]
    missing = [c for c in chosen if not _result(asked, c.id).exists()]
    unfit = _unfit(asked, {c.setting.dtype for c in missing} - {"float32"})
    # These are not stored, so that they are measured once they can be.
    skipped = {c.id: _without(c) or unfit.get(c.setting.dtype, "") for c in missing}
    waiting = [name for name, reason in skipped.items() if not reason]
    measure = partial(_measure, asked=asked, own=own)
    with _shared(measure, waiting, asked.processes) as measured:
        for _ in progress(measured, len(waiting), "changes"):
            pass
    results = [
        {**_described(c), "skipped": skipped[c.id]}
        if skipped.get(c.id)
        else _read(_result(asked, c.id))
        for c in chosen
    ]
    facts = [fact._asdict() for fact in facts_of(asked.cases)]
    depends = {c.id: c.depends for c in chosen if c.depends}
    return {**about, "facts": facts, "depends": depends, "changes": results}


def _unfit(asked: Asked, dtypes: Iterable[str]) -> dict[str, str]:
    """Accept the intact model's outcomes in other precisions; those in which it fails, and why."""
    found = {}
    for dtype in dtypes:
        try:
            _accept(asked.model(dtype), asked)
        except RunError as error:
            found[dtype] = f"in {dtype}, {error}"
    return found


@contextmanager
def _shared(measure: Any, names: Sequence[str], processes: int) -> Iterator[Iterable[None]]:
    """Measure the changes one after the other, as far as the result is read, or in processes."""
    if processes == 1:
        yield map(measure, names)
        return
    # Spawned, because a forked process inherits torch's threads without their locks.
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=share_cores, initargs=(processes,)
    ) as pool:
        try:
            with alone_interrupted():
                measured = pool.map(measure, names)
            yield measured
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _measure(name: str, asked: Asked, own: Sequence[Alteration]) -> None:
    """Measure one change, and store the result."""
    (change,) = (change for change in all_changes(own) if change.id == name)
    write_json(_result(asked, name), _measured(change, asked))


def _result(asked: Asked, name: str) -> Path:
    return asked.folder / "changes" / f"{name}.json"


def _read(path: Path) -> dict[str, Any]:
    """A record that this made before.

    Raises:
        RunError: it is damaged.
    """
    try:
        found = strictjson.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{shown_path(path)}: damaged ({error}): delete it") from None
    if not isinstance(found, dict):
        raise RunError(f"{shown_path(path)}: damaged (not an object of JSON): delete it")
    return found


_WITHOUT_XDIST = "pytest-xdist is not installed (pip install pytest-xdist)"


def _without(change: Change) -> str:
    """Why a change cannot be measured on this machine; empty if it can."""
    session = change.setting.session
    return _WITHOUT_XDIST if session and session.needs_xdist and not _has_xdist() else ""


def _has_xdist() -> bool:
    return find_spec("xdist") is not None


def _check_only(only: Sequence[str], known: Mapping[str, Change]) -> None:
    for name in only:
        if name not in known:
            raise ValueError(f"--only: there is no change {name!r}; {nearest(name, known)}")
        if _without(known[name]):
            raise RunError(f"--only {name}: {_without(known[name])}")


def _begin(asked: Asked, intact: Model) -> dict[str, Any]:
    about = {
        "model": intact.fingerprint.to_dict(),
        "cases": len(asked.cases),
        "known": asked.known,
        "images": len({case.source.image_digest for case in asked.cases}),
        "seed": asked.seed,
        "multiple": MULTIPLE,
        "key": _key(asked, intact),
    }
    make_output(asked.folder)
    path = asked.folder / "about.json"
    if path.exists():
        if _read(path).get("key") != about["key"]:
            raise RunError(
                f"{shown_path(asked.folder)} holds a measurement of another model, other cases or "
                "limits, other tolerances, another seed or version: give another folder, or delete "
                "it"
            )
    else:
        write_json(path, about)
    return about


def _key(asked: Asked, intact: Model) -> str:
    """A digest of all that results depend on; the same in every process."""
    noise = read_noise(asked.noise)
    cases = sorted(
        digest(
            case.id, case.digest, repr((case.expect, sorted(case.drift.items()), case.tags)),
            repr((case.critical, case.xfail, case.repeat)),
        )
        for case in asked.cases
    )  # fmt: skip
    return digest(
        intact.fingerprint.digest, str(asked.seed), str(REGISTRY_VERSION), str(MULTIPLE),
        "" if noise is None else to_json(noise.model_dump(mode="json")),
        to_json(asked.waived.model_dump(mode="json")), *cases,
    )  # fmt: skip


def _accept(intact: Model, asked: Asked) -> None:
    """Accept the intact model's outcomes as baselines, if there are none yet."""
    folder = asked.accepted(intact.fingerprint.dtype)
    baselines.recover(folder)
    if all((folder / f"{stem_of(case.id)}.json").exists() for case in asked.cases):
        return
    policy = Policy(folder, "all", {"model": intact.fingerprint.to_dict()}, waived=asked.waived)
    with tempfile.TemporaryDirectory(prefix="audit-power-") as staged:
        for found in audit_cases(asked.cases, intact, policy=policy):
            outcome = found.outcome
            if outcome.failed:
                raise RunError(f"the intact model fails {outcome.case}: {outcome.sentence}")
            if found.proposal is not None:
                found.proposal.write(Path(staged))
        baselines.promote(Path(staged), folder)


def _measured(change: Change, asked: Asked) -> dict[str, Any]:
    """The result of one change, or why it is not possible for this model."""
    accepted = asked.accepted(change.setting.dtype)
    alarmed, touched = False, None
    with tempfile.TemporaryDirectory(prefix="audit-power-") as temporary:
        folder = Path(temporary)
        try:
            if change.unfit:
                raise NotPossible(change.unfit)
            if change.setting.session:
                check_engine(asked.source, change.setting.engine)
                project = Project(asked.source, asked.cases, accepted, asked.noise, asked.options)
                found, alarmed = audited_by_pytest(change.setting.session, project, folder)
            else:
                found, touched = _in_process(change, asked, accepted, folder)
        except NotPossible as reason:
            return {**_described(change), "skipped": str(reason), "unfit": True}
    level = asked.measured.level(change.setting.dtype, ["cpu"])
    floors = asked.measured.floors_at(level)
    result = {**_described(change), **judged(found, floors, level)}
    result["caught"]["full"] |= alarmed
    return result if touched is None else {**result, "touched": touched}


def _described(change: Change) -> dict[str, Any]:
    return {"id": change.id, "family": change.family, "about": change.about}


def _in_process(
    change: Change, asked: Asked, accepted: Path, folder: Path
) -> tuple[list[Outcome], int | None]:
    """The outcomes, and of how many cases the change alters the input, if that is what it does."""
    setting = change.setting
    with threads_set(setting.threads), setting.around():
        fresh = asked.model(setting.dtype, setting.engine)
        if setting.rewrite:
            fresh = _rewritten(fresh, setting.rewrite, folder)
        before = _parts(fresh)
        model = change.plant(fresh, asked.seed)
        known = _as_loaded(fresh.fingerprint, before, _parts(fresh))
        policy = Policy(accepted, "", {"model": known.to_dict()}, asked.measured, asked.waived)
        cases = setting.order(asked.cases)
        size = setting.batch_size or len(cases)
        found = audit_cases(cases, model, policy=policy, batch_size=size)
        outcomes = [each.outcome for each in found]
        alters = change.family in ("preprocessing", "text")
        return outcomes, _touched(model, asked) if alters else None


def _rewritten(model: Model, rewrite: Callable[[Path, Path], Path], folder: Path) -> Model:
    """The model, loaded from a changed copy of its folder."""
    if not isinstance(model, Stored):
        raise NotPossible("the model does not say where its files are")
    return model.loaded_from(rewrite(model.folder, folder))


def _parts(model: Model) -> tuple[str, str]:
    """What of a loaded model may be changed: its weights, and how pictures are prepared."""
    network = getattr(model, "torch_model", None)
    prepared = model.preparation if isinstance(model, Alterable) else ""
    return weights_digest(network) if network is not None else "", prepared


def _as_loaded(known: Fingerprint, before: tuple[str, str], after: tuple[str, str]) -> Fingerprint:
    """The fingerprint of a model with these parts, as if they had been loaded like that.

    The gate may ask whether weights and preprocessing are those of the baseline.
    """
    if before == after:
        return known
    weights = known.weights if before[0] == after[0] else after[0]
    steps = known.preprocessing if before[1] == after[1] else digest(after[1])
    whole = digest(weights, known.configuration, known.tokenizer, steps)
    return replace(known, weights=weights, preprocessing=steps, digest=whole)


def _touched(model: Model, asked: Asked) -> int | None:
    """The number of cases for which the network gets another input than from the intact model.

    None if the model does not show what its network gets.
    """
    intact, number = asked.model(), 0
    for case in asked.cases:
        query = Query(picture_to_ask(case), case.text, case.premise, case.truncate)
        expected = given_to(intact, query)
        if expected is None:
            return None
        number += _given_or_refused(model, query) != expected
    return number


def _given_or_refused(model: Model, query: Query) -> bytes | None:
    try:
        return given_to(model, query)
    except AuditError:
        return None
