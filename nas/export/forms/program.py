"""The form `torch-export`: the plain module as a `torch.export` program, weights as integers."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from nas.durable import require_parent, write_atomic
from nas.export.containers import ExportError
from nas.export.form import Held, HeldPrecision, Logits, Opened, read_metadata
from nas.export.plain.nesting import Attributes
from nas.export.plain.plain_network import MODEL, executed, plain_network
from nas.export.rehearsal import rehearsed_bytes
from nas.export.statement import only_source, stated
from nas.export.stored_bits import bits_for, grid_of
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed

METADATA = "elastic_nas.json"
_WEIGHTED = ("conv2d", "linear")


class ProgramForm:
    """A `.pt2` file that `torch.export.load` reads, for any batch."""

    name = "torch-export"
    suffix = ".pt2"
    shares_quantizers = False

    def require(self) -> None:
        """Nothing: torch comes with the engine."""

    def write(self, deployed: Deployed, path: Path) -> None:
        """One `.pt2` file."""
        require_parent(path)
        content = io.BytesIO()
        told = {METADATA: json.dumps(stated(deployed), sort_keys=True)}
        torch.export.save(program_of(deployed), content, extra_files=told)
        write_atomic(path, content.getvalue())

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """The program, loaded by torch alone, which unpickles parts of it: that can run code."""
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

        def logits(images: Tensor) -> Logits:
            with torch.no_grad():
                return module(images).numpy()

        return Opened(
            logits,
            read.policy(graph),
            read_metadata(told[METADATA] or "{}", path),
            dict(read.nodes),
            sum(read.nodes[kind] for kind in _WEIGHTED),
            read.nodes["round"],
        )

    def container(self, quant: Quant) -> str:
        """8 bits, whatever the policy's."""
        return "INT8" if quant.symmetric else "UINT8"

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size of the same export of `stand_in`."""
        return rehearsed_bytes(self, stand_in)


def program_of(deployed: Deployed, *, largest_batch: int | None = None) -> ExportedProgram:
    """The plain module as a program, its weights held as integers.

    Over batches of any size, or of up to `largest_batch` images.
    """
    plain = plain_network(deployed)
    model = executed(plain.source, Path(MODEL))
    stored = {name: torch.from_numpy(np.array(values)) for name, values in plain.tensors.items()}
    network = model.filled(stored)
    for name in plain.tensors:
        if f"{name}_scale" in stored:
            _keep_codes(network, name, stored)
    _, fed = only_source(deployed)
    with torch.no_grad():
        program = torch.export.export(
            network,
            (torch.zeros(2, *fed),),
            dynamic_shapes=({0: Dim("batch", min=1, max=largest_batch)},),
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of this machine's files, most of the bytes
    return program


def _keep_codes(network: nn.Module, name: str, stored: Mapping[str, Tensor]) -> None:
    """Make the parameter `name` what its integer codes, held as buffers, stand for.

    `torch.nn.utils.parametrize` does the same for parameters, but not for integers.
    """
    path, _, parameter = name.rpartition(".")
    layer = network.get_submodule(path)
    delattr(layer, parameter)
    codes = stored[name]
    column = (-1, *(1,) * (codes.dim() - 1))
    layer.register_buffer(f"{parameter}_codes", codes)
    layer.register_buffer(f"{parameter}_scale", stored[f"{name}_scale"].view(column))
    zero_point = stored.get(f"{name}_zero_point")
    if zero_point is not None:
        layer.register_buffer(f"{parameter}_zero_point", zero_point.float().view(column))

    def value(held: nn.Module) -> Tensor:
        steps = held.get_buffer(f"{parameter}_codes")
        if zero_point is not None:
            steps = steps - held.get_buffer(f"{parameter}_zero_point")
        return steps * held.get_buffer(f"{parameter}_scale")

    kind = type(layer)
    layer.__class__ = type(kind.__name__, (kind,), {parameter: property(value)})


class _Reading:
    """What a program holds, found by walking its graph."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.calls = [node for node in program.graph.nodes if node.op == "call_function"]
        self.nodes = Counter(_kind(node) for node in self.calls)

    def policy(self, graph: Graph) -> dict[str, HeldPrecision]:
        """Weights judged by type and codes of the buffers they come from, activations by clamps."""
        paths = Attributes.of(graph)
        return {
            address: HeldPrecision(
                self._weight(paths.layers[address]),
                tuple(
                    self._activation(paths.quantizers.get((address, slot)))
                    for slot in range(node.op.arity)
                ),
            )
            for address, node in graph.nodes.items()
        }

    @cached_property
    def _weights(self) -> dict[str, Held | None]:
        """By the path of the layer that reads it."""
        layers = [node for node in self.calls if _kind(node) in _WEIGHTED]
        return {_path(node): self._held(node.args[1]) for node in layers}

    @cached_property
    def _clamps(self) -> dict[str, tuple[int, int]]:
        """The bounds of every quantizer in steps, by its path."""
        found = [node for node in self.calls if _kind(node) == "clamp"]
        return {_path(node): (int(node.args[1]), int(node.args[2])) for node in found}

    def _weight(self, path: str) -> Held | None:
        below = [held for at, held in self._weights.items() if f"{at}.".startswith(f"{path}.")]
        return below[0] if below else None

    def _activation(self, path: str | None) -> Held | None:
        if path not in self._clamps:
            return None
        bits, symmetric = grid_of(*self._clamps[path])
        return Held(bits, symmetric, "FLOAT32", 1)

    def _held(self, node: Any) -> Held | None:
        """Follow a weight back to the buffer that it is made from."""
        if node.op == "placeholder":
            return None
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

    def _buffer(self, node: fx.Node) -> Tensor:
        """The tensor that a placeholder stands for."""
        signature = self.program.graph_signature
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        return self.program.state_dict[held[node.name]]


def _kind(node: fx.Node) -> str:
    """The name of an operator without its overload: `aten.conv2d.default` is `conv2d`."""
    return str(node.target).split(".")[1]


def _path(node: fx.Node) -> str:
    """The attribute path of the innermost module that a node was traced in."""
    return list(node.meta["nn_module_stack"].values())[-1][0]
