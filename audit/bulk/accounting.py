"""The account at the end: counted in the files that were written, not while asking."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
import pyarrow.compute as pc

from audit.base.errors import Unfinished
from audit.base.files import counted, write_json
from audit.bulk.format import ACCOUNT, FORMAT, Account, BulkFolder
from audit.bulk.plan import Plan
from audit.bulk.questions import hash_of


def take_account(folder: BulkFolder, plan: Plan, seconds: float) -> Account:
    """Count what is in the folder and hold it against the source.

    Raises:
        Unfinished: rows are missing, or there twice.
    """
    ids = array("Q")
    errors: Counter[str] = Counter()
    rows = failed = right = judged = 0
    for batch in folder.batches_of(["id", "error", "right"]):
        rows += batch.num_rows
        ids.extend(hash_of(each) for each in batch["id"].to_pylist())
        failed += batch.num_rows - batch["error"].null_count
        errors.update(each for each in batch["error"].to_pylist() if each is not None)
        judged += batch.num_rows - batch["right"].null_count
        right += pc.sum(batch["right"]).as_py() or 0
    different = len(np.unique(np.asarray(ids, np.uint64)))
    if rows != different or rows != plan.rows:
        raise Unfinished(
            f"{folder.folder}: {counted(plan.rows, 'row')} could be asked, but {rows:,} are "
            f"written, {different:,} of them different: run again"
        )
    found = Account(
        format=FORMAT, read=plan.read, written=rows - failed, failed=failed, refused=plan.refused,
        earlier=plan.earlier, right=right, judged=judged, errors=dict(errors), seconds=seconds,
    )  # fmt: skip
    write_json(folder.folder / ACCOUNT, found.model_dump(mode="json"))
    return found


def failed_share(account: Account) -> float:
    """The share of the source's rows that have no answer."""
    return (account.failed + account.refused) / account.read if account.read else 0.0


def account_in_words(account: Account) -> str:
    """The account as it is printed.

    >>> account_in_words(Account(format=1, read=9, written=7, failed=1, refused=1, right=4,
    ...     judged=5, errors={"ImageError": 1}))
    '9 rows read = 7 answered + 1 failed (ImageError 1) + 1 refused; 4 of 5 labels as expected'
    """
    kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(account.errors.items()))
    told = (
        f"{counted(account.read, 'row')} read = {account.written:,} answered + "
        f"{account.failed:,} failed{f' ({kinds})' if kinds else ''} + {account.refused:,} refused"
    )
    if account.earlier:
        told += f"; {account.earlier:,} were there from an earlier run"
    if account.judged:
        told += f"; {account.right:,} of {counted(account.judged, 'label')} as expected"
    return told
