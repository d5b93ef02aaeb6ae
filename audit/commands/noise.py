"""What ``audit noise`` needs to know of this machine, and how its result is printed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from audit.base.console import tables
from audit.base.files import counted

if TYPE_CHECKING:
    from audit.studies.conditions import Machine


def this_machine() -> Machine:
    """What this machine can run; of one without torch, which may ask a server, nothing is known."""
    from audit.studies.conditions import Machine  # noqa: PLC0415

    if find_spec("torch") is None:
        return Machine(cuda=False, threads=1)
    from audit.models.kit import hardware  # noqa: PLC0415
    from audit.models.kit.stack import stack  # noqa: PLC0415

    return Machine(hardware.has_cuda(), hardware.threads(), stack("cpu")["instruction set"])


def print_noise(found: dict[str, Any], path: Path | None) -> None:
    """The floors as a table, and what they were measured over."""
    from audit.gate.noisefile import ENOUGH  # noqa: PLC0415
    from audit.gate.omnibus import harmless_limit  # noqa: PLC0415
    from audit.gate.tolerances import Kind  # noqa: PLC0415

    console, kinds = tables(), found["kinds"]
    titles = [str(Kind(kind["dtype"], kind["device"])) for kind in kinds]
    table = Table(box=None, pad_edge=False)
    for column in ("map", "metric"):
        table.add_column(column, no_wrap=True)
    for column in ("floor", "tolerance", *titles):
        table.add_column(column, justify="right")
    table.add_column("largest in", overflow="fold")
    for method, by_metric in found["floors"].items():
        for metric, row in by_metric.items():
            enough = row["deviations"] >= ENOUGH
            own = [kind["floors"].get(method, {}).get(metric) for kind in kinds]
            table.add_row(
                method, metric, f"{row['floor']:.2g}",
                f"{found['multiple'] * row['floor']:.2g}" if enough else "default, or more",
                *(f"{each['floor']:.2g}" if each else "" for each in own), row["case"],
            )  # fmt: skip
    console.print(table)
    console.print(
        f"floor: the largest deviation under all conditions; tolerance: {found['multiple']:g} "
        f"times that, or at least the default if there are fewer than {ENOUGH} deviations. The "
        "other columns are floors for the same weights, in that precision on that device"
    )
    for title, kind in zip(titles, kinds, strict=True):
        limit = harmless_limit(kind["harmless"])
        if not kind["harmless"]:
            console.print(
                f"all figures together, {title}: not judged, because "
                f"no figure has a floor from {ENOUGH} deviations; measure it on more cases"
            )
            continue
        console.print(
            f"all figures together, {title}: "
            f"{counted(len(kind['harmless']), 'condition')} moved them by up to "
            f"{max(kind['harmless'].values(), default=0):.2g} squared floors; "
            + (f"the limit is {limit:.2g}" if limit is not None else "too few for a limit")
        )
    for flip in found["flips"]:
        labels = " → ".join(flip["labels"])
        console.print(f"label not stable: {flip['case']} ({flip['condition']}): {labels}")
    for row in found["undefined"]:
        console.print(
            f"not defined everywhere: {row['figure']} of {row['case']} ({row['condition']})"
        )
    for row in found["not_run"]:
        console.print(f"not run: {row['title']}: {row['reason']}", markup=False)
    if path:
        console.print(f"noise floor: {path}", markup=False, soft_wrap=True)
