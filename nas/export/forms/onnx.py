"""The form `onnx`: a file that onnxruntime runs, on integers where it can."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nas.export.containers import container_for
from nas.export.form import Opened, Output
from nas.export.onnx_model import export_onnx
from nas.export.runtime import file_outputs
from nas.export.size import file_bytes, told_bytes
from nas.export.statement import METADATA_PREFIX
from nas.export.stored_bits import load, policy_of, quantizers_in, saturable_of, weighted_in
from nas.targets.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.inputs import Inputs


@dataclass(frozen=True)
class OnnxForm:
    """The form `onnx`; `nas.export.onnx_model` describes the file and `eight_bit_weights`."""

    eight_bit_weights: EightBitWeights = "unsigned"
    name = "onnx"
    suffix = ".onnx"
    shares_quantizers = True

    def require(self) -> None:
        """Does nothing, since onnx and onnxruntime are installed with the engine."""

    def suited(self, eight_bit_weights: EightBitWeights) -> OnnxForm:
        """The form with 8-bit weights of this form."""
        return OnnxForm(eight_bit_weights)

    def write(self, deployed: Deployed, path: Path) -> None:
        """Write an `.onnx` file."""
        export_onnx(deployed, path, eight_bit_weights=self.eight_bit_weights)

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """The file at `path` in onnxruntime, on the CPU."""
        model = load(path)
        nodes = Counter(node.op_type for node in model.graph.node)

        def run(inputs: Inputs) -> Output:
            return next(file_outputs(path, [inputs], threads=threads))

        return Opened(
            run,
            policy_of(model),
            {e.key.removeprefix(METADATA_PREFIX): e.value for e in model.metadata_props},
            dict(nodes),
            weighted_in(model),
            quantizers_in(model),
            saturable_of(model),
        )

    def container(self, quant: Quant) -> str:
        """The narrowest type of 2, 4 or 8 bits that holds the codes, packed."""
        return container_for(quant).name

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size in bytes, the sum over kernels that a search can compile for all subnets."""
        network = file_bytes(stand_in.graph, eight_bit_weights=self.eight_bit_weights)
        return network + told_bytes(stand_in.metadata)


ONNX = OnnxForm()
