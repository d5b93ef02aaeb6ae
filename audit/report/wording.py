"""The sentences of :mod:`audit.report.causes`: each is whole, with places for names and numbers.

So they can be read in one place, and translated. Text within ``*stars*`` is set off.
"""

from __future__ import annotations

from collections.abc import Mapping

TITLES = {
    "cases": "Failed: {failed} of {CASES}",
    "together": "Failed: not one case by itself, but all together",
    "session": "Failed: {REASONS}",
    "unsure": "Passed, with too few pictures to tell a small shift",
    "passed": "Passed: {CASES}",
    "passed but known": "Passed: {passed} of {CASES}",
}

_RIGHT_BUT = "{right} of {all} answers are right, but "
LOOKS: Mapping[str, tuple[str, str]] = {
    # With all answers right, and in other cases.
    "to": (
        _RIGHT_BUT + "in {CASES} the model looks at *{to}* ({now} of its attention, was {was}).",
        "In {CASES} the model looks at *{to}* ({now} of its attention, was {was}).",
    ),
    "to, not from": (
        _RIGHT_BUT + "in {CASES} the model looks at *{to}* ({now} of its attention, was {was}) and "
        "no longer at {AWAY} ({left}, was {had}).",
        "In {CASES} the model looks at *{to}* ({now} of its attention, was {was}) and no longer at "
        "{AWAY} ({left}, was {had}).",
    ),
    "to, less from": (
        _RIGHT_BUT + "in {CASES} the model looks at *{to}* ({now} of its attention, was {was}) and "
        "less at {AWAY} ({left}, was {had}).",
        "In {CASES} the model looks at *{to}* ({now} of its attention, was {was}) and less at "
        "{AWAY} ({left}, was {had}).",
    ),
    # Some of the cases ask about something that is not in the picture.
    "to, not from some": (
        _RIGHT_BUT + "in {CASES} the model looks at *{to}* ({now} of its attention, was {was}), in "
        "{some} of them no longer at {AWAY} ({left}, was {had}).",
        "In {CASES} the model looks at *{to}* ({now} of its attention, was {was}), in {some} of "
        "them no longer at {AWAY} ({left}, was {had}).",
    ),
    "to, less from some": (
        _RIGHT_BUT + "in {CASES} the model looks at *{to}* ({now} of its attention, was {was}), in "
        "{some} of them less at {AWAY} ({left}, was {had}).",
        "In {CASES} the model looks at *{to}* ({now} of its attention, was {was}), in {some} of "
        "them less at {AWAY} ({left}, was {had}).",
    ),
    "not from": (
        _RIGHT_BUT + "in {CASES} the model no longer looks at {AWAY} ({left} of its attention, was "
        "{had}), and at nothing else that has a name.",
        "In {CASES} the model no longer looks at {AWAY} ({left} of its attention, was {had}), and "
        "at nothing else that has a name.",
    ),
    "less from": (
        _RIGHT_BUT + "in {CASES} the model looks less at {AWAY} ({left} of its attention, was "
        "{had}), and at nothing else that has a name.",
        "In {CASES} the model looks less at {AWAY} ({left} of its attention, was {had}), and at "
        "nothing else that has a name.",
    ),
}
NAMED_THINGS = "what the sentence names"
SET_OFF = "*{name}*"

SENTENCES = {
    "unfinished": "The audit did not finish: {SENTENCE}.",
    "error": "{CASES} could not be audited.",
    "undefined": "In {CASES} something is asked about a figure that has no value.",
    "critical": "Wrong now, right before, and marked as critical: {CASES}.",
    "wrong": "{ANSWERS} of {all} wrong, {lost} of them right before.",
    "wrong anew": "{ANSWERS} of {all} wrong.",
    "variants": "Not as they must be beside their case's: {ANSWERS} of variants.",
    "broken": "In {CASES} something that the case asks for does not hold, most often *{what}*.",
    "drifted": "In {CASES} the model does not look as it did, though all that was asked for holds.",
    "stack": "In {CASES} the same weights gave other figures: what computes has changed, not the "
    "model.",
    "crept": "In {CASES} accepted steps that were each too small to be noticed add up.",
    "stale": "{CASES} changed since the last acceptance, so there is nothing to compare with.",
    "new": "New: {CASES}. Nobody has accepted yet where the model looks.",
    "suite": "Over all cases together *{what}* moved by more than chance explains, though few "
    "single cases show it.",
    "slices": "Among the cases of *{what}* figures or labels fell by more than chance explains.",
    "omnibus": "All figures together moved further than other threads, engines or processors move "
    "them.",
    "undeclared": "In {CASES} figures moved for the better though nobody asked for it.",
    "too few": "Too few pictures to tell: on {PICTURES}, only a large shift over all cases would "
    "be noticed.",
    "known": "Known to fail, and failed: {CASES}.",
    "improved": "In {CASES} figures moved for the better, as was asked for.",
    "same": "{right} of {all} answers are right, and the model looks where it looked before.",
    "same, variants": "{right} of {all} answers are right, {held} of {variants} variants hold, and "
    "the model looks where it looked before.",
    "holds": "{right} of {all} answers are right, and all that the cases ask for holds.",
    "holds, variants": "{right} of {all} answers are right, {held} of {variants} variants hold, "
    "and all that the cases ask for holds.",
}

_FIX = "Do not accept this as it is: fix the model, or change what the case expects in its file."
ADVICE = {
    "unfinished": "Audit again; what is shown here is a part.",
    "error": "Read the message at the case, mend what it names and audit again.",
    "undefined": "Mend the case, or ask for another figure; it cannot be accepted.",
    "critical": _FIX,
    "wrong": _FIX,
    "variants": _FIX,
    "broken": _FIX,
    "wrong reason": "Reject it: the answers may be right for the wrong reason. Fix the model, or "
    "change what the case expects in its file.",
    "drifted": "Look at each: accept it if the new map is as good, reject it if not.",
    "stack": "If the new software or machine is meant, accept; if not, go back to the old one.",
    "crept": "Look at the whole change since the first acceptance, then accept or reject it.",
    "stale": "Look at the changed case, then accept it.",
    "new": "Look whether the model looks where it should, then accept.",
    "suite": "Look at the figures and slices below; accept all cases if the update is meant.",
    "undeclared": "Look whether this is meant; if so, accept.",
    "too few": "Add cases on other pictures, or rely on single cases alone.",
    "known": "There is nothing to do until they are mended.",
    "improved": "Accept them, so that the better value is kept.",
    "same": "There is nothing to do.",
}
