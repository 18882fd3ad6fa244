"""The adapter for the operator table of FBNet and ChamNet: int8 operators on a phone.

The table is `runtime_lut` of github.com/facebookresearch/mobile-vision, with one JSON record per
operator (Wu et al. 2019, Dai et al. 2019, both CVPR).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import (
    CONVOLUTIONS,
    classifier,
    convolution,
    depthwise,
    each,
    pooling,
)
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable, plain, reject
from nas.targets.numerics import of_bits
from search_spaces.kernels import Fusion, Kernel
from search_spaces.ops import Add, Nonlinearity

EIGHT = 8
# In QNNPACK, additions and pools are operators of their own.
SEPARATE = Fusion(tuple(chain for chain in CONVOLUTIONS.chains if Add not in chain))
QUANTILES = ("p0", "p10", "p50", "p90", "p100")
DECILES_PER_DEVIATION = 2.5631  # between the 10th and the 90th percentile of a normal distribution
_ARGUMENT = re.compile(r'name:\s*"(\w{1,40})"\s+[if]:\s*(-?[0-9]{1,9})\b')


@dataclass(frozen=True)
class FbNet:
    """A reader of the unzipped file: one record per line, or a list of records."""

    format: ClassVar[str] = "fbnet"
    units: ClassVar[str] = "microseconds (percentiles), int8, batch 1"
    origin: ClassVar[Origin] = "measured"

    def read(self, path: Path) -> Imported:
        """The rows of convolutions, fully connected layers, additions and global pools.

        Raises:
            TargetError: If the file cannot be read, mixes devices, or no figure can be mapped.
        """
        records = list(_records(path))
        devices = dict.fromkeys(str(record.get("device", "")) for _, record in records)
        if len(devices) > 1:
            fault = f"mixes the devices {', '.join(map(reading.shortened, devices))}"
            raise reject(path, fault, "split it, one file per device")
        found = collect(path, each(records, _entry))
        return Imported(
            origin=self.origin,
            device=plain(next(iter(devices), "")) or "not stated in the file",
            runtime="Caffe2 with QNNPACK, int8",
            source="github.com/facebookresearch/mobile-vision, runtime_lut (CC BY-NC)",
            units=self.units,
            fusion=SEPARATE,
            notes={"batch": "1", "statistic": "median; spread from the 10th and 90th percentile"},
            **vars(found),
        )


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    words = reading.text(path)
    if words.lstrip().startswith("["):
        loaded = reading.document(path)
    else:
        loaded = [_line(path, n, line) for n, line in enumerate(words.splitlines(), 1) if line]
    for place, record in enumerate(loaded, 1):
        yield f"record {place}", reading.mapping(path, record)


def _line(path: Path, number: int, line: str) -> object:
    """The record of one line; a published record is JSON inside a JSON text."""
    try:
        record = reading.plain_json(line)
        return reading.plain_json(record) if isinstance(record, str) else record
    except ValueError as error:
        raise reject(path, f"line {number} is no JSON ({error})", "fetch the file again") from error


def _entry(where: str, record: Mapping[str, Any]) -> Item:
    build: Callable[[list[list[int]], dict[str, int]], Kernel] = reading.one_of(
        record.get("op_type"), "op_type", _KERNELS
    )
    shapes = _shapes(record.get("input_shapes"))
    if any(len(shape) == 0 or 0 in shape for shape in shapes) or shapes[0][0] != 1:
        raise Unmappable(f"input_shapes = {shapes}; the batch must be 1")
    kernel = build(shapes, _arguments(record.get("op_args", [])))
    p = {q: reading.number(record.get(f"runtime_us_{q}"), f"runtime_us_{q}") for q in QUANTILES}
    weighted = hasattr(kernel.op, "weight_shape") and kernel.op.weight_shape(*kernel.inputs)
    return Entry(
        where,
        kernel,
        of_bits(EIGHT if weighted else None, EIGHT),
        latency_ms=p["p50"] / 1e3,
        spread_ms=(p["p90"] - p["p10"]) / 1e3 / DECILES_PER_DEVIATION,
    )


def _shapes(value: object) -> list[list[int]]:
    if not isinstance(value, list) or not value or not all(isinstance(s, list) for s in value):
        raise Unmappable("input_shapes is no list of shapes")
    return [[reading.whole(length, "a length", least=0) for length in shape] for shape in value]


def _arguments(texts: object) -> dict[str, int]:
    """The whole-number arguments of an operator by name, from protocol-buffer texts."""
    if not isinstance(texts, list):
        raise Unmappable("op_args is no list")
    matched = (_ARGUMENT.search(text) for text in texts if isinstance(text, str))
    return {found[1]: int(found[2]) for found in matched if found}


def _square(shapes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The channels and the size of the first input, `(1, height, width, channels)`."""
    if len(shapes[0]) != 4 or shapes[0][1] != shapes[0][2]:
        raise Unmappable(f"input {shapes[0]} is no square image")
    return shapes[0][3], shapes[0][1]


def _conv(function: Nonlinearity | None) -> Callable[..., Kernel]:
    def build(shapes: list[list[int]], arguments: dict[str, int]) -> Kernel:
        channels, size = _square(shapes)
        if len(shapes) < 2 or len(shapes[1]) != 4 or shapes[1][1] != shapes[1][2]:
            raise Unmappable("the weight is not (out, k, k, in)")
        out, kernel, _, read = shapes[1]
        stride = reading.whole(arguments.get("stride", 1), "stride")
        if arguments.get("pad", arguments.get("pad_t", kernel // 2)) != kernel // 2:
            raise Unmappable("the padding is not half the kernel")
        window = {"kernel": kernel, "stride": stride, "function": function}
        if read == channels:
            return convolution(channels, size, out, **window)
        if read == 1 and out == channels:
            return depthwise(channels, size, **window)
        raise Unmappable(f"{channels // max(read, 1)} groups; ours are 1 or one per channel")

    return build


def _linear(shapes: list[list[int]], _: dict[str, int]) -> Kernel:
    features = shapes[0][-1]
    if len(shapes) < 2 or len(shapes[1]) != 2 or shapes[1][1] != features:
        raise Unmappable("the weight is not (out, in)")
    return classifier(features, shapes[1][0])


def _add(shapes: list[list[int]], _: dict[str, int]) -> Kernel:
    channels, size = _square(shapes)
    if len(shapes) != 2 or shapes[1] != shapes[0]:
        raise Unmappable("it does not add two equal shapes")
    return Kernel(Add(), (), ((channels, size, size),) * 2)


def _pool(shapes: list[list[int]], arguments: dict[str, int]) -> Kernel:
    channels, size = _square(shapes)
    if arguments.get("kernel", size) != size and not arguments.get("global_pooling"):
        raise Unmappable("it does not average over the whole image")
    return pooling(channels, size)


_KERNELS = {
    "Int8Conv": _conv(None),
    "Int8ConvRelu": _conv("relu"),
    "Int8FC": _linear,
    "Int8Add": _add,
    "Int8AveragePool": _pool,
}
