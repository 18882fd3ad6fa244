"""The adapter for HAQ's table: cycles of MobileNetV2's layers on a bit-serial accelerator.

The table is in `lib/simulator/lookup_tables` of github.com/mit-han-lab/haq (Wang et al. 2019, CVPR)
and covers 1 to 8 bits. It only numbers the layers; their shapes are those of MobileNetV2 at
224 x 224 (Sandler et al. 2018, table 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import (
    CONVOLUTIONS,
    added,
    classifier,
    convolution,
    depthwise,
    each,
    pooling,
)
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable, reject
from nas.targets.numerics import of_bits
from search_spaces.kernels import Kernel

COLUMNS = ("layer", "w_bits", "a_bits", "latency_cycles")
CLASSES, EDGE_BITS = 100, 8
# Expansion, width, blocks, first stride: Sandler et al. 2018, table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
STAGES += ((6, 160, 3, 2), (6, 320, 1, 1))


def layers(classes: int = CLASSES) -> tuple[list[Kernel], Kernel]:
    """The kernels of MobileNetV2's 53 layers in order, and the kernel of its pool.

    A residual addition belongs to the kernel of the convolution before it.
    """
    found = [convolution(3, 224, 32, kernel=3, stride=2, function="relu6")]
    channels, size = 32, 112
    for expansion, width, blocks, first in STAGES:
        for block in range(blocks):
            stride, hidden = first if block == 0 else 1, channels * expansion
            if expansion > 1:
                expand = {"kernel": 1, "stride": 1}
                found.append(convolution(channels, size, hidden, **expand, function="relu6"))
            found.append(depthwise(hidden, size, kernel=3, stride=stride, function="relu6"))
            size //= stride
            project = convolution(hidden, size, width, kernel=1, stride=1, function=None)
            found.append(added(project) if stride == 1 and channels == width else project)
            channels = width
    found.append(convolution(channels, size, 1280, kernel=1, stride=1, function="relu6"))
    return [*found, classifier(1280, classes)], pooling(1280, size)


@dataclass(frozen=True)
class Haq:
    """A reader of the published `.npy` array, or of a CSV file with the same figures.

    The array has the shape (layers, weight bits, activation bits).

    Attributes:
        clock_mhz: The clock of the accelerator, which turns cycles into milliseconds. The table
            does not state it, so the user must.
    """

    format: ClassVar[str] = "haq"
    units: ClassVar[str] = "cycles for a batch of 16; clock_mhz turns them into ms per image"
    origin: ClassVar[Origin] = "simulated"
    batch: ClassVar[int] = 16
    clock_mhz: float | None = None

    def read(self, path: Path) -> Imported:
        """The rows of all layers, per image; residual additions and the pool are free, as in HAQ.

        Raises:
            TargetError: If the file cannot be read, `clock_mhz` is not set, or no figure can be
                mapped.
        """
        if self.clock_mhz is None or not 0 < self.clock_mhz < float("inf"):
            raise reject(
                path,
                f"is in cycles and clock_mhz is {self.clock_mhz}",
                "say how fast the clock runs: --set clock_mhz=200",
            )
        named, pool = layers()
        items = each(self._records(path), lambda where, r: self._entry(where, r, named))
        uncounted = Entry("the pool", pool, of_bits(None, EDGE_BITS), 0.0)
        return Imported(
            origin=self.origin,
            device="a bit-serial accelerator (BISMO-like), simulated",
            runtime="HAQ's simulator",
            source="Wang et al. 2019, github.com/mit-han-lab/haq, qmobilenetv2_imagenet100_batch16",
            units=self.units,
            fusion=CONVOLUTIONS,
            notes={
                "batch": f"{self.batch}, figures are per image",
                "clock": f"{self.clock_mhz:g} MHz, given by the user",
                "additions": "within the convolution before them, at no cost of their own",
            },
            **vars(collect(path, [*items, uncounted])),
        )

    def _records(self, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if path.suffix != ".npy":
            yield from reading.table(path, COLUMNS)
            return
        cycles = reading.array(path)
        if cycles.ndim != 3:
            fault = f"has the shape {cycles.shape}"
            raise reject(path, fault, "HAQ's is (layers, weight bits, activation bits)")
        for (layer, w, a), value in np.ndenumerate(cycles):
            values = (layer, w + 1, a + 1, float(value))
            yield f"[{layer}, {w}, {a}]", dict(zip(COLUMNS, values, strict=True))

    def _entry(self, where: str, record: Mapping[str, Any], named: list[Kernel]) -> Item:
        layer = reading.whole(record["layer"], "layer", least=0)
        bits = {name: reading.whole(record[name], name) for name in ("w_bits", "a_bits")}
        if layer >= len(named):
            raise Unmappable(f"layer {layer}; MobileNetV2 has {len(named)}, from 0")
        if max(bits.values()) > 8:
            raise Unmappable(f"bits {bits}; HAQ's go from 1 to 8")
        cycles = reading.number(record["latency_cycles"], "latency")
        per_image_ms = cycles / (float(self.clock_mhz or 0) * 1e3) / self.batch
        computed = of_bits(*bits.values())
        return Entry(where, named[layer], computed, per_image_ms, axes=bits, among=(layer,))
