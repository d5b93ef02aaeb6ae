"""Stores the results of auditing a case in a run folder."""

from __future__ import annotations

import logging
from contextlib import suppress

from PIL import Image

from audit.base.errors import in_a_sentence
from audit.base.images import picture_of
from audit.base.names import stem_of
from audit.gate.outcomes import Outcome
from audit.gate.runfiles import BASELINE
from audit.gate.runfolder import Run
from audit.runs.making import picture_to_ask
from audit.runs.runner import Concluded, unanswered

_log = logging.getLogger(__name__)


def store(run: Run, made: Concluded) -> Outcome:
    """Store the outcome of a case, its maps, its picture and its proposal in ``run``.

    Returns:
        The outcome as it was stored. If a part cannot be stored, the outcome is an error and
        nothing is proposed.
    """
    case, outcome = made.case, made.outcome
    try:
        if not run.image_path(outcome.image_digest).exists():
            run.add_image(outcome.image_digest, _picture(made))
        if case.original is not None and not run.image_path(case.original.image_digest).exists():
            # It is drawn beside its variant, whether or not the case itself is audited.
            run.add_image(case.original.image_digest, picture_of(case.original.image))
        if made.proposal is not None:
            made.proposal.write(run.proposals)
    except Exception as error:
        _log.debug("%s: %s", case.id, in_a_sentence(error), exc_info=error)
        # Without figures, so that nobody accepts an outcome that is not whole.
        outcome = unanswered(case, outcome.file)
        outcome.sentence, outcome.seconds = in_a_sentence(error), made.outcome.seconds
    maps = {**made.maps, **{f"{BASELINE}{key}": p for key, p in made.accepted.items()}}
    try:
        run.add(outcome, maps, made.strips)
    except Exception as error:
        _log.debug("%s: %s", case.id, in_a_sentence(error), exc_info=error)
        outcome = unanswered(case, outcome.file)
        outcome.sentence = f"the outcome could not be stored: {in_a_sentence(error)}"
        (run.proposals / f"{stem_of(case.id)}.json").unlink(missing_ok=True)
        # On a full disk this fails as well; the session still reports the case.
        with suppress(Exception):
            run.add(outcome, {})
    return outcome


def _picture(made: Concluded) -> Image.Image:
    """The picture that the model was asked about."""
    if made.picture is not None:
        return made.picture.shown
    return picture_of(picture_to_ask(made.case))
