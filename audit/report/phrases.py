"""What runs say in finished English sentences, as texts with places, so that pages translate them.

Runs store sentences and not their parts, so that every reader shows the same ones, and older runs
have only these. What fits none of these texts, such as the message of an error, stays English.
"""

from __future__ import annotations

from audit.base.languages import Message, Phrases
from audit.gate.outcomes import State

_LIMITS = (
    "at least {value}",
    "at most {value}",
    "between {low} and {high}",
    "{label}, as for the case",
    "not {label}",
    "undefined",
)

_EXPECTATIONS = (
    "label",
    "unsaid",
    "view",
    "probability of {label}",
    "{metric} of {region} ({options})",
    "{metric} of {region}",
    "{metric} against {map}",
    "fall of the probability of {label}",
    "the map follows (js)",
    "{WHAT} is {value}, and must be {LIMIT}",
    "{WHAT} is undefined: {REASON}",
    "the label is {label}, and must be {LIMIT}",
    "the label is {label}, and must not be the same as for the case",
    "the label is {label}, and {before} for the case",
    "the probability of {label} is {now}, and {before} for the case: it must fall by {LIMIT}",
    "whether the map follows is undefined: {REASON}",
    "the map is {value} (js) from where it would be if it followed the case's, and must be {LIMIT}",
    "the same label in every repeat",
    "one label",
    "asked {number} times, the label differs: {labels}",
    "the expectation holds",
    "both expectations hold",
    "all {number} expectations hold",
    "{WHAT} (and {number} more expectation)",
    "{WHAT} (and {number} more expectations)",
    "{WHAT}; besides, {MORE}",
)

_UNDEFINED = (
    "the map has one cell",
    "the map is empty or not finite",
    "the value is not a finite number",
    "the maps have different grids: {one} and {other} cells",
    "one of the maps is constant",
    "the curve has fewer than two points",
    "the curve is not finite",
    "the region covers the whole picture",
    "the region is empty",
    "the whole map falls on sinks, so nothing is left",
    "nothing falls on the image, so there is no map",
    "the map is the same over a grey picture, so nothing is left",
    "the model gives no attention of its answer",
    "the attention row is empty",
    "hiding any part of the picture does not lower the answer's probability",
    "the case's map has nothing in this part of the picture",
    "the case has no map: {REASON}",
    "the variant has no map",
    "a map has no place there",
    "the region lies outside of what the model sees",
    "the earth mover's distance was not found: {warning}",
)

_DRIFT = (
    "within",
    "drifted",
    "improved",
    "crept",
    "there is no baseline for this case; create it with --audit-update=new",
    "there is no baseline for this case; create it with audit accept, or --audit-update=new",
    "{WHAT}; every declared expectation holds",
    "{WHAT} (and {number} more figure)",
    "{WHAT} (and {number} more figures)",
    "{FIGURE} drifted from {before} to {now}, more than the tolerance of {tolerance}",
    "{FIGURE} improved from {before} to {now}, more than the tolerance of {tolerance}",
    "{FIGURE} moved from {before} to {now}, more than the tolerance of {tolerance}",
    "the label changed from {before} to {now}",
    "the maps cover {now} of the picture, those of the baseline {before}: their figures are not "
    "compared",
    "{FIGURE} crept from {anchor}, first accepted, to {now} in accepted steps, more than the "
    "tolerance of {TOLERANCE}; review them as one change, then audit accept",
    "{tolerance} (and {number} more figure)",
    "{tolerance} (and {number} more figures)",
    "the weights are the baseline's, and {WHAT}; {WHY}",
    "what differs: {what}",
    "nothing that is recorded differs",
    "{WHAT} (and {what}, measured as harmless)",
    "{WHAT} (but {what}, measured as harmless)",
    "{WHAT} (the baseline's threads, processor and options are not recorded)",
    "{WHAT}; and its baseline is stale: {WHY}",
    "the case is not the one its baseline was accepted for: {WHY}; accept it with "
    "--audit-update=changed",
    "the case is not the one its baseline was accepted for: {WHY}; accept it with audit accept, or "
    "--audit-update=changed",
    "the model is not asked as it was for its baseline: {WHY}; accept it with "
    "--audit-update=changed",
    "the model is not asked as it was for its baseline: {WHY}; accept it with audit accept, or "
    "--audit-update=changed",
    "{WHAT} changed",
    "{FIRST} and {SECOND} changed",
    "{FIRST} and {SECOND} and {THIRD} changed",
    "the picture",
    "the text",
    "the map",
    "the names of regions, or the figures and maps that are asked for",
    "the definition of a metric",
    "the premise or the boxes of a region changed",
    "the picture, the premise or the boxes of a region changed",
    "the premise, the boxes of a region, its case or how it is made from that changed",
    "the picture, the premise, the boxes of a region, its case or how it is made from that changed",
    "the asking file changed, so probabilities are of other questions or answers",
    "its own map is {map} now, and was {before}",
    "{WHAT}; proposed as its baseline",
    "{WHAT}; proposed as its baseline in place of the damaged one",
    "{WHAT}; proposed as its baseline in place of the damaged one; its anchors are lost and begin "
    "anew",
    "{WHAT}; the case itself is answered {wrong}, and must be answered {right}",
    "the case that it is made from has no answer: {error}",
    "the outcome could not be stored: {error}",
)

_SUITE = (
    "passed",
    "failed",
    "cannot tell",
    "worse",
    "better",
    "steady",
    "shifted",
    "too few pictures to test",
    "tag {tag}",
    "expected {label}",
    "over {CASES} on {PICTURES}: {WHAT}",
    "{number} case",
    "{number} cases",
    "{number} picture",
    "{number} pictures",
    "{number} label lost, {of} gained",
    "{number} labels lost, {of} gained",
    "{number} label lost, {of} gained (p = {p})",
    "{number} labels lost, {of} gained (p = {p})",
    "no label lost",
    "no metric shifted",
    "{names} moved for the better",
    "figures left their tolerances in {CASES}",
    "{number} of {all} cases",
    "all {number} cases",
    "both cases",
    "the only case",
    "{metric} moved for the worse by {change}, {effect} times its tolerance (p = {p})",
    "{metric} moved by {change}, {effect} times its tolerance (p = {p})",
    "a critical case is wrong now: {names}",
    "critical cases are wrong now: {names}",
    "{number} more metric moved",
    "{number} more metrics moved",
    "{number} more slice moved",
    "{number} more slices moved",
    "{number} case moved for the better by more than a tolerance where nothing was asked: {names}",
    "{number} cases moved for the better by more than a tolerance where nothing was asked: {names}",
    "{SLICE} ({CASES} on {PICTURES}): {WHAT}",
    "{SLICE} ({CASES} on {PICTURES}): {WHAT} and {number} more",
    "{WHAT} would show",
    "{FIRST}, or {SECOND}, would show",
    "too few pictures to tell: {WHAT} would show",
    "too few pictures to tell: {FIRST}, or {SECOND}, would show",
    "one picture is too few to tell a shift",
    "{PICTURES} are too few to tell a shift of any size",
    "a shift of {tolerances} tolerances",
    "a shift of {tolerances} tolerances in {number} of {all} metrics",
    "labels lost at {PICTURES}",
    "{number} of {all} as expected",
    "of variants {number} of {all} as they must be",
)

_OMNIBUS = (
    "{number} figure",
    "{number} figures",
    "{FIGURES} moved by {value} squared noise floors ({level}) on average, within the {limit} that "
    "{number} harmless conditions allow",
    "{FIGURES} moved by {value} squared noise floors ({level}) on average, more than the {limit} "
    "that {number} harmless conditions allow",
    "{FIGURES} moved by {value} squared noise floors ({level}) on average, within the limit of "
    "{limit} that was set",
    "{FIGURES} moved by {value} squared noise floors ({level}) on average, more than the limit of "
    "{limit} that was set",
    "{FIGURES} moved by {value} squared noise floors ({level}) on average; {CONDITIONS}, too few "
    "for a limit",
    "no harmless condition was measured",
    "{number} harmless condition was measured",
    "{number} harmless conditions were measured",
    "{WHAT}; the limit of {limit} that was set is not for the baselines' own weights",
    "--audit-update=all accepts a deliberate update, --audit-omnibus-limit lets it pass",
    "if what computes was changed on purpose, --audit-update=all accepts it",
)

_SESSION = (
    "passed: {WHAT}",
    "failed: {WHAT}",
    "{number} of {all} audited",
    "{number} skipped",
    "{number} case failed",
    "{number} cases failed",
    "the suite-level gate failed",
    "interrupted",
    "not every case was audited",
    "the session did not end",
    "pytest ended with exit status {number}",
    "{CASES} audited, fewer than the {all} of audit_min_cases",
    "an internal error of pytest or of a plugin",
    "the audit could not begin ({error})",
    "stopped early ({reason})",
    "{number} file could not be collected ({names})",
    "{number} files could not be collected ({names})",
    "{number} item marked xfail passed ({names}): remove the mark",
    "{number} items marked xfail passed ({names}): remove the mark",
    "{number} case failed outside the audit ({names})",
    "{number} cases failed outside the audit ({names})",
    "the run could not be read",
    "the results could not be written",
    "the baselines could not be accepted",
    "a plugin failed at the end ({error})",
    "{number} other test failed ({names})",
    "{number} other tests failed ({names})",
)

_EXPLAINED = ("{number} figure of {map}", "{number} figures of {map}")

_VIEW = (
    "The model sees {PART}",
    "The grid reaches beyond the picture by {PART}",
    "The model sees {PART}; the grid reaches beyond the picture by {MORE}",
    "{FIRST} and {SECOND}",
    "the middle {share} of the width",
    "the middle {share} of the height",
    "the left {share} of the width",
    "the right {share} of the width",
    "the top {share} of the height",
    "the bottom {share} of the height",
    "{low} to {high} of the width",
    "{low} to {high} of the height",
    "{share} of the width on the left",
    "{share} of the width on the right",
    "{share} of the height at the top",
    "{share} of the height at the bottom",
    "{share} on the right",
    "{share} at the bottom",
)

_JOINED = ("{FIRST}; {SECOND}", "{FIRST}, {SECOND}")

STORED = (
    *_LIMITS, *_EXPECTATIONS, *_UNDEFINED, *_DRIFT, *_SUITE, *_OMNIBUS, *_SESSION, *_EXPLAINED,
    *_VIEW, *_JOINED,
    *(state.value for state in State), "the case",
)  # fmt: skip
"""Every text that a run may have stored."""

PHRASES = Phrases(STORED)


def stored(sentence: str) -> Message | str:
    """A sentence that a run has stored, to be said in any language as far as it is known."""
    return PHRASES.read(sentence) or sentence
