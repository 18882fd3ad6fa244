"""The graph that is built from the calls of a model, and the tensors of its nodes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from search_spaces.graph import Graph, Node, inferred
from search_spaces.names import LONGEST_ADDRESS
from search_spaces.ops import (
    Flatten,
    Input,
    Learned,
    MergeHeads,
    Op,
    Permute,
    Reshape,
    Shape,
    Slice,
    SplitHeads,
)
from supernets.tracing.errors import TraceError
from supernets.tracing.layout import Layout
from supernets.tracing.program import Call
from supernets.tracing.values import Constant, Held

# A tensor may hold minus infinity, as masks do, but weights are finite; so large a number does the
# same to a softmax, and sums of it stay finite.
_LARGEST = torch.finfo(torch.float32).max / 4
_NOT_PLAIN = re.compile(r"[^\w-]")


class Builder:
    """A graph, the shapes of its nodes, and their tensors by `ADDRESS.NAME`.

    Args:
        inputs: The inputs of the network.
        paths: The paths of the model's modules, each with whether the module has children.
    """

    def __init__(self, inputs: Sequence[Input], paths: Mapping[str, bool]) -> None:
        self.graph = Graph(*inputs)
        self.shapes: dict[str, Shape] = dict(self.graph.shapes())
        self.tensors: dict[str, Tensor] = {}
        self._paths = {plain_path(path): nested for path, nested in paths.items()}
        # With the original beside each copy, so that no other tensor gets the same identity.
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def add(
        self,
        call: Call,
        op: Op,
        *reads: str,
        word: str = "",
        main: bool = False,
        tensors: Mapping[str, Tensor | Constant] | None = None,
    ) -> str:
        """Append a node and return its address.

        Args:
            call: The call that the node belongs to; the address begins with the path of its module.
            op: The operator.
            reads: The addresses that the operator reads.
            word: The last part of the address; the name of the operator if left out.
            main: Whether the node is what its module is there for, and has the module's own path
                as address, if the path is free and the module has no modules in it.
            tensors: The parameters of the operator, and the statistics of a norm.
        """
        shape = inferred("", op, *(self.shapes[read] for read in reads))
        address = self._address(call, word or type(op).__name__.lower(), main=main)
        self.graph.append(address, Node(op, reads))
        self.shapes[address] = shape
        for name, tensor in (tensors or {}).items():
            self.tensors[f"{address}.{name}"] = self._owned(tensor)
        return address

    def op(self, address: str) -> Op:
        """The operator at an address."""
        return self.graph.nodes[address].op

    def source(self, address: str, slot: int = 0) -> str:
        """The address that the node at an address reads."""
        return self.graph.nodes[address].inputs[slot]

    def reshaped(self, call: Call, address: str, shape: Shape) -> str:
        """The address of a node that holds the numbers of `address` in the given `shape`."""
        while self.shapes[address] != shape and isinstance(self.op(address), Reshape | Flatten):
            address = self.source(address)
        before = self.shapes[address]
        if before == shape:
            return address
        op = self.op(address)
        if isinstance(op, Permute) and op.order == (1, 0, 2):
            tokens, heads, size = before
            if shape == (tokens, heads * size):
                return self.add(call, MergeHeads(), self.source(address))
        joined = (*before[: len(shape) - 1], math.prod(before[len(shape) - 1 :]))
        if shape == joined and len(shape) < len(before):
            return self.add(call, Flatten(len(shape) - 1), address)
        return self.add(call, Reshape(shape), address)

    def permuted(self, call: Call, address: str, order: Sequence[int]) -> str:
        """The address of a node that holds the axes of `address` in another order."""
        op = self.op(address)
        if isinstance(op, Permute):  # two orders are one
            order = [op.order[axis] for axis in order]
            address = self.source(address)
        if [*order] == sorted(order):
            return address
        op, shape = self.op(address), self.shapes[address]
        if isinstance(op, Reshape) and [*order] == [1, 0, 2]:
            source = self.source(address)
            tokens, heads, size = shape
            if self.shapes[source] == (tokens, heads * size):
                return self.add(call, SplitHeads(heads), source)
        return self.add(call, Permute(tuple(order)), address)

    def cut(self, call: Call, address: str, axis: int, places: range) -> str:
        """The address of a node that holds some places along an axis of `address`."""
        if places == range(self.shapes[address][axis]):
            return address
        op = Slice(axis, places.start, places.stop, places.step)
        return self.add(call, op, address)

    def learned(self, call: Call, constant: Constant, values: Tensor, beside: str) -> str:
        """The address of a node that gives `values` for every sample.

        Args:
            call: The call that reads the tensor.
            constant: The tensor in the model, from which `values` come.
            values: The numbers for each sample.
            beside: A node whose number of samples is read.
        """
        op = Learned(tuple(values.shape), constant.trained)
        word, tensors = self.word(constant), {"numbers": values}
        return self.add(call, op, beside, word=word, tensors=tensors)

    @staticmethod
    def word(constant: Constant) -> str:
        """The last part of the address of a node that is there for a tensor of the model."""
        return plain_path(constant.name.rpartition(".")[2]) if constant.name else "constant"

    def held(self, call: Call, address: str, layout: Layout, shape: Sequence[int]) -> Held:
        """The value of a call that the node at an address holds.

        Raises:
            TraceError: If the node does not have the shape that the call gave, which is a fault of
                the rule of the call.
        """
        if layout.sample(shape) != self.shapes[address]:
            raise TraceError(
                f"{call.name}{call.where} gives {tuple(shape)} with the batch at axis "
                f"{layout.axis}, but became an operator that gives {self.shapes[address]}"
            )
        return Held(address, layout, tuple(shape))

    def _owned(self, tensor: Tensor | Constant) -> Tensor:
        """A copy of a tensor in float32; a tensor that several nodes share stays one tensor."""
        value = tensor.value if isinstance(tensor, Constant) else tensor
        key = id(value)
        if key not in self._copies:
            plain = value.detach().to(torch.float32).clamp(-_LARGEST, _LARGEST).clone()
            self._copies[key] = value, plain.contiguous()
        return self._copies[key][1]

    def _address(self, call: Call, word: str, *, main: bool) -> str:
        path = plain_path(call.path)
        nested = self._paths.get(path, False)
        own = main and path and not nested and path not in self.graph.nodes
        wanted = path if own else ".".join(filter(None, (path, word)))
        wanted, number = wanted[-LONGEST_ADDRESS + 5 :].strip("."), 1
        address = wanted
        while address in self.graph.nodes or (address in self._paths and not own):
            number += 1
            address = f"{wanted}_{number}"
        return address


def plain_path(path: str) -> str:
    """A path of modules as the beginning of an address: without signs that no address may have."""
    normal = unicodedata.normalize("NFKC", path)
    return ".".join(_NOT_PLAIN.sub("_", part) or "_" for part in normal.split(".")) if path else ""
