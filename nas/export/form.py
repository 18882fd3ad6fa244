"""The protocol of a form, the file format of an exported network: writing and reading back."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from nas.export.containers import ExportError
from nas.targets.saturation import EightBitWeights
from search_spaces.documents import Source, checked, parse_json
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.quant import PerChannel, PerTensor, Quant
from supernets.deployed import Deployed
from supernets.inputs import Inputs

Output = NDArray[np.float32]


@dataclass(frozen=True)
class Held:
    """The quantization of a tensor as found in a file.

    `bits` is the bit-width of the narrowest code range that contains the codes: for a weight, the
    codes that occur; for an activation, the codes that can occur. `container` is the stored type,
    `scales` the number of scales.
    """

    bits: int
    symmetric: bool
    container: str
    scales: int


@dataclass(frozen=True)
class HeldPrecision:
    """The precisions of weight and activation at an address of a file; None is full precision."""

    weight: Held | None
    activations: tuple[Held | None, ...]


def joined(outputs: Any) -> Output:
    """The output of a file, or a sequence of outputs, as `Opened.run` gives them.

    Several outputs are flattened and stand one behind the other, as the operator `Outputs` gives
    them.
    """
    if not isinstance(outputs, Sequence):
        return np.asarray(outputs)
    if len(outputs) == 1:
        return np.asarray(outputs[0])
    arrays = map(np.asarray, outputs)
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


_METADATA = TypeAdapter(dict[str, str])


def read_metadata(text: str, path: Path) -> dict[str, str]:
    """The metadata in an exported file, from JSON; raises `UnreadableFile` if they are damaged."""
    source = Source(f"the metadata of {path}", "export it again")
    return checked(parse_json(text, source), _METADATA, source)


@dataclass(frozen=True, eq=False)
class Opened:
    """An exported file that was read back; all facts come from its content, not from its labels.

    Attributes:
        run: A function that runs the file: from a batch of inputs by name to the output
            `(batch, ...)`, or to several outputs as `joined` gives them.
        policy: Address -> the precision that the file holds there.
        metadata: The metadata of the file, by keys without the engine's prefix.
        nodes: Operator type -> the number of such operators.
        weighted: The number of operators with a weight.
        quantizers: The number of times that a tensor is quantized.
        saturable: The addresses of operators whose sums may overflow on x86-64 processors without
            VNNI (`nas.targets.saturation`).
    """

    run: Callable[[Inputs], Output]
    policy: Mapping[str, HeldPrecision]
    metadata: Mapping[str, str]
    nodes: Mapping[str, int]
    weighted: int
    quantizers: int
    saturable: tuple[str, ...] = ()


class Exporter(Protocol):
    """A form in which a chosen subnet is exported.

    Attributes:
        name: The name of the form in recipes.
        suffix: The end of the name of the file or folder, such as `.onnx`.
        shares_quantizers: Whether a tensor is quantized only once for all readers with the same
            scale.
    """

    name: str
    suffix: str
    shares_quantizers: bool

    def require(self) -> None:
        """Raise `ExportError`, with the remedy, if a package that the form needs is missing."""
        ...

    def suited(self, eight_bit_weights: EightBitWeights) -> Exporter:
        """The form for a target whose 8-bit weights have this form; most forms have only one."""
        ...

    def write(self, deployed: Deployed, path: Path) -> None:
        """Write `deployed` with its metadata to `path`, whole or not at all."""
        ...

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """Read back the file at `path`, ready to run; `graph` is the graph of the network in it."""
        ...

    def container(self, quant: Quant) -> str:
        """The name of the type in which the form stores the codes of a weight.

        Raises `ExportError` or `ValueError` where there is none.
        """
        ...

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The predicted size of an export in bytes, from a network with random numbers."""
        ...


def has_type(form: Exporter, quant: Quant) -> bool:
    """Whether a form has a type for the codes of a weight at this precision."""
    try:
        form.container(quant)
    except (ExportError, ValueError):
        return False
    return True


def require_integers(deployed: Deployed, form: str) -> None:
    """Raise `ExportError` unless all codes are integers with scales per tensor or per channel."""
    for address, node in deployed.graph.nodes.items():
        for quant in (node.op.weight, node.op.activation):
            if quant is None:
                continue
            plain = isinstance(quant.granularity, PerTensor | PerChannel)
            if not (plain and isinstance(quant.format, Int)):
                raise ExportError(
                    f"{form!r} holds integers with a scale per tensor or per channel, given "
                    f"{quant.name} {quant.granularity.name} at {address!r}; export as 'onnx', "
                    "which holds floats of 8 and 16 bits and groups of integers, or take another "
                    "precision"
                )


def integer_container(quant: Quant) -> str:
    """The 8-bit type of codes in forms that store weights of all precisions in 8 bits."""
    return "INT8" if quant.integers.symmetric else "UINT8"


@dataclass(frozen=True)
class Requirement:
    """A package that a form needs, and the extra of this engine that installs the package."""

    package: str
    extra: str = field(default="")

    def check(self, form: str) -> None:
        """Raise `ExportError` if the package is not installed."""
        if importlib.util.find_spec(self.package) is None:
            raise ExportError(
                f"export to {form!r} needs the package {self.package}, which is not installed; "
                f"run `pip install 'elastic-nas[{self.extra}]'` or leave {form!r} out of "
                "export.formats"
            )


def bytes_of(path: str | Path) -> int:
    """The size in bytes of an exported file, or of all files of an exported folder."""
    path = Path(path)
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())
