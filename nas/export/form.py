"""What every form of exported network is: one way to write it, one way to read it back."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from nas.export.containers import ExportError
from search_spaces.documents import Source, checked, parse_json
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Held:
    """What a file holds of one quantized tensor.

    `bits` is the width of the narrowest grid with these codes: of a weight by the codes that occur,
    of an activation by the codes that can. `container` is the type, `scales` their number.
    """

    bits: int
    symmetric: bool
    container: str
    scales: int


@dataclass(frozen=True)
class HeldPrecision:
    """What a file holds at one address; None is full precision."""

    weight: Held | None
    activations: tuple[Held | None, ...]


_METADATA = TypeAdapter(dict[str, str])


def read_metadata(text: str, path: Path) -> dict[str, str]:
    """What an exported file says of itself as JSON; raises `UnreadableFile`."""
    source = Source(f"the metadata of {path}", "export it again")
    return checked(parse_json(text, source), _METADATA, source)


@dataclass(frozen=True, eq=False)
class Opened:
    """An exported file as it was read back, found from its content and not from its labels.

    Attributes:
        logits: Runs the file: `(n, channels, height, width)` float32 -> `(n, classes)`.
        policy: Address -> the precision held there.
        metadata: What the file says of itself, keys without the engine's prefix.
        nodes: Operator type -> how many of them the file holds.
        weighted: How many operators with a weight.
        quantizers: How many times a tensor is put on a grid.
        saturable: Addresses whose sums x86-64 processors without VNNI may cut off
            (`nas.saturation`).
    """

    logits: Callable[[Tensor], Logits]
    policy: Mapping[str, HeldPrecision]
    metadata: Mapping[str, str]
    nodes: Mapping[str, int]
    weighted: int
    quantizers: int
    saturable: tuple[str, ...] = ()


class Exporter(Protocol):
    """A form in which a chosen subnet leaves.

    Attributes:
        name: What recipes call it.
        suffix: End of its file's name, such as `.onnx`; its folder's, where the form is a folder.
        shares_quantizers: Whether readers of one tensor on one grid share its quantizer.
    """

    name: str
    suffix: str
    shares_quantizers: bool

    def require(self) -> None:
        """Raise `ExportError` with the remedy where a package that it needs is absent."""
        ...

    def write(self, deployed: Deployed, path: Path) -> None:
        """Put `deployed` with its metadata at `path`, whole or not at all."""
        ...

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """Read back and prepare to run what `write` put at `path`; `graph` tells the addresses."""
        ...

    def container(self, quant: Quant) -> str:
        """The type in which codes of a weight are stored."""
        ...

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size of what `write` will put, from a network of random numbers in its place."""
        ...


@dataclass(frozen=True)
class Requirement:
    """A package that a form needs, and the extra of ours that installs it."""

    package: str
    extra: str = field(default="")

    def check(self, form: str) -> None:
        """Raise `ExportError` where the package is absent."""
        if importlib.util.find_spec(self.package) is None:
            raise ExportError(
                f"export to {form!r} needs the package {self.package}, which is not installed; "
                f"run `pip install 'elastic-nas[{self.extra}]'` or leave {form!r} out of "
                "export.formats"
            )


def bytes_of(path: str | Path) -> int:
    """The size of an exported file, or of all files of an exported folder."""
    path = Path(path)
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())
