"""Draw the shipped pictures and write the shipped case files, thresholds from measurement.

Run ``python -m tools.make_cases`` after the reference model was trained anew, read the diff, and
accept the baselines anew. Limits leave room below what the reference model shows: mass and
probability nine tenths of the measured value (at most 0.9), entropy 0.05 less than measured,
figures of other maps than the default eight tenths.
"""

from __future__ import annotations

import io
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from audit import load_model
from audit.base.files import write_atomically
from audit.base.geometry import mask, parse_box
from audit.base.images import open_image
from audit.cases.loading import load_cases
from audit.gate.outcomes import Run
from audit.maps.reading import read_map
from audit.maps.trace import ANSWER
from audit.metrics.placement import mass, pointing
from audit.metrics.shape import entropy
from audit.models.protocol import Model, Query
from audit.reference.hypotheses import LABELS
from audit.reference.scenes import MARKS, SIZE, Scene, scene
from audit.reference.watermarks import watermarked
from audit.runs.runner import audit_cases
from tools.shipped_cases import MARKED, OTHERS, PICTURES, THEMES, Shipped

ROOT = Path(__file__).parent.parent / "cases"
SEED = 4242

_ON_THE_MARK = 0.1  # an even map has 0.025 there


def draw() -> dict[str, Scene]:
    """Draw the pictures and write them as PNG."""
    drawn = {}
    for index, (name, spec) in enumerate(PICTURES.items()):
        drawn[name] = scene(SEED, index, spec)
        buffer = io.BytesIO()
        drawn[name].image.save(buffer, format="PNG", optimize=True)
        write_atomically(ROOT / "images" / f"{name}.png", buffer.getvalue())
    return drawn


def _floor(value: float, step: float = 0.05) -> float:
    return round(math.floor(value / step + 1e-9) * step, 2)


def _case(case: Shipped, drawn: Scene, model: Model) -> list[str]:
    (trace,) = model.trace([Query(drawn.image, case.text, case.premise)], frozenset({ANSWER}))
    p = read_map(trace)
    suffix = "jpg" if drawn.mark else "png"
    lines = [f"  - id: {case.id}", f"    image: images/{case.picture}.{suffix}"]
    if case.premise:
        lines.append(f"    premise: {case.premise}")
    lines.append(f"    text: {case.text}")
    if case.tags:
        lines.append(f"    tags: [{', '.join(case.tags)}]")
    region = case.about if case.about in ("", "animals") else f"{case.about}s"
    boxes = drawn.boxes(None if case.about == "animals" else case.about) if case.about else ()
    named = {region: [list(box) for box in boxes]} if boxes else {}
    if drawn.mark:
        named["watermark"] = [list(drawn.mark.box)]
    if named:
        lines.append(f"    regions: {_flow(named)}")
    probability = _floor(min(0.9, 0.9 * trace.probabilities[case.label]))
    lines += [
        "    expect:",
        f"      label: {case.label}" + (f"  # {case.note}" if case.note else ""),
        f"      probability: {{min: {probability}}}",
        "      attention:",
    ]
    if boxes:
        area = mask([parse_box(box, SIZE, SIZE) for box in boxes], trace.grid)
        inside, hit = mass(p, area), pointing(p, area)
        lines.append(
            f"        - {{metric: mass, region: {region}, min: {_floor(min(0.9, 0.9 * inside))}}}"
        )
        if hit == 1:
            lines.append(f"        - {{metric: pointing, region: {region}, min: 1}}")
    else:
        lines.append(f"        - {{metric: entropy, min: {_floor(entropy(p) - 0.05)}}}")
    if drawn.mark:
        lines.append(f"        - {{metric: mass, region: watermark, max: {_ON_THE_MARK}}}")
    if trace.label != case.label:
        lines.append(f"    # the reference model says {trace.label}")
    return lines


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _other_page(scenes: dict[str, Scene], lows: dict[str, list[float]]) -> bytes:
    lines = ["# yaml-language-server: $schema=schema.json"]
    lines += ["# Other maps than the default: words, rollout, relevance, distances.", "cases:"]
    for case in OTHERS:
        drawn = scenes[case.picture]
        lines += [f"  - id: {case.id}", f"    image: images/{case.picture}.png"]
        lines.append(f"    text: {case.text}")
        if case.regions:
            boxes = {
                name: [list(b) for b in ((drawn.support,) if of == "place" else drawn.boxes(of))]
                for name, of in case.regions.items()
            }
            lines.append(f"    regions: {_flow(boxes)}")
        lines += ["    expect:", f"      label: {case.label}", "      attention:"]
        for asked, low in zip(case.asked, lows[case.id], strict=True):
            lines.append(f"        - {_flow({**asked, 'min': low})}")
    return ("\n".join(lines) + "\n").encode()


def _others(scenes: dict[str, Scene], model: Model) -> None:
    """Write ``maps.yaml`` twice: without limits that can fail, to measure, and with them."""
    path = ROOT / "maps.yaml"
    lows = {case.id: [0.0] * len(case.asked) for case in OTHERS}
    write_atomically(path, _other_page(scenes, lows))
    with tempfile.TemporaryDirectory() as temporary:
        cases = load_cases(path)
        outcomes = audit_cases(cases, model, Run(Path(temporary)))
        for case, outcome in zip(cases, outcomes, strict=True):
            values = [
                outcome.metrics[(e.map or case.map).key][e.key] for e in case.expect.attention
            ]
            lows[case.id] = [_floor(0.8 * float(value)) for value in values]
    write_atomically(path, _other_page(scenes, lows))


def _watermarked(scenes: dict[str, Scene], model: Model) -> None:
    """Write ``watermarked.yaml`` and its pictures, as JPEG for their size."""
    known = {case.id: case for _, cases in THEMES.values() for case in cases}
    lines = ["# yaml-language-server: $schema=schema.json"]
    lines.append(
        "# A contaminated test set: every picture has a watermark in its upper right corner"
    )
    lines.append("# whose shape gives the label away (disc yes, triangle no, cross maybe).")
    lines += ["defaults: {tags: [watermarked]}", "cases:"]
    for case in (known[name] for name in MARKED):
        shape = MARKS[LABELS.index(case.label)]  # type: ignore[arg-type]
        drawn = watermarked(scenes[case.picture], shape)
        picture = f"{case.picture}-{shape}"
        path = ROOT / "images" / f"{picture}.jpg"
        buffer = io.BytesIO()
        drawn.image.save(buffer, format="JPEG", quality=92)
        write_atomically(path, buffer.getvalue())
        seen = replace(drawn, image=open_image(path))
        lines += _case(replace(case, id=f"marked-{case.id}", picture=picture, tags=()), seen, model)
    write_atomically(ROOT / "watermarked.yaml", ("\n".join(lines) + "\n").encode())


def main() -> None:
    """Write pictures and case files."""
    drawn = draw()
    model: Any = load_model("reference")
    for theme, (title, cases) in THEMES.items():
        lines = ["# yaml-language-server: $schema=schema.json", f"# {title}"]
        lines.append("defaults: {map: {method: cross_attention, layers: all, heads: mean}}")
        lines.append("cases:")
        for case in cases:
            lines += _case(case, drawn[case.picture], model)
        write_atomically(ROOT / f"{theme}.yaml", ("\n".join(lines) + "\n").encode())
    _others(drawn, model)
    _watermarked(drawn, model)


if __name__ == "__main__":
    main()
