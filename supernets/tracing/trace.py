"""A user's own network as a graph with its weights."""

from __future__ import annotations

import copy
import inspect
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx, nn

from search_spaces.graph import Graph
from search_spaces.names import RESERVED
from search_spaces.ops import Input
from supernets.deployed import Deployed
from supernets.tracing.builder import Builder
from supernets.tracing.checks import answers, require_equal, require_traceable
from supernets.tracing.errors import TraceError
from supernets.tracing.finish import finished, folded
from supernets.tracing.outputs import unpacked
from supernets.tracing.program import exported
from supernets.tracing.tracer import Tracer


@dataclass(frozen=True, eq=False)
class Traced:
    """A network as a resolved graph in full precision, and its tensors.

    Attributes:
        graph: The graph; addresses are the paths of modules. Several outputs are one operator
            `Outputs`, the last one.
        tensors: The parameters, as `ADDRESS.NAME`, and `ADDRESS.mean` and `ADDRESS.variance` of
            batch norms. They share no memory with the model. Two nodes of a module that is called
            twice hold the very same tensor.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]

    def folded(self) -> Traced:
        """The network with every norm made part of the operator before the norm.

        The statistics become part of weights and biases. A supernet of the folded network
        therefore computes what the model computes, in training too.
        """
        return Traced(*folded(self.graph, self.tensors))

    def module(self) -> fx.GraphModule:
        """The network as a plain module, which takes inputs by name or in their order."""
        parameters: dict[str, dict[str, object]] = {}
        for name, tensor in self.tensors.items():
            address, _, part = name.rpartition(".")
            parameters.setdefault(address, {})[part] = tensor.numpy()
        return Deployed(self.graph, parameters, {}).module()  # pyright: ignore[reportArgumentType]


def trace(model: nn.Module, inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor]) -> Traced:
    """The graph and the tensors of `model`, which is not changed.

    The traced network is run for another batch size and compared with the model: the largest
    difference of any number is at most 1e-5 of the largest number of the same output, or of one.

    Args:
        model: A network in evaluation mode, in float32.
        inputs: An example batch, as the model reads: one tensor, several in the order of `forward`,
            or tensors by the names of arguments. The first axis is the batch.

    Raises:
        TraceError: If the model cannot be traced; the sentence says why, and where in its code.
    """
    by_name = isinstance(inputs, Mapping)
    batch = _named(model, inputs)
    require_traceable(model, batch)
    batch = {name: x.detach().cpu() for name, x in batch.items()}
    if any(p.device.type != "cpu" for p in model.parameters()):
        model = copy.deepcopy(model).cpu()
    returned = answers(model, batch, by_name=by_name)
    program = exported(model, batch, by_name=by_name)
    ops = [_input(name, tensor) for name, tensor in batch.items()]
    paths = {path: bool([*module.children()]) for path, module in model.named_modules() if path}
    build = Builder(ops, paths)
    try:
        found = Tracer(program, ops, build).run()
    except ValueError as error:  # of the graph, about types of numbers or shapes
        raise error if isinstance(error, TraceError) else TraceError(str(error)) from error
    outputs = dict(zip(returned, (value.address for value in found), strict=True))
    traced = Traced(*finished(build, outputs))
    unpack = partial(unpacked, traced.graph)
    require_equal(model, traced.module(), batch, by_name=by_name, unpack=unpack)
    return traced


def _named(
    model: nn.Module, inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The inputs by name: those of the arguments of `forward` in their order, if none are given."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    given = [inputs] if isinstance(inputs, Tensor) else [*inputs]
    if odd := [type(x).__name__ for x in given if not isinstance(x, Tensor)]:
        raise TraceError(f"inputs are tensors, given {', '.join(odd)}")
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in known if parameter.kind in kinds]
    names += [f"input{number}" for number in range(len(names), len(given))]
    return dict(zip(names, given, strict=False))


def _input(name: str, tensor: Tensor) -> Input:
    """The input of a network for an argument of a model, under a name that inputs may have."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_0123456789") or "input"
    if keyword.iskeyword(plain) or plain in RESERVED:
        plain = f"{plain}_"
    kind = "int64" if tensor.dtype == torch.int64 else "float32"
    return Input(plain, tuple(tensor.shape[1:]), kind)
