"""The checks of :mod:`audit.models.kit.conformance` as tests of the model that pytest audits.

    pytest --pyargs audit.models.kit.check --audit-model SCHEME:REST

One test for each check; ``-k batch`` runs one. The last one loads the model a second time.
"""

from __future__ import annotations

from typing import Any

import pytest

from audit.models.kit.conformance import CHECKS
from audit.models.kit.subject import Failure, Subject, example_queries, places_of


@pytest.fixture(scope="module")
def subject(auditor: Any) -> Subject:
    """The session's model; a second auditor with the same settings loads it anew."""
    return Subject(
        auditor.model, example_queries(), load=lambda: type(auditor)(auditor.settings).model
    )


@pytest.mark.parametrize("name", CHECKS)
def test_adapter(name: str, subject: Subject) -> None:
    """What the check of this name says; see docs/adapters.md."""
    failed = None
    try:
        CHECKS[name](subject)
    except Failure as failure:
        failed = failure
    if failed:  # told outside of the except, so that pytest shows no traceback of audit
        cause = failed.__cause__
        lines = [str(failed), *(places_of(cause) if cause else ())]
        pytest.fail("\n".join(lines), pytrace=False)
