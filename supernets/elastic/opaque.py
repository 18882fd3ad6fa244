"""Calls of torch that are no operator of the engine, and several outputs as one."""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from search_spaces.ops import Argument, Fixed, Opaque, Outputs, Read, Samples, Word
from supernets.elastic.dispatch import Tensors, compute

_RANDOM = torch.Tag.nondeterministic_seeded
# Arguments with which a function that can draw random numbers, as LSTM for dropout, draws none.
_QUIET: Mapping[str, object] = {"train": False, "training": False, "dropout_p": 0.0}


class OpaqueError(ValueError):
    """The error for a call that no opaque operator may make."""


def function_of(target: str, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The function of torch that an opaque operator calls, such as `aten.cumsum.default`.

    Args:
        target: The name of the function.
        given: The arguments by position; of tensors, anything.
        named: The arguments by name.

    Raises:
        OpaqueError: If torch has no such function, or the function changes an argument, draws
            random numbers, reads no tensor or gives something else than tensors. A file from a
            stranger can therefore make a network compute, and nothing else.
    """
    _, name, overload = target.split(".")
    found = getattr(getattr(torch.ops.aten, name, None), overload, None)
    if found is None:
        raise OpaqueError(
            f"this version of torch has no function {target!r}; trace the network again with it"
        )
    schema = found._schema
    reads = any("Tensor" in str(argument.type) for argument in schema.arguments)
    gives = all("Tensor" in str(result.type) for result in schema.returns)
    random = draws_random(found, given, named)
    if schema.is_mutable or random or not (reads and gives and schema.returns):
        raise OpaqueError(
            f"{target!r} changes what it reads, draws random numbers, or does not compute tensors "
            "from tensors; an opaque operator only computes"
        )
    return found


def draws_random(function: Any, given: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a function of torch draws random numbers when it is called with these arguments."""
    if _RANDOM not in function.tags:
        return False
    held = {one.name: one.default_value for one in function._schema.arguments}
    held |= dict(zip(held, given, strict=False)) | dict(named)
    return not any(name in held and held[name] == quiet for name, quiet in _QUIET.items())


@compute.register
def _(op: Opaque, tensors: Tensors, *x: Tensor) -> Tensor:
    samples = x[0].shape[0]
    read = [_given(value, x, tensors, samples) for value in op.arguments]
    named = {name: _given(value, x, tensors, samples) for name, value in op.named}
    found = function_of(op.target, op.arguments, dict(op.named))(*read, **named)
    if op.result is not None:
        found = found[op.result]
    return batch_first(found, op.gives, op.shape)


@compute.register
def _(op: Outputs, tensors: Tensors, *x: Tensor) -> Tensor:
    return torch.cat([value.flatten(1) for value in x], 1)


def batch_first(value: Tensor, held: Read, shape: Sequence[int]) -> Tensor:
    """The tensor of a call as a node holds it: the batch first, and `shape` for each sample.

    Args:
        value: The tensor of the call, whose axis `held.batch` has `held.before` places, the batch,
            and further places, the outer first.
        held: How the tensor of the call holds the batch.
        shape: The shape for each sample.
    """
    if held.shape is None:
        return value
    outer = math.prod(held.shape[: held.batch]) * held.before
    inner = math.prod(shape) // outer
    return value.reshape(outer, -1, inner).transpose(0, 1).reshape(-1, *shape)


def as_called(value: Tensor, held: Read) -> Tensor:
    """The tensor of a node as a call reads the tensor; the inverse of `batch_first`."""
    if held.shape is None:
        return value
    outer = math.prod(held.shape[: held.batch]) * held.before
    return value.reshape(value.shape[0], outer, -1).transpose(0, 1).reshape(held.shape)


def _given(argument: Argument, x: Sequence[Tensor], held: Tensors, samples: Any) -> Any:
    """The value of an argument for inputs `x` with so many samples, and parameters `held`."""
    match argument:
        case Read():
            return as_called(x[argument.slot], argument)
        case Fixed():
            value = held[f"fixed{argument.slot}"]
            value = value if argument.trained else value.detach()
            return value.to(getattr(torch, argument.dtype))
        case Samples():
            return samples if argument.factor == 1 else samples * argument.factor
        case Word("float", name):
            return float(name)
        case Word("device", name):
            return torch.device(name)
        case Word(_, name):
            return getattr(torch, name)
        case tuple():
            return [_given(part, x, held, samples) for part in argument]
        case _:
            return argument
