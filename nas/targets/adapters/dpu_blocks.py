"""The adapter for latencies of Once-for-All blocks on an FPGA: int8, one line per block.

The table is github.com/Pilot-Khadka/Latency-dataset-for-Once-For-All-network. It was measured on an
Ultra96-v2 with a DPU under Vitis AI, with 500 runs per block at 224 x 224.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import classifier, convolution, each, pooling
from nas.targets.adapters.block_kernels import BLOCKS, block_kernel, mixed
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable, Unmapped
from nas.targets.numerics import of_bits
from search_spaces.kernels import Kernel
from search_spaces.mobilenet import InvertedResidual
from search_spaces.ops import Nonlinearity

COLUMNS = ("name", "runs", "avg_ms")
FUNCTIONS: Mapping[str, Nonlinearity] = {"relu": "relu", "h_swish": "hardswish"}
POOL = (1152, 7)
UNTIMED = "was not timed; say what it costs with --set pool_ms=0, or its kernel has no row"
_BLOCK = re.compile(
    r"ResidualBlock-in_(?P<c>\d+)x(?P<s>\d+)x(?P=s)-out_(?P<o>\d+)-k_(?P<k>\d+)-e_(?P<e>\d+)"
    r"-s_(?P<d>\d+)-act_(?P<act>\w+)-use_se_(?P<se>\w+)",
    re.ASCII,
)
_CONV = re.compile(
    r"Conv_in-(?P<c>\d+)x(?P<s>\d+)x(?P=s)_out-(?P<o>\d+)_k-(?P<k>\d+)_act-(?P<act>relu|h_swish)\w*",
    re.ASCII,
)
_LINEAR = re.compile(r"Linear_in-(?P<c>\d+)_out-(?P<o>\d+)", re.ASCII)
_FLAGS = {"True": True, "False": False}


@dataclass(frozen=True)
class DpuBlocks:
    """A reader of a CSV file with the columns name, runs, avg_ms.

    Attributes:
        pool_ms: The latency of the average pool, which the file lacks.
        stem: The nonlinearity of the first convolution in the table that is made. The convolution
            was measured with ReLU, while that of Once-for-All has hard-swish.
    """

    format: ClassVar[str] = "dpu-blocks"
    units: ClassVar[str] = "ms, int8, batch 1"
    origin: ClassVar[Origin] = "measured"
    pool_ms: float | None = None
    stem: Literal["relu", "hardswish"] = "relu"

    def read(self, path: Path) -> Imported:
        """The rows of blocks, each one kernel, and of the single layers around them.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        items = [*each(reading.table(path, COLUMNS), self._entry)]
        if self.pool_ms is None:
            items.append(Unmapped("average pool", UNTIMED))
        else:
            pool = pooling(*POOL)
            items.append(Entry("average pool, by the user", pool, of_bits(None, 8), self.pool_ms))
        return Imported(
            origin=self.origin,
            device="Ultra96-v2, DPUCZDX8G B2304 at 200 MHz",
            runtime="Vitis AI, int8",
            source="github.com/Pilot-Khadka/Latency-dataset-for-Once-For-All-network",
            units=self.units,
            notes={"batch": "1", "clock": "200 MHz"},
            fusion=BLOCKS,
            **vars(collect(path, items)),
        )

    def _entry(self, where: str, record: Mapping[str, str]) -> Item:
        name = record["name"]
        for pattern, build in _KERNELS:
            if matched := pattern.fullmatch(name):
                kernel, axes = build({**matched.groupdict(), "stem": self.stem})
                figure, count = reading.number(record["avg_ms"], "avg_ms"), record["runs"]
                return Entry(
                    f"{where}: {name[:80]}",
                    kernel,
                    of_bits(8, 8),
                    latency_ms=figure,
                    count=reading.whole(count, "runs"),
                    axes=axes,
                )
        raise Unmappable(f"{reading.shortened(name)} is not a name of this format")


Built = tuple[Kernel, Mapping[str, int]]


def _block(n: Mapping[str, str]) -> Built:
    numbers = {name: reading.whole(n[name], name) for name in "csoked"}
    channels, size, out, kernel, expand, stride = (numbers[name] for name in "csoked")
    made = block_kernel(
        channels,
        size,
        InvertedResidual(
            "block",
            out,
            hidden=None if expand == 1 else expand * channels,
            kernel=kernel,
            stride=stride,
            function=reading.one_of(n["act"], "act", FUNCTIONS),
            squeeze_excite=reading.one_of(n["se"], "use_se", _FLAGS),
            residual=stride == 1 and channels == out,
        ),
    )
    return made, {name: numbers[name] for name in ("k", "e", "c")}


def _conv(n: Mapping[str, str]) -> Built:
    channels, size, out, kernel = (reading.whole(n[name], name) for name in "csok")
    function = FUNCTIONS[n["act"]]
    if channels == 3:  # the first convolution; its name lacks the stride, 2 in Once-for-All
        stem = {"kernel": kernel, "stride": 2, "function": n["stem"]}
        return convolution(channels, size, out, **stem), {}
    if size == 1:
        return mixed(channels, out, function), {}
    return convolution(channels, size, out, kernel=kernel, stride=1, function=function), {}


def _linear(n: Mapping[str, str]) -> Built:
    return classifier(*(reading.whole(n[name], name) for name in "co")), {}


_KERNELS: tuple[tuple[re.Pattern[str], Callable[[Mapping[str, str]], Built]], ...] = (
    (_BLOCK, _block),
    (_CONV, _conv),
    (_LINEAR, _linear),
)
