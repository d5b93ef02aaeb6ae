"""How far answers move if other rows are in their batch: batches differ from run to run."""

from __future__ import annotations

from collections import defaultdict

from audit.base.files import rounded, write_json
from audit.bulk.format import BATCHES, FORMAT, PROBABILITY, figure_columns
from audit.bulk.plan import PLAN, SAMPLE
from audit.bulk.questions import read_questions
from audit.bulk.worker import Worker
from audit.metrics.keys import FigureKey


def measure_floor(worker: Worker) -> None:
    """Ask a sample of the rows in batches and one by one, and write down the largest differences.

    Nothing is done if that was written before.
    """
    path = worker.job.out / BATCHES
    if path.exists():
        return
    questions = read_questions(worker.job.out / PLAN / SAMPLE)
    together = worker.ask(questions)
    # A batch of one is what every model is meant to equal; in a batch of one there is no other row.
    alone = worker.ask(questions, batch=1) if worker.record.batch > 1 else together
    columns = figure_columns(worker.record.maps, worker.record.regions)
    metrics = {name: FigureKey.parse(figure).metric for name, (_, figure) in columns.items()}
    metrics |= {f"{PROBABILITY}{label}": "probability" for label in worker.record.labels}
    moved: dict[str, float] = defaultdict(float)
    rows = flipped = 0
    for one, other in zip(together, alone, strict=True):
        if one.row["error"] or other.row["error"]:
            continue
        rows += 1
        flipped += one.row["label"] != other.row["label"]
        for name, metric in metrics.items():
            first, second = one.row.get(name), other.row.get(name)
            if first is not None and second is not None:
                moved[metric] = max(moved[metric], abs(first - second))
    told = {metric: rounded(value, 12) for metric, value in moved.items()}
    write_json(path, {"format": FORMAT, "rows": rows, "flipped": flipped, "moved": told})
