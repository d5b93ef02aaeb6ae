"""A case, checked: what is asked, what is measured and what the model must do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audit.base.files import digest
from audit.base.geometry import Box
from audit.base.yamlfile import Where
from audit.cases.expectations import Expect
from audit.cases.methods import MapAt
from audit.cases.variants import Variant
from audit.maps.keys import former_key
from audit.maps.spec import MapSpec, default_map
from audit.metrics.keys import former_name
from audit.metrics.registry import REGISTRY_VERSION, Better


@dataclass(frozen=True)
class Case:
    """One case, checked: its picture opens, its boxes lie inside it, its names are known.

    A variant is a case, too. Its regions have moved with the picture, and its text is its own.

    Attributes:
        label_at, label_key: where the file asks for the label, and by which key.
        maps_at: where the file asks for the maps.
        image: the picture's file; that of the case, if the variant's picture is made from it.
        image_digest: identity of the picture: SHA-256 of its size and pixels; for a picture that is
            made, SHA-256 of how it is made.
        file_digest: SHA-256 of the picture's file, which older versions knew it by.
        variant: how it was made, if it is a variant.
        original: the case that it was made from, if it is a variant.
        varied: whether the file has variants of it.
        map_asked: whether the file names the map; if not, it is the model's default.
        case_file_digest: SHA-256 of the file that the case was read from; empty if there is none.
    """

    id: str
    file: Path
    line: int
    label_at: Where
    maps_at: tuple[MapAt, ...]
    image: Path
    image_digest: str
    file_digest: str
    image_size: tuple[int, int]
    text: str
    premise: str | None
    regions: dict[str, tuple[Box, ...]]
    tags: tuple[str, ...]
    map: MapSpec
    expect: Expect
    drift: dict[str, float]
    critical: bool = False
    xfail: str = ""
    repeat: int = 1
    truncate: bool = False
    label_key: str = "expect.label"
    variant: Variant | None = None
    original: Case | None = None
    varied: bool = False
    map_asked: bool = True
    case_file_digest: str = field(default="", compare=False)

    def for_model(self, methods: Sequence[str]) -> Case:
        """The case as it is asked of a model that gives these methods.

        If the file names no map, the model's default is measured. That does not change which case
        it is: answers of models that have different defaults can be compared.
        """
        own = self.map if self.map_asked else default_map(methods)
        original = self.original.for_model(methods) if self.original else None
        if (own, original) == (self.map, self.original):
            return self
        return replace(self, map=own, original=original)

    @property
    def source(self) -> Case:
        """The case that a variant was made from; a case itself otherwise."""
        return self.original or self

    @property
    def expected(self) -> str:
        """The label that is right; empty for a variant that leaves it open."""
        return self.expect.label if self.variant is None or self.variant.definite else ""

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The distinct maps that this case measures or compares with, its own first."""
        asked = [spec for e in self.expect.attention for spec in (e.map, e.against)]
        wanted = [self.map, *(spec for spec in asked if spec is not None)]
        return tuple({spec.key: spec for spec in wanted}.values())

    @property
    def wanted(self) -> dict[str, Better]:
        """For each region, whether more of the map there is better, according to its limits.

        A region that has only upper limits should be avoided; a region without expectations is
        ``neither``.
        """
        better: dict[str, Better] = {}
        for region in self.regions:
            limits = [e for e in self.expect.attention if e.region == region]
            avoided = all(e.min is None for e in limits)
            better[region] = ("lower" if avoided else "higher") if limits else "neither"
        return better

    @property
    def digest(self) -> str:
        """Fingerprint of what is asked and measured; limits, tags and tolerances do not count.

        That of a variant also covers its case and how it is made from it.

        Maps have the names of version 0.1 in it: a new name for a method does not change a case, so
        older baselines and runs stay valid.
        """
        return self._fingerprint(self.image_digest)

    @property
    def former_digest(self) -> str:
        """The fingerprint that older versions gave this case: the picture is its file's bytes.

        Baselines and runs that they stored are still of this case if the file is the same. They had
        no variants.
        """
        return self.digest if self.variant else self._fingerprint(self.file_digest)

    def _fingerprint(self, image: str) -> str:
        named = self if self.map_asked else replace(self, map=MapSpec())
        asked: dict[str, Any] = {
            "image": image,
            "text": self.text,
            "premise": self.premise,
            "regions": {name: [list(b) for b in boxes] for name, boxes in self.regions.items()},
            "maps": [former_key(spec.key) for spec in named.maps],
            "figures": sorted(
                {
                    f"{former_key((e.map or named.map).key)}: {former_name(e.key)}"
                    for e in self.expect.attention
                    if e.on_request
                }
            ),
            "registry": REGISTRY_VERSION,
        }
        if self.truncate:  # else left out, so that baselines older than this key stay valid
            asked["truncate"] = True
        if self.variant is not None and self.original is not None:
            asked["variant"] = [self.original.digest, self.variant.maker]
        return digest(json.dumps(asked, sort_keys=True, allow_nan=False))
