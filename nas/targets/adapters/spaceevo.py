"""The adapter for SpaceEvo's tables: predicted int8 latencies of whole stages.

The tables are in `SpaceEvo/data/block_lut` of github.com/microsoft/Moonlit (Zhang et al. 2023,
ICCV). They have no header; a line is `k#w#e_k#w#e...,1xCxHxW,loss,MFLOPs,parameters,ms`, where k, w
and e are kernel, width and expansion of a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import each
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Imported, Origin, Sample, Unmappable, Unmapped

KERNELS = (
    "a line is a stage of several blocks; their type is only a number in the file's name, which "
    "no public text spells out"
)


@dataclass(frozen=True)
class SpaceEvo:
    """A reader of one file, which is about one stage, block type and range of widths."""

    format: ClassVar[str] = "spaceevo"
    units: ClassVar[str] = "ms per stage, int8, batch 1"
    origin: ClassVar[Origin] = "predicted"

    def read(self, path: Path) -> Imported:
        """The samples of the file; features are a stage's depth and mean kernel, width, expansion.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        found = collect(path, each(reading.headless(path, 6), _sample))
        return Imported(
            origin=self.origin,
            device="Pixel 4 (mobilew) or an x86 CPU with VNNI (onnxw); the folder tells which",
            runtime="TFLite or onnxruntime, int8, as nn-Meter and its like predict it",
            source="Zhang et al. 2023, github.com/microsoft/Moonlit, SpaceEvo/data/block_lut",
            units=self.units,
            **{**vars(found), "unmapped": (Unmapped("kernels", KERNELS), *found.unmapped)},
        )


def _sample(where: str, cells: list[str]) -> Item:
    blocks = [block.split("#") for block in cells[0].split("_")]
    if any(len(block) != 3 for block in blocks):
        raise Unmappable(f"{reading.shortened(cells[0])} is not of the form k#w#e_k#w#e")
    shape = [reading.whole(part, "shape") for part in cells[1].split("x")]
    if len(shape) != 4:
        raise Unmappable(f"{reading.shortened(cells[1])} is not of the form 1xCxHxW")
    kernels, widths = ([reading.whole(b[i], "kernel or width") for b in blocks] for i in (0, 1))
    ratios = [reading.number(b[2], "expansion") for b in blocks if b[2] != "None"]
    features = {
        "depth": len(blocks),
        "kernel_mean": sum(kernels) / len(blocks),
        "width_mean": sum(widths) / len(blocks),
        "expansion_mean": sum(ratios) / len(ratios) if ratios else 0.0,
        **dict(zip(("channels", "height", "width"), shape[1:], strict=True)),
        "mflops": reading.number(cells[3], "MFLOPs"),
        "parameters_m": reading.number(cells[4], "parameters"),
    }
    if not all(map(math.isfinite, features.values())):
        raise Unmappable("a feature is not finite")
    return Sample(where, features, reading.number(cells[5], "latency"))
