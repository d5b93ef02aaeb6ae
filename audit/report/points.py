"""Which part of a page of evidence speaks to which point of Regulation (EU) 2024/1689.

The points are those of Article 9(8) and Annex IV of the text of 13 June 2024. Whether a system is
one of high risk, and whether what is here suffices, are legal questions that a program cannot
answer.
"""

from __future__ import annotations

from typing import NamedTuple


class Point(NamedTuple):
    """A point of the regulation, what it asks for in short, and what the page has about it."""

    point: str
    asked: str
    sections: tuple[str, ...]
    here: str


COVERED = (
    Point(
        "Art. 9(8)",
        "testing against metrics and probabilistic thresholds that were defined before",
        ("limits", "noise", "results"),
        "every limit, the digest of what was asked, the last commit of its case file and whether "
        "that is older than the run; level and effect size of the suite-level gate; results",
    ),
    Point(
        "Annex IV, 1(a) and 1(c)",
        "version of the system and of relevant software",
        ("model",),
        "source, revision and digests of the model; versions of packages",
    ),
    Point(
        "Annex IV, 2(c)",
        "computational resources used to develop, train, test and validate",
        ("model",),
        "for this test alone: machine, device, precision, threads",
    ),
    Point(
        "Annex IV, 2(g)",
        "validation and testing procedures, data used, metrics, test logs and reports, dated and "
        "signed by the responsible persons",
        ("limits", "noise", "results", "cases", "accepted", "digest", "persons"),
        "cases, pictures and limits; metrics with their noise floor; the outcome of each case; who "
        "accepted what; digest of the run; lines for date and signature",
    ),
    Point(
        "Annex IV, 3",
        "capabilities and limitations in performance, accuracy for groups the system is used on",
        ("results", "power"),
        "results for each tag and each expected label; for a group of persons only if cases carry "
        "a tag for it; what the test could not have seen",
    ),
    Point(
        "Annex IV, 4",
        "appropriateness of the performance metrics",
        ("noise", "power"),
        "how far figures move when nothing changes, and which planted regressions they show; the "
        "reasons for choosing them are yours to write",
    ),
    Point(
        "Annex IV, 6",
        "relevant changes through the lifecycle",
        ("accepted",),
        "changes of the model's behaviour that somebody accepted, with date and reason",
    ),
)

NOT_COVERED = (
    "intended purpose, foreseeable misuse and the risk management of Article 9(1) to (7): whether "
    "these cases and limits suit the purpose",
    "training data and data governance (Article 10; Annex IV, 2(d)), design and training of the "
    "model (Annex IV, 2(a) and 2(b))",
    "discriminatory impacts (Annex IV, 2(g)), unless cases and tags were made for them",
    "human oversight (Article 14; Annex IV, 2(e)), cybersecurity (Article 15; Annex IV, 2(h)), "
    "logging in use (Article 12), monitoring after sale (Article 72; Annex IV, 9)",
    "standards applied and the declaration of conformity (Annex IV, 7 and 8)",
    "whether attention explains an answer: maps show where a model looked, and only that",
)
