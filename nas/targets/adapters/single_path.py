"""The adapter for Single-Path NAS's block latencies on a Pixel 1.

The table is in github.com/dstamoulis/single-path-nas (Stamoulis et al. 2019, ECML). It is a JSON
map from the number of a block to the milliseconds of its four candidates. The blocks are those of
`supernet_macro.py` in the same repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import each
from nas.targets.adapters.block_kernels import BLOCKS, block_kernel
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import Entry, Imported, Origin, Unmappable, Unmapped
from nas.targets.numerics import of_bits
from search_spaces.mobilenet import InvertedResidual

# Candidate -> kernel, expansion.
CANDIDATES = {"0": (3, 3), "1": (3, 6), "2": (5, 3), "3": (5, 6)}
# Width and first stride of the five stages of four blocks each. The first stage reads 16 channels
# at 112 x 112.
STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2))
BLOCKS_EACH = 4
OUTSIDE = (
    "the code adds 19.5999 ms for them in one sum, which it does not split; "
    "profile them, or compare networks without them"
)


@dataclass(frozen=True)
class SinglePath:
    """A reader of the published map; blocks 0 and 21, which have no candidates, are left out."""

    format: ClassVar[str] = "single-path"
    units: ClassVar[str] = "ms, batch 1"
    origin: ClassVar[Origin] = "measured"

    def read(self, path: Path) -> Imported:
        """The rows of the 20 blocks with candidates, each one kernel.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        found = collect(path, each(_records(path), _entry))
        rest = Unmapped("stem, first and last block, head", OUTSIDE)
        return Imported(
            origin=self.origin,
            device="Google Pixel 1",
            runtime="TensorFlow Lite",
            source="Stamoulis et al. 2019, github.com/dstamoulis/single-path-nas",
            units=self.units,
            notes={"batch": "1", "precision": "not in the format; taken as full precision"},
            fusion=BLOCKS,
            **{**vars(found), "unmapped": (rest, *found.unmapped)},
        )


def _records(path: Path) -> Iterator[tuple[str, tuple[str, str, object]]]:
    for block, candidates in reading.mapping(path, reading.document(path)).items():
        for candidate, figure in reading.mapping(path, candidates).items():
            yield f"block {block[:20]}, candidate {candidate[:20]}", (block, candidate, figure)


def _entry(where: str, record: tuple[str, str, object]) -> Item:
    number = reading.whole(record[0], "block", least=0) - 1
    kernel, expansion = reading.one_of(record[1], "candidate", CANDIDATES)
    if not 0 <= number < len(STAGES) * BLOCKS_EACH:
        raise Unmappable("a block that is not searched; it has no four candidates")
    stage, block = divmod(number, BLOCKS_EACH)
    channels, size = 16, 112
    for before, stride in STAGES[:stage]:
        channels, size = before, size // stride
    width, stride = STAGES[stage]
    if block:
        channels, size, stride = width, size // stride, 1
    made = block_kernel(
        channels,
        size,
        InvertedResidual(
            "block",
            width,
            hidden=channels * expansion,
            kernel=kernel,
            stride=stride,
            function="relu",
            squeeze_excite=False,
            residual=block > 0,
        ),
    )
    latency_ms = reading.number(record[2], "latency")
    axes = {"kernel": kernel, "expansion": expansion}
    return Entry(where, made, of_bits(32, 32), latency_ms, axes=axes, among=(number,))
