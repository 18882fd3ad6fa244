"""The adapters for tables of Once-for-All and ProxylessNAS: one key per block.

A key is a type and pairs `name:value`, all joined by `-`. The tables are `ofa/note10` and
`proxylessnas/mobile_trim` of github.com/han-cai/files (Cai et al. 2019 and 2020, ICLR). The Jetson
tables of DynamicOFA are JSON with the same keys (Lou et al. 2021). In ProxylessNAS, `expand` is a
ratio and the spread is a variance. In Once-for-All, `expand` is a number of channels and the spread
is a standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import nas.targets.adapters.reading as reading
from nas.targets.adapters.adapter import classifier, convolution, each, pooling
from nas.targets.adapters.block_kernels import BLOCKS, block_kernel, mixed, square
from nas.targets.adapters.collect import Item, collect
from nas.targets.adapters.imported import (
    Entry,
    Finding,
    Imported,
    Origin,
    Unmappable,
    Unmapped,
    counted,
)
from nas.targets.numerics import of_bits
from search_spaces.fusion import Pattern
from search_spaces.kernels import Kernel
from search_spaces.mobilenet import InvertedResidual
from search_spaces.ops import Flatten, GlobalPool, Linear, Nonlinearity

FULL = of_bits(32, 32)
SWISH = {"0": False, "1": True}


@dataclass(frozen=True)
class Ofa:
    """A reader of YAML or JSON for one resolution, or of CSV for several.

    The columns of the CSV are key, mean_ms, std_ms, count.

    Attributes:
        device: The device, in words; the file does not state it.
        other: A table of another device. Rows with exactly the same figure in both tables were
            copied and are left out.
    """

    format: ClassVar[str] = "ofa"
    units: ClassVar[str] = "ms with standard deviation, batch 1; expand in channels"
    origin: ClassVar[Origin] = "measured"
    chains: ClassVar[tuple[Pattern, ...]] = ()
    device: str = "not stated in the file; Samsung Galaxy Note10 for ofa/note10"
    other: Path | None = None

    def read(self, path: Path) -> Imported:
        """The rows of blocks, each one kernel, and of the single layers around them.

        Raises:
            TargetError: If a file cannot be read, or no figure can be mapped.
        """
        records = list(_records(path, "std"))
        copied = self._copied(records)
        kept = [(where, record) for where, record in records if where not in copied]
        items = [*each(kept, _entry), *(Unmapped(w, "a copy of the other table") for w in copied)]
        return _imported(self, path, items, [*_copies(copied, self.other)])

    def _copied(self, records: list[tuple[str, dict[str, Any]]]) -> list[str]:
        """The places of the records whose mean is exactly that of the other table."""
        if self.other is None:
            return []
        known = {record["key"]: record["mean"] for _, record in _records(self.other, "std")}
        return [w for w, r in records if r["key"] in known and known[r["key"]] == r["mean"]]


@dataclass(frozen=True)
class Proxyless:
    """A reader of YAML, or of CSV with the columns key, mean_ms, var, count.

    Attributes:
        device: The device, in words; the file does not state it.
    """

    format: ClassVar[str] = "proxyless"
    units: ClassVar[str] = "ms with variance, batch 1; expand as a ratio"
    origin: ClassVar[Origin] = "measured"
    chains: ClassVar[tuple[Pattern, ...]] = ((GlobalPool, Linear),)
    device: str = "not stated in the file; Google Pixel 1 for proxylessnas/mobile_trim"

    def read(self, path: Path) -> Imported:
        """The rows of blocks, each one kernel, and of the single layers around them.

        Raises:
            TargetError: If the file cannot be read, or no figure can be mapped.
        """
        return _imported(self, path, [*each(_records(path, "var"), _entry)], [])


def _imported(
    adapter: Ofa | Proxyless, path: Path, items: list[Item], copies: list[Finding]
) -> Imported:
    found = collect(path, items)
    return Imported(
        origin=adapter.origin,
        device=adapter.device,
        runtime="TensorFlow Lite",
        source="github.com/han-cai/files, or a table in its grammar",
        units=adapter.units,
        notes={"batch": "1", "precision": "not in the format; taken as full precision"},
        fusion=replace(BLOCKS, chains=(*BLOCKS.chains, *adapter.chains)),
        **{**vars(found), "findings": (*copies, *found.findings)},
    )


def _records(path: Path, spread: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file, each with its place: key, mean, spread and count.

    Args:
        path: The file.
        spread: The name of the spread in the file, `std` or `var`.
    """
    start = reading.text(path)[:4096].splitlines()[:1]
    if start and {"key", "mean_ms"} <= set(start[0].split(",")):
        column = {"std": "std_ms"}.get(spread, spread)
        for where, row in reading.table(path, ("key", "mean_ms", column, "count")):
            values = {"mean": row["mean_ms"], spread: row[column], "count": row["count"]}
            yield f"{where}: {row['key'][:80]}", {"key": row["key"], **values}
        return
    for key, value in reading.mapping(path, reading.yaml_document(path)).items():
        yield key[:80], {"key": key, **(value if isinstance(value, dict) else {"mean": value})}


def _copies(copied: list[str], other: Path | None) -> Iterator[Finding]:
    what = f"rows equal to {other and other.name} to the last digit, left out; measure them"
    return counted("copied", what, copied)


def _entry(where: str, record: Mapping[str, Any]) -> Item:
    kind, *pairs = str(record["key"]).split("-")
    fields = dict(pair.split(":", 1) for pair in pairs if ":" in pair)
    if len(fields) < len(pairs):
        raise Unmappable("the key is not of the form type-name:value-name:value")
    ratios = "var" in record
    kernel, axes = _kernel(kind, fields, ratios=ratios)
    spread = reading.number(record.get("var" if ratios else "std", math.nan), "spread")
    return Entry(
        where,
        kernel,
        FULL if kind != "AvgPool2D" else of_bits(None, 32),
        latency_ms=reading.number(record.get("mean", math.nan), "mean"),
        spread_ms=math.sqrt(spread) if ratios and spread >= 0 else spread,
        count=reading.whole(record.get("count", 1), "count"),
        axes=axes,
    )


def _kernel(
    kind: str, fields: Mapping[str, str], *, ratios: bool
) -> tuple[Kernel, Mapping[str, int]]:
    """The kernel that a key describes, and the axes along which it should not get faster.

    Args:
        kind: The type at the beginning of the key.
        fields: The pairs of the key.
        ratios: Whether `expand` is a ratio, as in ProxylessNAS, or a number of channels.

    Raises:
        Unmappable: If the key describes no layer of this grammar.
    """
    try:
        read, written = fields["input"], fields["output"]
        function: Nonlinearity = "relu6" if ratios else "hardswish"
        size, channels = square(read, "input")
        if kind == "Logits":
            if ratios and size > 1:  # ProxylessNAS times the pool together with the classifier
                classes = reading.whole(written, "output")
                behind = (Flatten(), Linear(classes))
                return Kernel(GlobalPool(), behind, ((channels, size, size),)), {}
            return classifier(channels, reading.whole(written, "output")), {}
        small, out = square(written, "output")
        if kind == "expanded_conv":
            return _block(fields, (size, channels, small, out), ratios=ratios)
    except KeyError as missing:
        raise Unmappable(f"the key names no {missing.args[0]}") from None
    if kind == "AvgPool2D" and small == 1 and out == channels:
        return pooling(channels, size), {}
    if kind == "Conv_2" and size == small == 1:
        return mixed(channels, out, function), {}
    window = {"Conv": (3, 2), "Conv_1": (1, 1)}.get(kind)
    if window is None or small != (size - 1) // window[1] + 1:
        raise Unmappable(f"{kind} from {read} to {written} is not a layer of this grammar")
    shape = {"kernel": window[0], "stride": window[1]}
    return convolution(channels, size, out, **shape, function=function), {}


def _block(
    fields: Mapping[str, str], shape: tuple[int, int, int, int], *, ratios: bool
) -> tuple[Kernel, Mapping[str, int]]:
    size, channels, small, out = shape
    expand = reading.whole(fields["expand"], "expand")
    kernel, stride = (reading.whole(fields[name], name) for name in ("kernel", "stride"))
    if small != (size - 1) // stride + 1:
        raise Unmappable(f"stride {stride} does not lead from {size} to {small}")
    hidden = expand * channels if ratios else expand
    hardswish = not ratios and reading.one_of(fields["hs"], "hs", SWISH)
    made = block_kernel(
        channels,
        size,
        InvertedResidual(
            "block",
            out,
            hidden=None if hidden == channels else hidden,
            kernel=kernel,
            stride=stride,
            function="relu6" if ratios else "hardswish" if hardswish else "relu",
            squeeze_excite=not ratios and reading.one_of(fields["se"], "se", SWISH),
            residual=reading.one_of(fields["idskip"], "idskip", SWISH),
        ),
    )
    return made, {"kernel": kernel, "expand": hidden, "channels": channels}
