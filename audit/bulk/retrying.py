"""Takes rows that failed out of a bulk folder, so that they are asked again."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.base.errors import BulkError
from audit.base.files import write_atomically
from audit.bulk.format import ACCOUNT, ROWS, BulkFolder


def forget_failed(folder: BulkFolder) -> int:
    """Take the rows with an error out of their files; the others stay as they are.

    A process that dies on the way leaves rows missing, as one that was interrupted does, and the
    next audit asks them. The account is removed first, since it is about more rows.

    Returns:
        How many they were.

    Raises:
        BulkError: a file is damaged.
    """
    forgotten = 0
    for path in folder.files(ROWS):
        try:
            errors = pq.read_table(path, columns=["error"])["error"]
            failed = len(errors) - errors.null_count
            if not failed:
                continue
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise BulkError(f"{path}: damaged ({error}): remove it and run again") from None
        (folder.folder / ACCOUNT).unlink(missing_ok=True)
        left = table.filter(pc.is_null(table["error"]))
        if left.num_rows:
            sink = pa.BufferOutputStream()
            pq.write_table(left, sink, compression="zstd")
            write_atomically(path, sink.getvalue().to_pybytes())
        else:
            path.unlink()
        forgotten += failed
    return forgotten
