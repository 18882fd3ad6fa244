"""From the calls of a model to a graph: each call by its rule, or as an opaque operator."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

import supernets.tracing.rules  # noqa: F401  # registers the rules
from search_spaces.ops import Input
from supernets.elastic.opaque import draws_random
from supernets.tracing.builder import Builder
from supernets.tracing.errors import TraceError
from supernets.tracing.opaque import opaque
from supernets.tracing.program import Call, Program, layout_in
from supernets.tracing.site import RULES, Site
from supernets.tracing.values import Constant, Held, Value

# Calls that read the type and the shape of a tensor, and none of its numbers.
_FILLED = ("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")


class Tracer:
    """The values of all calls of a program, as nodes of a graph."""

    def __init__(self, program: Program, inputs: Sequence[Input], build: Builder) -> None:
        self.program, self.build = program, build
        self.values: dict[fx.Node, Value] = {}
        self._trained = {name for name, (_, held) in program.held.items() if held.requires_grad}
        pairs = zip(inputs, build.graph.inputs, strict=True)
        self._inputs = dict(zip(program.read, pairs, strict=True))

    def run(self) -> list[Held]:
        """The outputs of the model, after all calls have become nodes."""
        for call in self.program.calls:
            match call.node.op:
                case "placeholder":
                    self.values[call.node] = self._source(call)
                case "call_function":
                    self.values[call.node] = self._value(call)
                case "output":
                    return self._outputs(call)
                case _:
                    raise TraceError(f"torch exported a node of the kind {call.node.op!r}")
        raise TraceError("torch exported a network without outputs")

    def _source(self, call: Call) -> Value:
        name = call.node.name
        if name in self._inputs:
            op, address = self._inputs[name]
            shape = tuple(call.node.meta["val"].shape)
            layout = layout_in(shape, tuple(call.other.meta["val"].shape))
            assert layout is not None
            return Held(address, layout, shape, getattr(torch, op.dtype))
        if name not in self.program.held:
            return None
        own, tensor = self.program.held[name]
        return Constant(tensor, own, name in self._trained)

    def _value(self, call: Call) -> Value:
        if call.node.target is operator.getitem:
            whole, index = call.node.args
            found = self.values[whole]  # pyright: ignore[reportArgumentType]
            assert isinstance(found, Sequence)
            return found[index]  # pyright: ignore[reportArgumentType, reportCallIssue]
        if not isinstance(call.node.target, torch._ops.OpOverload):
            raise TraceError(f"{call.name}{call.where} is no function of torch's aten")
        if call.node.meta.get("val") is None:  # an assertion
            return None
        reads = [self.values[node] for node in call.node.all_input_nodes]
        if not any(_depends(value) for value in reads) or call.name in _FILLED:
            return self._constant(call)
        site = self._site(call)
        floats = all(v.dtype == torch.float32 for v in reads if isinstance(v, Held))
        if (floats and _floats(call.node.meta["val"])) or call.name == "embedding":
            found = RULES[call.name](site) if call.name in RULES else None
            if found is not None:
                return found
        return opaque(site, self.values)

    def _site(self, call: Call) -> Site:
        val, other = call.node.meta["val"], call.other.meta["val"]
        single = isinstance(val, Tensor)
        return Site(
            self.build,
            call,
            _arguments(call.node, lambda node: self.values[node]),
            tuple(val.shape) if single else (),
            layout_in(tuple(val.shape), tuple(other.shape)) if single else None,
        )

    def _constant(self, call: Call) -> Value:
        """The value of a call that reads no numbers but those of the model, computed now."""
        if draws_random(call.node.target, call.node.args, call.node.kwargs):
            raise TraceError(f"{call.name}{call.where} draws random numbers, which no graph holds")
        read = [self.values[node] for node in call.node.all_input_nodes]
        trained = any(isinstance(value, Constant) and value.trained for value in read)

        def tensor(node: fx.Node) -> Any:
            value = self.values[node]
            if isinstance(value, Held):  # of which only type and shape matter
                return torch.zeros(value.called, dtype=value.dtype)
            return value.value if isinstance(value, Constant) else [v.value for v in value]  # pyright: ignore[reportOptionalIterable, reportAttributeAccessIssue]

        arguments = fx.map_arg(call.node.args, tensor)
        with torch.no_grad():
            found = call.node.target(*arguments, **fx.map_arg(call.node.kwargs, tensor))  # pyright: ignore[reportCallIssue]
        val, other = call.node.meta["val"], call.other.meta["val"]
        if isinstance(found, Tensor):
            return Constant(found, None, trained, layout_in(tuple(val.shape), tuple(other.shape)))
        return [
            Constant(part, None, trained, layout_in(tuple(v.shape), tuple(o.shape)))
            for part, v, o in zip(found, val, other, strict=True)
        ]

    def _outputs(self, call: Call) -> list[Held]:
        found = [self.values[node] for node in call.node.args[0]]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType, reportOptionalIterable]
        for number, value in enumerate(found):
            if not isinstance(value, Held):
                raise TraceError(f"output {number} of the model does not depend on its inputs")
            if not value.layout.is_plain or value.dtype != torch.float32:
                raise TraceError(
                    f"output {number} of the model has the shape {value.called} for "
                    f"{value.called[value.layout.axis]} samples and the type {value.dtype}; let "
                    "every output be float32 with the batch as its first axis"
                )
        return [value for value in found if isinstance(value, Held)]


def _depends(value: Value) -> bool:
    if isinstance(value, Held):
        return True
    return isinstance(value, Sequence) and any(_depends(part) for part in value)


def _floats(val: object) -> bool:
    parts = [val] if isinstance(val, Tensor) else [*val]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    return all(part.dtype == torch.float32 for part in parts[:1] if part is not None)


def _arguments(node: fx.Node, value: Any) -> dict[str, Any]:
    """The arguments of a call by name, defaults included."""
    schema = node.target._schema  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess]
    given = dict(zip((a.name for a in schema.arguments), node.args, strict=False)) | node.kwargs
    found = {}
    for argument in schema.arguments:
        held = given.get(argument.name, argument.default_value)
        found[argument.name] = _resolved(held, value)
    return found


def _resolved(given: Any, value: Any) -> Any:
    if isinstance(given, fx.Node):
        return value(given)
    if isinstance(given, list | tuple):
        return [_resolved(part, value) for part in given]
    return given
