"""What reviewers decide about the cases of a run: their files, and the log of what was applied.

The gallery exports a review as ``decisions.json``. When reviews are applied, each decision is added
to ``decisions.jsonl`` beside the baselines, one in a line, so that a rejection is not forgotten.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, TypeAdapter

from audit.base.errors import BaselineError
from audit.base.files import read_bytes, shown_path, write_atomically
from audit.base.records import EDITED, MEGABYTE, WRITTEN, CaseId, read_lines, read_record
from audit.gate.runfolder import Run

LOG = "decisions.jsonl"
"""The log's name in a folder of baselines."""

_LIMIT = 64 * MEGABYTE

Choice = Literal["accept", "reject"]
Reviewer = Annotated[str, StringConstraints(max_length=200)]
Reason = Annotated[str, StringConstraints(max_length=10_000)]


class Decision(BaseModel):
    """What a reviewer decided about one case; older reviews say neither who nor when."""

    model_config = EDITED

    case: CaseId
    decision: Choice
    reason: Reason = ""
    reviewer: Reviewer = ""
    time: AwareDatetime | None = None

    @property
    def told(self) -> str:
        """Who decided what and why, in a clause.

        >>> Decision(case="birds", decision="reject", reason="a corner", reviewer="Ada").told
        'Ada rejects it (a corner)'
        """
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.reviewer or 'a reviewer without a name'} {self.decision}s it{why}"


class _Review(BaseModel):
    """A signed-off review of one run; format 1 has no reviewers and no times."""

    model_config = EDITED

    format: Literal[1, 2]
    run: Annotated[str, Field(min_length=1, description="The id in the run's run.json.")]
    decisions: tuple[Decision, ...]


class Entry(BaseModel):
    """A decision that was applied, as the log keeps it.

    Attributes:
        run: id of the run that the reviewer saw.
        state: how the case ended there.
        baseline: digest of the baseline that the case was compared with; empty if there was none.
    """

    model_config = WRITTEN

    format: Literal[1] = 1
    case: CaseId
    decision: Choice
    reason: Reason = ""
    reviewer: Reviewer = ""
    time: AwareDatetime
    run: str
    state: str = ""
    baseline: str = ""

    @property
    def told(self) -> str:
        """When, by whom and why, in a clause; like ``2026-11-26 by Ada: looks at the corner``."""
        by = f" by {self.reviewer}" if self.reviewer else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.time.date().isoformat()}{by}{why}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain


@cache
def _review() -> TypeAdapter[_Review]:
    return TypeAdapter(_Review)


@cache
def _entry() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)


def load_decisions(path: Path, run: Run) -> list[Decision]:
    """Read a review of ``run``.

    Raises:
        BaselineError: the file cannot be read, has another format, or is about another run.
    """
    try:
        read = read_record(path, _review(), BaselineError, limit=_LIMIT)
    except FileNotFoundError:
        raise BaselineError(f"{path}: cannot be read: no such file") from None
    mine = run.about().get("id", "")
    if read.run != mine:
        raise BaselineError(
            f"{path}: decides about run {shown_path(read.run)}, but {run.folder} is run "
            f"{shown_path(mine)}"
        )
    counts = Counter(d.case for d in read.decisions)
    twice = [case for case, count in counts.items() if count > 1]
    if twice:
        raise BaselineError(f"{path}: decides twice about {', '.join(sorted(twice))}")
    return list(read.decisions)


@dataclass(frozen=True)
class Agreement:
    """Reviews of one run put together.

    Attributes:
        decisions: by case, of all who decided about it, if they agree.
        disputed: by case, of all who decided about it, if they do not.
    """

    decisions: dict[str, list[Decision]]
    disputed: dict[str, list[Decision]]

    def of(self, choice: Choice) -> dict[str, list[Decision]]:
        """The cases on which all chose this."""
        return {n: each for n, each in self.decisions.items() if each[0].decision == choice}


def agreement(decisions: Iterable[Decision]) -> Agreement:
    """Put the decisions of several reviewers together."""
    by_case: dict[str, list[Decision]] = defaultdict(list)
    for each in decisions:
        if each not in by_case[each.case]:
            by_case[each.case].append(each)
    agreed = {n: len({d.decision for d in each}) == 1 for n, each in by_case.items()}
    return Agreement(
        {n: each for n, each in by_case.items() if agreed[n]},
        {n: each for n, each in by_case.items() if not agreed[n]},
    )


def joined(values: Iterable[str], by: str) -> str:
    """The values that say something, each once."""
    return by.join(dict.fromkeys(value for value in values if value))


def read_log(folder: Path) -> list[Entry]:
    """The decisions that were applied to a folder of baselines, in the order of the file.

    Raises:
        BaselineError: the log is damaged; the message says which line.
    """
    try:
        return read_lines(folder / LOG, _entry(), BaselineError, limit=_LIMIT)
    except FileNotFoundError:
        return []


def add_to_log(
    folder: Path,
    decisions: Iterable[Decision],
    about: Callable[[str], Mapping[str, str]],
    known: Sequence[Entry],
) -> None:
    """Add decisions to the log, those that it does not hold yet; the file is replaced whole.

    Only one process at a time may do so: see :func:`audit.gate.baselines.updating`.

    Args:
        about: for a case, the run, the state and the baseline of its entry.
        known: what :func:`read_log` found before anything was changed.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    held = {_identity(entry, timed) for entry in known for timed in (True, False)}
    new = []
    for each in decisions:
        fields = each.model_dump() | {"time": each.time or now}
        entry = Entry(**fields, **about(each.case))
        if _identity(entry, each.time is not None) not in held:
            new.append(entry)
    if not new:
        return
    path = folder / LOG
    before = read_bytes(path, _LIMIT) if path.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    lines = "".join(f"{entry.model_dump_json()}\n" for entry in new)
    write_atomically(path, before + lines.encode())


def _identity(entry: Entry, timed: bool) -> tuple[object, ...]:
    said = (entry.run, entry.case, entry.reviewer, entry.decision, entry.reason)
    return (*said, entry.time if timed else None)


def rejections(entries: Iterable[Entry], digest_of: Callable[[str], str]) -> list[Entry]:
    """The rejections that still stand: nobody decided otherwise later, nor accepted a baseline.

    Where several people rejected a case of one run, its entry is the last of theirs, with the names
    and reasons of all.

    Args:
        digest_of: the digest of a case's baseline now; empty if it has none.

    Returns:
        By case, the last rejection of each reviewer, the earliest first.
    """
    standing: dict[str, dict[str, Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.time):
        said = standing.setdefault(entry.case, {})
        if entry.decision != "reject":
            said.clear()
            continue
        said.pop(entry.reviewer, None)
        said[entry.reviewer] = entry
    return [
        entry
        for case, said in sorted(standing.items())
        for entry in said.values()
        if digest_of(case) == entry.baseline
    ]
