"""The adapter for TF-NAS's latencies of inverted residuals, for every hidden width.

The figures are linear fits to measurements, in `latency_pkl` of github.com/AberHu/TF-NAS (Hu et al.
2020, ECCV). They are published as pickles; write the dictionary as JSON. In TF-NAS, a block whose
hidden width does not exceed the width of its input has no expansion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import each
from nas.targets.adapters.block_kernels import BLOCKS, block_kernel
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable
from nas.targets.numerics import of_bits
from search_spaces.mobilenet import InvertedResidual

COLUMNS = ("in_size", "in_ch", "se_ch", "out_ch", "kernel", "stride", "act", "mid_ch", "latency_ms")
_KEY = re.compile(r"MBInvertedResBlock_(\d+)_(\d+)_(\d+)_(\d+)_k(\d+)_s(\d+)_(\w+)", re.ASCII)
FUNCTIONS = {"relu": "relu", "relu6": "relu6"}


@dataclass(frozen=True)
class TfNas:
    """A reader of the dictionary `{block: {hidden width: ms}}` as JSON, or of the same as CSV.

    Attributes:
        device: The device, in words; the file does not state it.
        batch: The number of images that were run at once, by which latencies are divided: 32 in the
            GPU table, 1 in the CPU table.
    """

    format: ClassVar[str] = "tf-nas"
    units: ClassVar[str] = "ms for a whole batch, given here per image"
    origin: ClassVar[Origin] = "predicted"
    device: str = "not stated in the file; NVIDIA Titan RTX for latency_gpu"
    batch: int = 32

    def read(self, path: Path) -> Imported:
        """The rows of blocks with ReLU or ReLU6 and without squeeze-and-excitation.

        Other blocks use functions that this engine does not have.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        items = each(_records(path), self._entry)
        return Imported(
            origin=self.origin,
            device=self.device,
            runtime="PyTorch 1.1",
            source="Hu et al. 2020, github.com/AberHu/TF-NAS, latency_pkl",
            units=self.units,
            notes={"batch": f"{self.batch}, figures are per image", "figures": "linear fits"},
            fusion=BLOCKS,
            **vars(collect(path, items)),
        )

    def _entry(self, where: str, record: Mapping[str, Any]) -> Item:
        names = [name for name in COLUMNS[:-1] if name != "act"]
        n = {name: reading.whole(record[name], name, least=0) for name in names}
        function = reading.one_of(record["act"], "act", FUNCTIONS)
        if n["se_ch"]:
            raise Unmappable("gates with a sigmoid; ours have a hard sigmoid")
        if n["mid_ch"] <= n["in_ch"]:
            raise Unmappable(
                "hidden width at most the input's, where TF-NAS leaves the expansion out"
            )
        kernel = block_kernel(
            n["in_ch"],
            n["in_size"],
            InvertedResidual(
                "block",
                n["out_ch"],
                hidden=n["mid_ch"],
                kernel=n["kernel"],
                stride=n["stride"],
                function=function,
                squeeze_excite=False,
                residual=n["stride"] == 1 and n["in_ch"] == n["out_ch"],
            ),
        )
        latency_ms = reading.number(record["latency_ms"], "latency") / self.batch
        axes = {"kernel": n["kernel"], "mid_ch": n["mid_ch"]}
        return Entry(where, kernel, of_bits(32, 32), latency_ms, axes=axes, among=(n["in_ch"],))


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not reading.text(path).lstrip().startswith("{"):
        yield from reading.table(path, COLUMNS)
        return
    for key, widths in reading.mapping(path, reading.document(path)).items():
        matched = _KEY.fullmatch(key)
        for width, latency_ms in reading.mapping(path, widths).items():
            named = dict(zip(COLUMNS, matched.groups(), strict=False)) if matched else {}
            unread = dict.fromkeys(COLUMNS, key)
            yield (
                f"{key[:60]}, {width[:9]}",
                {**unread, **named, "mid_ch": width, "latency_ms": latency_ms},
            )
