"""The adapter for HAWQ-V3's latencies of ResNet layers on an NVIDIA T4, int4 and int8.

The figures are in `ILP.ipynb` of github.com/Zhen-Dong/HAWQ (Yao et al. 2021, ICML, table 3). They
only number the layers of ResNet-18 and ResNet-50; the shapes are those of He et al. 2015. Each row
also states its multiply-accumulates, by which the shape is checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import CONVOLUTIONS, added, convolution, each
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable, Unmapped, reject
from nas.targets.numerics import of_bits
from search_spaces.kernels import Kernel

COLUMNS = ("network", "layer", "mmacs", "lat_int4_ms", "lat_int8_ms")
WIDTHS = (64, 128, 256, 512)
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
OUTSIDE = "the first convolution, the pools and the classifier stay at 8 bits and have no row"
BITS = (4, 8)


def layers(network: str) -> list[Kernel]:
    """The kernels of a network's middle layers, in the order of the notebook.

    The shortcut of a block follows its convolutions.
    """
    found: list[Kernel] = []
    channels, size = 64, 56
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS[network], strict=True)):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            bottleneck = network == "resnet50"
            made = _bottleneck if bottleneck else _basic
            found += made(channels, size, width, stride)
            channels, size = width * (4 if bottleneck else 1), size // stride
    return found


def _basic(channels: int, size: int, width: int, stride: int) -> list[Kernel]:
    last = convolution(width, size // stride, width, stride=1, kernel=3, function=None)
    block = [
        convolution(channels, size, width, kernel=3, stride=stride, function="relu"),
        added(last, "relu"),
    ]
    return [*block, *_shortcut(channels, size, width, stride)]


def _bottleneck(channels: int, size: int, width: int, stride: int) -> list[Kernel]:
    small = size // stride
    last = convolution(width, small, 4 * width, kernel=1, stride=1, function=None)
    return [
        convolution(channels, size, width, kernel=1, stride=stride, function="relu"),
        convolution(width, small, width, kernel=3, stride=1, function="relu"),
        added(last, "relu"),
        *_shortcut(channels, size, 4 * width, stride),
    ]


def _shortcut(channels: int, size: int, width: int, stride: int) -> list[Kernel]:
    if stride == 1 and channels == width:
        return []
    return [convolution(channels, size, width, kernel=1, stride=stride, function=None)]


@dataclass(frozen=True)
class Hawq:
    """A reader of the notebook's arrays as a CSV file with one row per layer.

    Attributes:
        network: The network whose rows are read.
    """

    format: ClassVar[str] = "hawq-v3"
    units: ClassVar[str] = "ms for a batch of 8, given here per image"
    origin: ClassVar[Origin] = "measured"
    batch: ClassVar[int] = 8
    network: Literal["resnet18", "resnet50"] = "resnet18"

    def read(self, path: Path) -> Imported:
        """The rows at 4x4 and 8x8 bits; the addition of a block belongs to its last convolution.

        Raises:
            TargetError: If the file cannot be read, lacks layers, or no figure can be mapped.
        """
        if self.network not in DEPTHS:
            raise reject(path, f"network = {self.network!r}", f"take one of {', '.join(DEPTHS)}")
        named = layers(self.network)
        records = [(w, r) for w, r in reading.table(path, COLUMNS) if r["network"] == self.network]
        if len(records) != len(named):
            fault = f"has {len(records)} rows of {self.network}, which has {len(named)} layers"
            raise reject(path, fault, "give the whole table")
        items = [
            item
            for bits in BITS
            for item in each(records, lambda where, r, b=bits: self._entry(where, r, named, b))
        ]
        found = collect(path, items)
        return Imported(
            origin=self.origin,
            device="NVIDIA T4",
            runtime="TVM, tensor cores, int4 and int8",
            source="Yao et al. 2021, github.com/Zhen-Dong/HAWQ, ILP.ipynb",
            units=self.units,
            fusion=CONVOLUTIONS,
            notes={"batch": f"{self.batch}, figures are per image", "network": self.network},
            **{**vars(found), "unmapped": (Unmapped("edges", OUTSIDE), *found.unmapped)},
        )

    def _entry(self, where: str, record: Mapping[str, str], named: list[Kernel], bits: int) -> Item:
        layer = reading.whole(record["layer"], "layer", least=0)
        if layer >= len(named):
            raise Unmappable(f"layer {layer}; {self.network} has {len(named)}, from 0")
        kernel = named[layer]
        mmacs = reading.number(record["mmacs"], "mmacs")
        if not math.isclose(mmacs, kernel.macs / 1e6, rel_tol=1e-6):
            raise Unmappable(f"mmacs = {mmacs:g}, but layer {layer} has {kernel.macs / 1e6:g}")
        latency_ms = reading.number(record[f"lat_int{bits}_ms"], "latency") / self.batch
        return Entry(
            f"{where}, int{bits}",
            kernel,
            of_bits(bits, bits),
            latency_ms,
            axes={"bits": bits},
            among=(layer,),
        )
