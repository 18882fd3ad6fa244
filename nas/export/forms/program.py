"""The form `torch-export`: a program of `torch.export` that holds weights as integers."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import Dim, ExportedProgram

from nas.export.containers import ExportError
from nas.export.form import (
    Held,
    HeldPrecision,
    Opened,
    Output,
    integer_container,
    joined,
    read_metadata,
    require_integers,
)
from nas.export.rehearsal import rehearsed_bytes
from nas.export.statement import stated
from nas.export.stored_bits import bits_for, grid_of
from nas.files.durable import require_parent, write_atomic
from nas.targets.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.assemble import module_name, scale_name
from supernets.deployed import Deployed
from supernets.inputs import Inputs, arguments, zeros
from supernets.integer_module import integer_module

METADATA = "elastic_nas.json"
_WEIGHTED = {"conv2d": 1, "linear": 1, "embedding": 0}  # operator -> the position of its weight
_VIEWS = ("flatten", "contiguous", "view", "reshape", "alias", "clone")


class ProgramForm:
    """The form `torch-export`: a `.pt2` file for `torch.export.load`, with any batch size."""

    name = "torch-export"
    suffix = ".pt2"
    shares_quantizers = False

    def require(self) -> None:
        """Does nothing, since torch is installed with the engine."""

    def suited(self, eight_bit_weights: EightBitWeights) -> ProgramForm:
        """The form itself, since the file has one form of 8-bit weights."""
        return self

    def write(self, deployed: Deployed, path: Path) -> None:
        """Write a `.pt2` file."""
        require_integers(deployed, self.name)
        require_parent(path)
        content = io.BytesIO()
        told = {METADATA: json.dumps(stated(deployed), sort_keys=True)}
        torch.export.save(program_of(deployed), content, extra_files=told)
        write_atomic(path, content.getvalue())

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """The program, loaded by torch, which unpickles parts of the file and so can run code."""
        told = {METADATA: ""}
        try:
            program = torch.export.load(path, extra_files=told)
        except (OSError, RuntimeError, ValueError, LookupError, zipfile.BadZipFile) as error:
            raise ExportError(
                f"{path} is no program that torch can load ({type(error).__name__}: {error}); "
                "export it again"
            ) from error
        read = _Reading(program)
        module = program.module()

        names = program.graph_signature.user_inputs

        def run(inputs: Inputs) -> Output:
            with torch.no_grad():
                return joined(module(*(inputs[str(name)] for name in names)))

        return Opened(
            run,
            read.policy(graph),
            read_metadata(told[METADATA] or "{}", path),
            dict(read.nodes),
            len(read.layers),
            read.nodes["round"],
        )

    def container(self, quant: Quant) -> str:
        """The 8-bit type, in which the form stores weights of all precisions."""
        return integer_container(quant)

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size in bytes of an export of `stand_in`."""
        return rehearsed_bytes(self, stand_in)


PROGRAM = ProgramForm()


def program_of(deployed: Deployed, *, largest_batch: int | None = None) -> ExportedProgram:
    """The network as a program of `torch.export`, with its weights as integers.

    The program runs batches of any size, or of up to `largest_batch` samples.
    """
    module, batch = integer_module(deployed), Dim("batch", min=1, max=largest_batch)
    given = arguments(module, zeros(deployed.graph, 2))
    with torch.no_grad():
        program = torch.export.export(
            module, tuple(given), dynamic_shapes=tuple({0: batch} for _ in given)
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of this machine's files, most of the bytes
    return program


class _Reading:
    """The precisions in a program, found from its graph."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.calls = [node for node in program.graph.nodes if node.op == "call_function"]
        self.nodes = Counter(_kind(node) for node in self.calls)

    @cached_property
    def layers(self) -> list[fx.Node]:
        """The calls that multiply or look up the weight of a layer; opaque calls are in none."""
        return [node for node in self.calls if _kind(node) in _WEIGHTED and _path(node)]

    def policy(self, graph: Graph) -> dict[str, HeldPrecision]:
        """The precisions by address: of weights from their buffers, of activations from clamps."""
        return {
            address: HeldPrecision(
                self._weights.get(module_name(address)),
                tuple(
                    self._activations.get(scale_name((address, slot)))
                    for slot in range(node.op.arity)
                ),
            )
            for address, node in graph.nodes.items()
        }

    @cached_property
    def _weights(self) -> dict[str, Held | None]:
        """The precisions of weights, by the path of the layer that reads the weight."""
        return {
            _path(node): self._held(_below(node.args[_WEIGHTED[_kind(node)]]))
            for node in self.layers
        }

    @cached_property
    def _activations(self) -> dict[str, Held]:
        """The precisions of activations, by the name of the scale that divides the tensor."""
        found: dict[str, Held] = {}
        for clamp in (node for node in self.calls if _kind(node) == "clamp"):
            rounded, low, high = cast("tuple[Any, float, float]", clamp.args)
            divided = rounded.args[0] if _kind(rounded) == "round" else rounded
            if _kind(divided) == "div" and divided.args[1].op == "placeholder":
                bits, symmetric = grid_of(int(low), int(high))
                found[self._name(divided.args[1])] = Held(bits, symmetric, "FLOAT32", 1)
        return found

    def _held(self, node: Any) -> Held | None:
        """The precision of a weight, from the buffer from which it is computed."""
        if node.op == "placeholder":
            return None
        if _kind(node) != "mul":
            raise ExportError(
                f"a weight of the program is made by {node.target}, not as this engine writes it; "
                "export the network again"
            )
        steps, scale = node.args
        codes = self._buffer(steps if steps.op == "placeholder" else steps.args[0])
        symmetric = codes.dtype == torch.int8
        bits = bits_for(codes.numpy().astype(np.int64), symmetric=symmetric)
        return Held(
            bits,
            symmetric,
            str(codes.dtype).removeprefix("torch.").upper(),
            self._buffer(scale).numel(),
        )

    def _name(self, node: fx.Node) -> str:
        """The name of the tensor that a placeholder stands for."""
        signature = self.program.graph_signature
        return {**signature.inputs_to_parameters, **signature.inputs_to_buffers}[node.name]

    def _buffer(self, node: fx.Node) -> Tensor:
        """The tensor that a placeholder stands for."""
        return self.program.state_dict[self._name(node)]


def _kind(node: fx.Node) -> str:
    """The name of an operator without its overload: `aten.conv2d.default` is `conv2d`.

    What an operator does in place is called as if it did not.
    """
    if node.op != "call_function":
        return ""
    assert callable(node.target)
    return node.target.__name__.partition(".")[0].rstrip("_")  # one of several results: getitem


def _below(node: Any) -> Any:
    """The node that computes the numbers of `node`, before nodes that change no number."""
    while _kind(node) in _VIEWS:
        node = node.args[0]
    return node


def _path(node: fx.Node) -> str:
    """The path of the layer in which a node was traced."""
    paths = [path for path, _ in node.meta["nn_module_stack"].values() if path]
    return paths[0].split(".")[0] if paths else ""
