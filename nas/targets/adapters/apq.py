"""The adapter for APQ's table of the BitFusion accelerator: convolutions at many bit-widths.

The table is `lut/BitFusion_new.b1.dict` of github.com/mit-han-lab/apq (Wang et al. 2020, CVPR,
section 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

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
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable, Unmapped
from nas.targets.numerics import Numerics, of_bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Conv2d

SHAPE = ("in_ch", "out_ch", "in_size", "kernel", "stride", "pad", "groups")
BITS = ("w_bits", "a_bits")
COLUMNS = (*SHAPE, *BITS, "latency_ms", "energy_mj")
EDGE = of_bits(8, 8)
# The kernels that the published entries `head` and `tail` contain. The whole cost of an entry is
# given to its first kernel.
EDGES = {
    "head": (
        convolution(32, 112, 16, kernel=1, stride=1, function=None),
        convolution(3, 224, 32, kernel=3, stride=2, function="relu6"),
        depthwise(32, 112, kernel=3, stride=1, function="relu6"),
    ),
    "tail": (
        convolution(320, 7, 1280, kernel=1, stride=1, function="relu6"),
        pooling(1280, 7),
        classifier(1280, 1000),
    ),
}
OUTSIDE = "the layers around the table; their cost is published in one figure, see option fixed"
_KEY = re.compile(rf"\({', '.join([r'([0-9]{1,6})'] * len(SHAPE))}\)-W([0-9]+)A([0-9]+)")


@dataclass(frozen=True)
class Apq:
    """A reader of the published JSON text, or of a CSV file with the same figures.

    Attributes:
        absent: What happens to kernels at bits that the table lacks: 7x7 depthwise convolutions
            with 4-bit activations. `"refuse"` makes no row, so the device refuses them.
            `"container"` takes the row of the next wider activations.
        fixed: A JSON file with the costs of `head` and `tail`, needed where the table is CSV.
    """

    format: ClassVar[str] = "apq"
    units: ClassVar[str] = "ms and mJ, batch 1"
    origin: ClassVar[Origin] = "simulated"
    absent: Literal["refuse", "container"] = "refuse"
    fixed: Path | None = None

    def read(self, path: Path) -> Imported:
        """The rows of all convolutions; an addition behind a convolution is free, as in APQ.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        records = dict(self._records(path))
        if self.fixed is not None:
            records |= dict(self._records(self.fixed))
        around = {name: records.pop(name) for name in EDGES if name in records}
        items = [*each(records.items(), _entry)]
        if self.absent == "container":
            items += _contained([item for item in items if isinstance(item, Entry)])
        items += each(_booked(around), _edge)
        items += [Unmapped(name, OUTSIDE) for name in EDGES if name not in around]
        entries = [item for item in items if isinstance(item, Entry)]
        found = collect(path, [*items, *_additions(entries)])
        return Imported(
            origin=self.origin,
            device="BitFusion, a bit-composable accelerator",
            runtime="the simulator of Sharma et al. 2018",
            source="Wang et al. 2020, github.com/mit-han-lab/apq, lut/BitFusion_new.b1.dict",
            units=self.units,
            fusion=CONVOLUTIONS,
            notes={
                "batch": "1",
                "additions": "within the convolution before them, at no cost of their own",
                "edges": "head and tail, one figure each, are booked on one kernel of each",
            },
            **vars(found),
        )

    def _records(self, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if not reading.text(path).lstrip().startswith("{"):
            yield from reading.table(path, COLUMNS)
            return
        for key, value in reading.mapping(path, reading.document(path)).items():
            yield key, {"key": key, "figures": value}


def _entry(where: str, record: Mapping[str, Any]) -> Item:
    fields = _parsed(record) if "key" in record else record
    shape = {name: reading.whole(fields[name], name, least=0) for name in SHAPE}
    bits = {name: reading.whole(fields[name], name) for name in BITS}
    kernel = _kernel(shape)
    width = {"out": shape["out_ch"]} if kernel.output[0] > shape["in_ch"] else {}
    return Entry(
        where,
        kernel,
        of_bits(bits["w_bits"], bits["a_bits"]),
        latency_ms=reading.number(fields["latency_ms"], "latency"),
        energy_mj=reading.number(fields["energy_mj"], "energy"),
        axes={**bits, "kernel": shape["kernel"], "in": shape["in_ch"], **width},
    )


def _booked(around: Mapping[str, Any]) -> Iterator[tuple[str, tuple[object, Kernel, int]]]:
    """The kernels of `head` and `tail`, each with a place for messages.

    With a kernel come the published figures of its entry and the share of them that it carries: 1
    for the first kernel of an entry, 0 for all others.
    """
    for name, record in around.items():
        for place, kernel in enumerate(EDGES[name]):
            yield f"{name}, kernel {place}", (record.get("figures"), kernel, int(place == 0))


def _edge(where: str, booked: tuple[object, Kernel, int]) -> Item:
    figures, kernel, share = booked
    known = _figures(figures)
    return Entry(
        where,
        kernel,
        EDGE if kernel.macs else Numerics(None, EDGE.activation),
        latency_ms=share * reading.number(known["latency"], "latency"),
        energy_mj=share * reading.number(known["energy"], "energy"),
    )


def _figures(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict) or not {"latency", "energy"} <= value.keys():
        raise Unmappable("no latency and energy")
    return value


def _parsed(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of the CSV columns for one entry of the published JSON.

    Raises:
        Unmappable: If the key has another form.
    """
    key, figures = record["key"], _figures(record["figures"])
    matched = _KEY.fullmatch(key)
    if not matched:
        raise Unmappable("the key is not '(in, out, size, kernel, stride, pad, groups)-WwAa'")
    values = dict(zip((*SHAPE, *BITS), matched.groups(), strict=True))
    return {**values, "latency_ms": figures["latency"], "energy_mj": figures["energy"]}


def _kernel(shape: Mapping[str, int]) -> Kernel:
    """The kernel with a published shape.

    ReLU6 follows a convolution that widens and a depthwise one; nothing follows a projection.

    Raises:
        Unmappable: If the shape is that of no operator of this engine.
    """
    channels, out, size = shape["in_ch"], shape["out_ch"], shape["in_size"]
    window = {"kernel": shape["kernel"], "stride": shape["stride"]}
    if min(channels, out, size, *window.values()) < 1:
        raise Unmappable("a shape of 0")
    if shape["pad"] != shape["kernel"] // 2:
        raise Unmappable(f"pad = {shape['pad']} is not half the kernel")
    if shape["groups"] == channels == out and shape["groups"] > 1:
        return depthwise(channels, size, **window, function="relu6")
    if shape["groups"] != 1:
        raise Unmappable(f"groups = {shape['groups']}; ours are 1 or one per channel")
    function = "relu6" if out > channels else None
    return convolution(channels, size, out, **window, function=function)


def _contained(entries: list[Entry]) -> Iterator[Entry]:
    """Additional entries for bits that some kernel lacks and another has.

    The figures are those of the same kernel at the same weight bits and next wider activations.
    """
    by_kernel: dict[Kernel, dict[Numerics, Entry]] = {}
    for entry in entries:
        by_kernel.setdefault(entry.kernel, {})[entry.numerics] = entry
    every = sorted({entry.numerics for entry in entries})
    for kernel, rows in by_kernel.items():
        for numerics in every:
            wider = [b for b in rows if b.holds(numerics) and b.weight == numerics.weight]
            if numerics not in rows and wider:
                held = rows[min(wider)]
                where = f"{held.where} for {numerics}"
                yield Entry(where, kernel, numerics, held.latency_ms, energy_mj=held.energy_mj)


def _additions(entries: list[Entry]) -> Iterator[Entry]:
    """Additional entries for projections with a residual addition, at the cost without it."""
    for entry in entries:
        kernel = entry.kernel
        if isinstance(kernel.op, Conv2d) and len(kernel.fused) == 1:
            yield replace(entry, where=f"{entry.where} with an addition", kernel=added(kernel))
