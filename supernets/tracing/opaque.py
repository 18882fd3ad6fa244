"""Calls that no operator of the engine computes, as opaque operators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from search_spaces.ops import Argument, Fixed, Input, Opaque, Read, Samples, Word
from search_spaces.ops.opaque import FixedType, WordKind
from supernets.elastic.opaque import OpaqueError, function_of
from supernets.tracing.layout import Layout
from supernets.tracing.program import SIZES, layout_in
from supernets.tracing.rules.elementwise import for_samples
from supernets.tracing.site import Site, refused
from supernets.tracing.values import Constant, Held, Value

_SILENT = ("device", "pin_memory", "layout")  # the device is that of the tensors
_KINDS: dict[type, WordKind] = {
    torch.dtype: "dtype",
    torch.memory_format: "memory_format",
    torch.layout: "layout",
}
_HELD: dict[torch.dtype, FixedType] = {
    torch.float32: "float32",
    torch.int64: "int64",
    torch.bool: "bool",
}


class _Arguments:
    """The arguments of an opaque operator, with the nodes and the tensors that they read."""

    def __init__(self, site: Site, values: dict[fx.Node, Value]) -> None:
        self.site, self.values = site, values
        self.reads: list[Held] = []
        self.fixed: list[Tensor] = []
        held = [value for value in self._given(site.call.node) if isinstance(value, Held)]
        self.example = held[0]

    def _given(self, node: fx.Node) -> Iterator[Value]:
        for argument in node.all_input_nodes:
            yield self.values[argument]

    def of(self, given: Any, other: Any) -> Argument:
        """The argument `given`, which is `other` in the export for another batch size."""
        if isinstance(given, fx.Node):
            return self._tensor(self.values[given])
        if isinstance(given, list | tuple):
            return tuple(self.of(*pair) for pair in zip(given, other, strict=True))
        if isinstance(given, int) and given != other:
            if given * SIZES[1] != other * SIZES[0]:
                raise refused(self.site, "reads a number that does not grow with the batch size")
            return Samples(given // SIZES[0])
        return self._plain(given)

    def _plain(self, given: Any) -> Argument:
        if isinstance(given, float) and not math.isfinite(given):
            return Word("float", str(given))
        for kind, word in _KINDS.items():
            if isinstance(given, kind):
                return Word(word, str(given).removeprefix("torch."))
        if given is None or isinstance(given, bool | int | float | str):
            return given
        raise refused(self.site, f"reads {type(given).__name__}, which no file can hold")

    def _tensor(self, value: Value) -> Argument:
        if isinstance(value, Held):
            return self._read(value)
        if not isinstance(value, Constant):
            raise refused(self.site, "reads several tensors as one")
        if value.layout is not None:
            example = Held("", value.layout, tuple(value.value.shape))
            numbers = for_samples(self.site, value, example)
            assert numbers is not None
            if not value.value.is_floating_point():
                raise refused(self.site, "reads whole numbers that are repeated for every sample")
            address = self.site.build.learned(self.site.call, value, numbers, self.example.address)
            return self._read(Held(address, value.layout, tuple(value.value.shape)))
        dtype = _HELD.get(value.value.dtype)
        if dtype is None:
            raise refused(self.site, f"reads a tensor of the model of type {value.value.dtype}")
        self.fixed.append(value.value)
        shape = tuple(value.value.shape)
        return Fixed(len(self.fixed) - 1, shape, dtype, value.trained and dtype == "float32")

    def _read(self, value: Held) -> Read:
        if value not in self.reads:
            self.reads.append(value)
        return value.layout.read(self.reads.index(value), value.called)


def opaque(site: Site, values: dict[fx.Node, Value]) -> Value:
    """The value of a call as an opaque operator; for several tensors, an operator for each.

    Raises:
        TraceError: If the call cannot be an opaque operator.
    """
    target = str(site.call.node.target)
    try:
        function_of(target, site.call.node.args, site.call.node.kwargs)
    except (OpaqueError, ValueError) as error:
        raise refused(site, f"cannot be part of a graph: {error}") from error
    found = site.call.node.meta["val"]
    if isinstance(found, Tensor):
        return _made(site, values, None)
    used = [user.args[1] for user in site.call.node.users]
    return [_made(site, values, number) if number in used else None for number in range(len(found))]


def _made(site: Site, values: dict[fx.Node, Value], result: int | None) -> Held:
    """The node of an opaque call, or of one of its several results."""
    node, other = site.call.node, site.call.other
    arguments = _Arguments(site, values)
    plain = arguments.of(node.args, other.args)
    named = tuple(
        (name, arguments.of(given, other.kwargs[name]))
        for name, given in node.kwargs.items()
        if name not in _SILENT
    )
    val, grown = node.meta["val"], other.meta["val"]
    if result is not None:
        val, grown = val[result], grown[result]
    shape = tuple(val.shape)
    layout = _layout(site, layout_in(shape, tuple(grown.shape)), arguments.reads)
    build, addresses = site.build, [value.address for value in arguments.reads]
    tokens = {isinstance(op := build.op(a), Input) and op.dtype == "int64" for a in addresses}
    if len(tokens) > 1:
        raise refused(site, "reads tokens and floats together, which no operator does")
    op = Opaque(
        target=str(node.target),
        arguments=plain,
        named=named,
        seen=tuple(build.shapes[address] for address in addresses),
        shape=layout.sample(shape),
        arity=len(addresses),
        result=result,
        gives=layout.read(0, shape),
        reads="int64" if tokens == {True} else "float32",
    )
    tensors = {f"fixed{number}": tensor for number, tensor in enumerate(arguments.fixed)}
    address = site.add(op, *addresses, word=site.call.name, main=True, tensors=tensors)
    return Held(address, layout, shape, val.dtype)


def _layout(site: Site, grown: Layout | None, reads: list[Held]) -> Layout:
    """Where the result holds the batch: where an operand has it, among as many places."""
    if grown is None:
        raise refused(site, "computes one result for all samples together")
    if grown.behind == 1:
        return grown
    for value in reads:
        layout = value.layout
        if layout.axis == grown.axis and layout.before * layout.behind == grown.behind:
            return layout
    if any(value.layout == Layout(grown.axis) for value in reads):
        return grown  # each sample is repeated; the comparison with the model would tell a mistake
    raise refused(site, "joins samples with other places in a way that cannot be followed")
