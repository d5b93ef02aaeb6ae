"""Holds the audited model of a session: loads it once, asks in batches, stores the outcomes."""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from audit.base.errors import AuditError, ModelError, RunError, in_a_sentence
from audit.base.files import make_output
from audit.base.geometry import Box
from audit.base.images import picture_of
from audit.base.places import named_from
from audit.base.settings import UNKNOWN, Settings
from audit.cases.heads import asks_for_chosen, with_heads
from audit.cases.loading import Case
from audit.gate.baselines import digest_of, recover, refuse_other_dtype
from audit.gate.headsfile import HeadsRecord, read_heads
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import KEPT, Run
from audit.gate.tolerances import load_noise
from audit.gate.verdict import Policy
from audit.gate.waived import load_waived
from audit.maps.reading import Map, MapSpec, read_map
from audit.maps.spec import CHOSEN
from audit.maps.trace import ANSWER, Evidence
from audit.models.kit.precision import note_on_dtype
from audit.models.kit.stack import stack
from audit.models.protocol import Model, Query
from audit.models.registry import load_model
from audit.runs.answers import Answers
from audit.runs.evidence import gather
from audit.runs.runner import conclude
from audit.runs.storing import store

_log = logging.getLogger(__name__)

_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,200}")
"""Names of models; other packages bring them, and they name folders."""

_ON_CPU = 8
"""Default batch size on a CPU; larger batches are no faster."""

_ON_GPU = 64
"""Default batch size on a GPU. If it does not fit, the model halves it until it does."""


def usual_batch(device: str) -> int:
    """The number of cases in a batch, if nobody says another."""
    return _ON_GPU if device.startswith("cuda") else _ON_CPU


@dataclass(frozen=True)
class Asked:
    """A question that a Python test asked, kept for the report if the test fails.

    ``map`` is None if only the label was asked of a model that has no maps.
    """

    image: Image.Image
    text: str
    label: str
    map: Map | None
    view: Box


@dataclass
class Auditor:
    """The session's model; the fixture ``auditor`` gives it to Python tests.

    Attributes:
        settings: what is audited and how.
        asked: the questions that the running test has asked so far.
    """

    settings: Settings
    asked: list[Asked] = field(default_factory=list, repr=False)
    _answers: Answers = field(default_factory=Answers, repr=False)

    @cached_property
    def model(self) -> Model:
        """The model, loaded at first use.

        Raises:
            ModelError: it cannot be loaded, for whatever reason.
        """
        asked, device = self.settings, self.settings.device
        # Without torch there are no threads to set; if the model needs it, loading it says so.
        if (asked.worker is not None or asked.threads is not None) and find_spec("torch"):
            from audit.models.kit import hardware  # noqa: PLC0415  torch is slow

            if asked.threads is not None:
                hardware.use_threads(asked.threads)
            else:
                hardware.share_cores(asked.workers)
            if asked.worker is not None:
                device = hardware.spread(device, asked.worker)
        try:
            return load_model(asked.model, device, asked.dtype, **asked.options)
        except AuditError:
            raise
        except Exception as error:
            _log.debug("%s: %s", asked.model, in_a_sentence(error), exc_info=error)
            raise ModelError(
                f"{asked.model}: the model could not be loaded: {in_a_sentence(error)}"
            ) from error

    @property
    def _fingerprint(self) -> dict[str, Any]:
        """The model's fingerprint; a folder inside the project is given relative to its root."""
        about, source = self.model.fingerprint.to_dict(), self.model.fingerprint.source
        # A folder alone, or behind the scheme of its kind.
        scheme, colon, rest = (
            ("", "", source) if Path(source).is_absolute() else source.partition(":")
        )
        if Path(rest).is_absolute():
            about["source"] = f"{scheme}{colon}{named_from(Path(rest), self.settings.root)}"
        return about

    @cached_property
    def _stack(self) -> dict[str, str]:
        """What computes in this process besides the model's weights."""
        return stack(self.model.fingerprint.device)

    @property
    def note(self) -> str:
        """What the user should know about the model before it answers; empty if nothing."""
        known = self.model.fingerprint
        return note_on_dtype(known.device, known.dtype)

    @cached_property
    def batch_size(self) -> int:
        """The number of cases in a batch."""
        return self.settings.batch_size or usual_batch(self.model.fingerprint.device)

    def make_run_folder(self) -> None:
        """Create the run folder early, so that a problem with it shows before the model is asked.

        Raises:
            RunError: it cannot be written.
        """
        folder = self.settings.run_folder
        try:
            make_output(folder)
        except OSError as error:
            raise RunError(f"{folder}: no run can be written there: {error.strerror}") from None

    @cached_property
    def run(self) -> Run:
        """The run; the first use writes its ``run.json``."""
        run = Run(self.settings.run_folder)
        run.start(
            {
                "id": self.settings.run_id,
                "model": self._fingerprint,
                "stack": self._stack,
                "labels": list(self.model.labels),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "baselines": named_from(self.policy.folder, self.settings.root),
                "baselines_digest": digest_of(self.policy.folder),
                "waived": self.policy.waived.attention or "",
                "options": self._options,
                "update": self.settings.update,
                "machine": platform.platform(),
            }
        )
        return run

    @property
    def _options(self) -> dict[str, Any]:
        """What must be the same in sessions that are put together."""
        limits = self.settings.limits
        return {
            "batch_size": self.settings.batch_size,
            "min_cases": self.settings.min_cases,
            "suite_alpha": limits.alpha,
            "suite_effect": limits.effect,
            "omnibus_limit": limits.omnibus,
        }

    @cached_property
    def policy(self) -> Policy:
        """This model's folder of baselines, and which outcomes become new ones.

        Raises:
            BaselineError: the folder holds baselines in another precision.
            ModelError: the model's name could not be the name of a folder.
        """
        fingerprint = self.model.fingerprint
        if not _NAME.fullmatch(fingerprint.name):
            raise ModelError(
                f"the model's name is {fingerprint.name[:60]!r}; it names a folder of baselines, "
                "so it must have letters, digits, '.', '_' and '-' alone"
            )
        provenance = {
            "model": self._fingerprint,
            "stack": self._stack,
            "date": datetime.now(UTC).date().isoformat(),
            "accepted_by": os.environ.get("AUDIT_ACCEPTED_BY", ""),
        }
        # Figures depend on the precision, so each has its own baselines.
        kind = "" if fingerprint.dtype in ("float32", UNKNOWN) else f"-{fingerprint.dtype}"
        named = self.settings.root / "baselines" / f"{fingerprint.name}{kind}"
        folder = self.settings.baselines or named
        recover(folder)
        refuse_other_dtype(folder, fingerprint.dtype)
        return Policy(
            folder, self.settings.update, provenance, load_noise(folder), load_waived(folder)
        )

    @cached_property
    def heads(self) -> HeadsRecord | None:
        """What was measured beside the baselines about the model's heads, if anything was.

        Raises:
            BaselineError: the file is damaged.
        """
        return read_heads(self.policy.folder)

    def _named(self, case: Case) -> Case:
        """The case as this model is asked it: with its default map, and the chosen heads if any."""
        case = case.for_model(self.model.methods)
        if not asks_for_chosen(case):
            return case
        return with_heads(case, self.heads.heads) if self.heads and self.heads.heads else case

    def _of_heads(self, spec: MapSpec) -> MapSpec:
        """The map with the chosen heads in it, if it asks for them and there are any."""
        if spec.heads != CHOSEN:
            return spec
        return spec.with_heads(self.heads.heads) if self.heads and self.heads.heads else spec

    def outcome(self, case: Case, ahead: Callable[[], Iterable[Case]]) -> Outcome:
        """Audit ``case``, and let the model answer cases of ``ahead`` in the same batch."""
        case = self._named(case)
        answer = self._answers.to(
            case, lambda: map(self._named, ahead()), self.model, self.batch_size
        )
        return store(self.run, conclude(case, answer, self.policy, self.settings.root))

    def ask(
        self,
        image: str | Path | Image.Image,
        text: str,
        premise: str | None = None,
        maps: Sequence[MapSpec] = (),
        *,
        truncate: bool = False,
    ) -> Evidence:
        """Ask the model one question.

        Args:
            image: a picture, used as it is, or the path of one, which is turned as EXIF says.
            text: the hypothesis.
            premise: a text premise beside the picture, if there is one.
            maps: the maps to be read later, besides the default one.
            truncate: whether the model may cut texts that are longer than it reads.

        Returns:
            Label and probabilities, and the evidence to read maps from.

        Raises:
            TextError: a text is blank, or longer than the model reads.
            ImageError: the picture cannot be read.
        """
        picture = picture_of(image if isinstance(image, Image.Image) else Path(image))
        query = Query(picture, text, premise, truncate)
        own = [MapSpec()] if ANSWER.method in self.model.methods else []
        specs = [*map(self._of_heads, maps), *own]
        (seen,) = gather(self.model, [query], [specs], self.batch_size)
        shown = read_map(seen, specs[0]) if specs else None
        small = picture.copy()
        small.thumbnail(KEPT)  # a test may ask about hundreds, and a single one can take 200 MB
        self.asked.append(Asked(small, query.text, seen.label, shown, seen.trace.view))
        return seen
