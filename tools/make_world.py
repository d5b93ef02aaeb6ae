"""Measures the drawn scenes that ``audit.reference.world`` compares pictures with.

Run ``python -m tools.make_world``; two minutes on two cores. The mean and the covariance come from
scenes of one seed, the limit from scenes of another: it is the largest distance among them.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from audit.base.files import write_json
from audit.reference import world
from audit.reference.variety import varied

SCENES, FITTED, HELD_OUT = 600, 4242, 5151
TARGET = Path(world.__file__).with_name("world.json")


def figures(number: int, seed: int) -> world.Array | None:
    """Of a scene as somebody might hand it in; None for an empty picture, which is no scene."""
    drawn = varied(seed, number)
    return world.figures(drawn.image) if drawn.animals else None


def main() -> None:
    """Write the file."""
    with ProcessPoolExecutor() as pool:
        fitted, held_out = (
            np.stack(
                [
                    found
                    for found in pool.map(partial(figures, seed=seed), range(SCENES), chunksize=20)
                    if found is not None
                ]
            )
            for seed in (FITTED, HELD_OUT)
        )
    mean = fitted.mean(axis=0).round(6)
    # Otherwise a figure that hardly varies would have an unbounded weight.
    covariance = np.cov(fitted.T) + 1e-6 * np.eye(len(mean))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).round(6)
    distances = np.linalg.norm((held_out - mean) @ whitening.T, axis=1)
    limit = float(np.ceil(distances.max() * 100) / 100)
    write_json(
        TARGET,
        {"limit": limit, "mean": mean.tolist(), "whitening": whitening.tolist()},
        indent=None,
    )
    print(f"limit {limit}, median {np.median(distances):.2f}: {TARGET}")


if __name__ == "__main__":
    main()
