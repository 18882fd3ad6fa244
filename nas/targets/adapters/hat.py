"""The adapter for HAT's latencies of whole transformers, described by ten averages each.

The data set is `latency_dataset` of github.com/mit-han-lab/hardware-aware-transformers (Wang et al.
2020, ACL).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import each
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Imported, Origin, Sample, Unmapped

PARTS = ("encoder", "decoder")
MEANS = tuple(f"latency_mean_{part}" for part in PARTS)
SPREADS = tuple(f"latency_std_{part}" for part in PARTS)
KERNELS = (
    "a row is a whole transformer by averages over its layers, so no kernel has a figure of its own"
)


@dataclass(frozen=True)
class Hat:
    """A reader of one CSV file, which is about one device and task.

    Every column but the four latencies is a feature.

    Attributes:
        device: The device, in words; only the name of the file states it.
    """

    format: ClassVar[str] = "hat"
    units: ClassVar[str] = "ms for a whole encoder and decoder"
    origin: ClassVar[Origin] = "measured"
    device: str = "not stated in the file"

    def read(self, path: Path) -> Imported:
        """The samples of the file; a latency is the sum of encoder and decoder.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        found = collect(path, each(reading.table(path, (*MEANS, *SPREADS)), _sample))
        whole = Unmapped("kernels", KERNELS)
        return Imported(
            origin=self.origin,
            device=self.device,
            runtime="PyTorch",
            source="Wang et al. 2020, github.com/mit-han-lab/hardware-aware-transformers",
            units=self.units,
            **{**vars(found), "unmapped": (whole, *found.unmapped)},
        )


def _sample(where: str, record: Mapping[str, str]) -> Item:
    means = [reading.number(record[name], name) for name in MEANS]
    spreads = [reading.number(record[name], name) for name in SPREADS]
    names = [name for name in record if name not in (*MEANS, *SPREADS)]
    return Sample(
        where,
        {name: reading.number(record[name], name) for name in names},
        latency_ms=min(means) if min(means) < 0 else sum(means),
        spread_ms=math.hypot(*spreads),
        parts_ms=dict(zip(PARTS, means, strict=True)),
    )
