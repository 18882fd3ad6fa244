"""The adapter for HW-NAS-Bench's latencies and energies of FBNet blocks on six devices.

The table is github.com/RICE-EIC/HW-NAS-Bench (Li et al. 2021, ICLR). It is published as one pickle;
write the dictionary of one device and metric as JSON. A block is that of Wu et al. 2019, figure 3:
it widens its input (also where the expansion is 1), convolves each channel, and narrows. ReLU
follows all of these but the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import classifier, convolution, each, pooling
from nas.targets.adapters.block_kernels import BLOCKS, block_kernel
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable
from nas.targets.numerics import of_bits
from search_spaces.kernels import Kernel
from search_spaces.mobilenet import InvertedResidual

_FIELD = re.compile(r"([A-Za-z]+?)_?([0-9]{1,6})")
Numbers = Mapping[str, int]


@dataclass(frozen=True)
class HwNasBench:
    """A reader of one device's JSON map from keys to milliseconds.

    Attributes:
        device: The device, in words; the file does not state it.
        energy: A second file of the same device with millijoules, if energies are wanted.
    """

    format: ClassVar[str] = "hw-nas-bench"
    units: ClassVar[str] = "ms, and mJ in a second file, batch 1"
    origin: ClassVar[Origin] = "measured"
    device: str = "not stated in the file"
    energy: Path | None = None

    def read(self, path: Path) -> Imported:
        """The rows of blocks without groups, each one kernel, and of the layers around them.

        Raises:
            TargetError: If a file cannot be read, or no figure can be mapped.
        """
        energies = {} if self.energy is None else _figures(self.energy)
        records = [(key, (value, energies.get(key))) for key, value in _figures(path).items()]
        found = collect(path, each(records, _entry))
        return Imported(
            origin=self.origin,
            device=self.device,
            runtime="the device's own, see Li et al. 2021, table 1",
            source="Li et al. 2021, github.com/RICE-EIC/HW-NAS-Bench",
            units=self.units,
            notes={"batch": "1", "precision": "not in the format; taken as full precision"},
            fusion=BLOCKS,
            **vars(found),
        )


def _figures(path: Path) -> dict[str, Any]:
    return reading.mapping(path, reading.document(path))


def _entry(where: str, figures: tuple[object, object]) -> Item:
    latency_ms, energy_mj = figures
    kind, _, rest = where.partition("_")
    build: Callable[[Numbers], Kernel] = reading.one_of(kind, "the kind of row", _KERNELS)
    numbers = {name.lower(): int(value) for name, value in _FIELD.findall(rest)}
    try:
        if numbers.get("h") != numbers.get("w"):
            raise Unmappable("the input is not square")
        kernel = build({name: reading.whole(value, name) for name, value in numbers.items()})
    except KeyError as missing:
        raise Unmappable(f"the key names no {missing.args[0]}") from None
    weighted = kernel.macs > 0
    axes = {n: v for n, v in numbers.items() if n in ("exp", "kernel")}
    return Entry(
        where,
        kernel,
        of_bits(32 if weighted else None, 32),
        latency_ms=reading.number(latency_ms, "latency"),
        energy_mj=None if energy_mj is None else reading.number(energy_mj, "energy"),
        axes=axes if kind == "ConvBlock" else {},
    )


def _conv(n: Numbers) -> Kernel:
    _ungrouped(n)
    window = {"kernel": n["kernel"], "stride": n["stride"]}
    return convolution(n["cin"], n["h"], n["cout"], **window, function="relu")


def _block(n: Numbers) -> Kernel:
    _ungrouped(n)
    return block_kernel(
        n["cin"],
        n["h"],
        InvertedResidual(
            "block",
            n["cout"],
            hidden=n["cin"] * n["exp"],
            kernel=n["kernel"],
            stride=n["stride"],
            function="relu",
            squeeze_excite=False,
            residual=n["stride"] == 1 and n["cin"] == n["cout"],
        ),
    )


def _ungrouped(n: Numbers) -> None:
    if n.get("group", 1) != 1:
        raise Unmappable(f"{n['group']} groups with a shuffle; ours are 1 or one per channel")


def _skip(_: Numbers) -> Kernel:
    raise Unmappable("a skipped block; here it is absent and costs nothing")


def _pool(n: Numbers) -> Kernel:
    if n["kernel"] != n["h"]:
        raise Unmappable("it does not average over the whole image")
    return pooling(n["cin"], n["h"])


_KERNELS = {
    "ConvNorm": _conv,
    "ConvBlock": _block,
    "Skip": _skip,
    "AvgP": _pool,
    "FC": lambda n: classifier(n["cin"], n["cout"]),
}
