"""The form `torch`: a folder with a module's source and its integers, free of this engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save
from torch import nn

from nas.export.form import (
    Held,
    HeldPrecision,
    Opened,
    Output,
    integer_container,
    joined,
    require_integers,
)
from nas.export.plain.nesting import Attributes
from nas.export.plain.plain_network import MODEL, WEIGHTS, Array, load_network, plain_network
from nas.export.rehearsal import rehearsed_bytes
from nas.export.statement import METADATA_PREFIX, stated
from nas.export.stored_bits import bits_for, grid_of
from nas.files.durable import write_folder_atomic
from nas.targets.saturation import EightBitWeights
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.deployed import Deployed
from supernets.inputs import Inputs


class PlainForm:
    """The form `torch`: `model.py`, with torch and safetensors only, and `weights.safetensors`."""

    name = "torch"
    suffix = ".torch"
    shares_quantizers = False

    def require(self) -> None:
        """Does nothing, since torch and safetensors are installed with the engine."""

    def suited(self, eight_bit_weights: EightBitWeights) -> PlainForm:
        """The form itself, since the file has one form of 8-bit weights."""
        return self

    def write(self, deployed: Deployed, path: Path) -> None:
        """Write a folder of two files."""
        require_integers(deployed, self.name)
        network = plain_network(deployed)
        header = {METADATA_PREFIX + key: text for key, text in stated(deployed).items()}
        content = _in_order(save(dict(network.tensors), header))
        write_folder_atomic(path, {MODEL: network.source.encode(), WEIGHTS: content})

    def open(self, path: Path, graph: Graph, *, threads: int = 1) -> Opened:
        """The module with its weights; runs any code in the folder's `model.py`."""
        network = load_network(path)
        stored, metadata = read_weights(path / WEIGHTS)

        def run(inputs: Inputs) -> Output:
            with torch.no_grad():
                return joined(network(**inputs))

        layers = [layer for layer in network.modules() if not list(layer.children())]
        nodes = Counter(type(layer).__name__ for layer in layers)
        held = _held(graph, network, stored)
        return Opened(
            run,
            held,
            metadata,
            dict(nodes),
            sum(_has_matrix(layer) for layer in layers),
            nodes["Quantize"],
        )

    def container(self, quant: Quant) -> str:
        """The 8-bit type, in which the form stores weights of all precisions."""
        return integer_container(quant)

    def foretold_bytes(self, stand_in: Deployed) -> float:
        """The size in bytes of an export of `stand_in`."""
        return rehearsed_bytes(self, stand_in)


PLAIN = PlainForm()


def _in_order(content: bytes) -> bytes:
    """The bytes of a safetensors file with a sorted header; the library's order is random."""
    start = 8 + int.from_bytes(content[:8], "little")
    sorted_ = json.dumps(json.loads(content[8:start]), sort_keys=True, separators=(",", ":"))
    header = sorted_.encode().ljust(-(-len(sorted_) // 8) * 8)  # keeps the numbers aligned
    return len(header).to_bytes(8, "little") + header + content[start:]


def _has_matrix(layer: nn.Module) -> bool:
    """Whether a layer has a weight matrix; the `weight` of a norm is a factor per channel."""
    weight = dict(layer.named_parameters()).get("weight")
    return weight is not None and weight.dim() > 1


def read_weights(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of a weights file and its metadata, without the engine's prefix."""
    with safe_open(path, "np") as file:
        found = file.metadata() or {}
    return load_file(path), {k.removeprefix(METADATA_PREFIX): v for k, v in found.items()}


def _held(
    graph: Graph, network: nn.Module, stored: Mapping[str, Array]
) -> dict[str, HeldPrecision]:
    """The precisions by address: of weights from codes, of activations from quantizers."""
    paths = Attributes.of(graph)
    return {
        address: HeldPrecision(
            _held_weight(path, stored),
            tuple(
                _held_activation(network, paths.quantizers.get((address, slot)))
                for slot in range(graph.nodes[address].op.arity)
            ),
        )
        for address, path in paths.layers.items()
    }


def _held_weight(path: str, stored: Mapping[str, Array]) -> Held | None:
    codes = next((stored[n] for n in stored if n.startswith(path) and _is_weight(n, path)), None)
    if codes is None or not np.issubdtype(codes.dtype, np.integer):
        return None
    symmetric = codes.dtype == np.int8
    name = next(n for n in stored if stored[n] is codes)
    bits = bits_for(codes.astype(np.int64), symmetric=symmetric)
    return Held(bits, symmetric, codes.dtype.name.upper(), stored[f"{name}_scale"].size)


def _is_weight(name: str, path: str) -> bool:
    return name.startswith(f"{path}.") and name.rpartition(".")[2] == "weight"


def _held_activation(network: nn.Module, path: str | None) -> Held | None:
    """The precision of a `Quantize`, found from a ramp that it rounds; None without one."""
    quantizer = dict(network.named_modules()).get(path or " ")
    if quantizer is None:
        return None
    scale = quantizer.get_buffer("scale")
    with torch.no_grad():
        steps = torch.unique(quantizer(torch.arange(-512, 513) * scale) / scale).round().int()
    bits, symmetric = grid_of(int(steps[0]), int(steps[-1]))
    return Held(bits, symmetric, "FLOAT32", scale.numel())
