"""The form `executorch`: the `torch.export` program lowered to a file for ExecuTorch's runtime."""

from __future__ import annotations

import json
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from nas.export.containers import ExportError
from nas.export.form import (
    Held,
    HeldPrecision,
    Opened,
    Output,
    Requirement,
    integer_container,
    joined,
    read_metadata,
    require_integers,
)
from nas.export.forms.program import program_of
from nas.export.rehearsal import rehearsed_bytes
from nas.export.statement import stated
from nas.export.stored_bits import bits_for, grid_of
from nas.files.durable import require_parent, write_atomic
from nas.targets.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.fold import without_norms
from supernets.inputs import Inputs, batches

LARGEST_BATCH = 8  # the runtime plans its memory for this many samples
METADATA = "elastic_nas"
_WEIGHTED = {"convolution": 1, "addmm": 2, "embedding": 0}  # operator -> the position of its weight
_ON_WEIGHTS = ("permute_copy", "sub", "_to_dim_order_copy")
_CODES = {"CHAR": np.int8, "BYTE": np.uint8}


class ExecuTorchForm:
    """A `.pte` file that `executorch.runtime` reads, for batches of up to `LARGEST_BATCH`."""

    name = "executorch"
    suffix = ".pte"
    shares_quantizers = False

    def require(self) -> None:
        """Raise `ExportError` unless the package executorch is installed."""
        Requirement("executorch", "executorch").check(self.name)

    def suited(self, eight_bit_weights: EightBitWeights) -> ExecuTorchForm:
        """The form itself, since the file has one form of 8-bit weights."""
        return self

    def write(self, deployed: Deployed, path: Path) -> None:
        """Write a `.pte` file of portable operators, since a backend would hide its part."""
        require_integers(deployed, self.name)
        self.require()
        require_parent(path)
        from executorch.exir import (  # pyright: ignore[reportMissingImports]
            EdgeCompileConfig,
            to_edge,
        )

        program = program_of(deployed, largest_batch=LARGEST_BATCH)
        edge = to_edge(
            program,
            constant_methods={METADATA: json.dumps(stated(deployed), sort_keys=True)},
            compile_config=EdgeCompileConfig(_check_ir_validity=False),  # a third of its time
        )
        write_atomic(path, bytes(edge.to_executorch().buffer))

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """The program at `path` in ExecuTorch's runtime, on the CPU."""
        self.require()
        from executorch.exir._serialize._program import (  # pyright: ignore[reportMissingImports]
            deserialize_pte_binary,
        )
        from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]

        try:
            content = path.read_bytes()
            program: Any = Runtime.get().load_program(content)
            program.load_method("forward")
            (told,) = program.load_method(METADATA).execute([])
        except (OSError, RuntimeError, LookupError) as error:
            raise ExportError(
                f"{path} is no program that ExecuTorch can load ({error}); export it again"
            ) from error
        read = _Reading(deserialize_pte_binary(content).program)

        names = [op.name for op in graph.inputs.values()]

        def run(inputs: Inputs) -> Output:
            method = program.load_method("forward")  # by itself it would not outlive its program
            found = [
                joined(method.execute([part[name].contiguous() for name in names]))
                for part in batches(inputs, LARGEST_BATCH)
            ]
            return np.concatenate(found)

        return Opened(
            run,
            read.policy(graph),
            read_metadata(told, path),
            dict(read.nodes),
            len(read.weights),
            read.nodes["round"],
        )

    def container(self, quant: Quant) -> str:
        """The 8-bit type, in which the form stores weights of all precisions."""
        return integer_container(quant)

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size in bytes of an export of `stand_in`."""
        return rehearsed_bytes(self, stand_in)


EXECUTORCH = ExecuTorchForm()


class _Reading:
    """The precisions in a program, found from its instructions, which have no names."""

    def __init__(self, program: Any) -> None:
        plan = next(plan for plan in program.execution_plan if plan.name == "forward")
        self._values = [value.val for value in plan.values]
        self._buffers = program.constant_buffer
        kinds = [operator.name.partition("::")[2] for operator in plan.operators]
        calls = [step.instr_args for chain in plan.chains for step in chain.instructions]
        self._calls = [(kinds[call.op_index], call.args) for call in calls]
        self._made_by = {args[-1]: (kind, args) for kind, args in self._calls}
        self.nodes = Counter(kind for kind, _ in self._calls)

    def policy(self, graph: Graph) -> dict[str, HeldPrecision]:
        """The precisions by address.

        The precision of a weight follows from type and codes of its constant, that of an activation
        from its clamp. Addresses follow from the order, which is that of `graph`.
        """
        bare, _ = without_norms(graph)
        shapes = bare.shapes()
        weighted = [
            address
            for address, node in bare.nodes.items()
            if node.op.weight_shape(*(shapes[read] for read in node.inputs)) is not None
        ]
        weights = dict(zip_longest(weighted, self.weights))
        slots = [
            (address, slot)
            for address, node in bare.nodes.items()
            for slot in range(0 if node.op.activation is None else node.op.arity)
        ]
        quantizers = dict(zip_longest(slots, self._quantizers()))
        return {
            address: HeldPrecision(
                weights.get(address),
                tuple(quantizers.get((address, slot)) for slot in range(node.op.arity)),
            )
            for address, node in bare.nodes.items()
        }

    @property
    def weights(self) -> list[Held | None]:
        """The precision of the weight of every operator with a weight, in execution order."""
        found = [args[_WEIGHTED[kind]] for kind, args in self._calls if kind in _WEIGHTED]
        return [self._weight(value) for value in found]

    def _weight(self, value: int) -> Held | None:
        """The precision of a weight, from the constant from which it is computed."""
        value = self._below(value, "permute_copy")
        kind, args = self._made_by.get(value, ("", ()))
        if kind != "mul":
            return None
        tensor = self._values[self._below(args[0], *_ON_WEIGHTS)]
        code_type = np.dtype(_CODES[tensor.scalar_type.name])
        codes = np.frombuffer(self._buffers[tensor.data_buffer_idx].storage, code_type)
        codes = codes[: int(np.prod(tensor.sizes))].astype(np.int64)
        symmetric = code_type == np.int8
        scales = int(np.prod(self._values[args[1]].sizes))
        bits = bits_for(codes, symmetric=symmetric)
        return Held(bits, symmetric, code_type.name.upper(), scales)

    def _below(self, value: int, *kinds: str) -> int:
        """The value from which `value` is computed, before operators of the given kinds."""
        while value in self._made_by and self._made_by[value][0] in kinds:
            value = self._made_by[value][1][0]
        return value

    def _quantizers(self) -> list[Held]:
        """The precision of every clamp behind a rounding, in execution order."""
        cuts = [args for kind, args in self._calls if kind == "clamp"]
        return [self._grid(*args[1:3]) for args in cuts if self._kind_of(args[0]) == "round"]

    def _kind_of(self, value: int) -> str:
        """The kind of the operator that computes a value; empty for inputs and constants."""
        return self._made_by[value][0] if value in self._made_by else ""

    def _grid(self, *bounds: int) -> Held:
        bits, symmetric = grid_of(*(int(self._values[bound].double_val) for bound in bounds))
        return Held(bits, symmetric, "FLOAT32", 1)
