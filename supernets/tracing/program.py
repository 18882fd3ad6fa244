"""The calls of torch that a model makes, exported for batches of two sizes.

Two exports tell which lengths and numbers are those of the batch: they grow with it. A graph with
a symbol for the batch would tell the same, but many models turn lengths into plain numbers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from supernets.tracing.errors import TraceError
from supernets.tracing.layout import Layout
from supernets.tracing.outputs import named_outputs

SIZES = (2, 3)
"""The sizes of the batches for which a model is exported."""
Given = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Call:
    """A node of the exported graph: an input, a tensor of the model, a call or the outputs.

    Attributes:
        node: The node of the export with the first batch size.
        other: The same node of the export with the second batch size.
    """

    node: fx.Node
    other: fx.Node

    @property
    def path(self) -> str:
        """The path of the module that makes the call; empty for the model itself."""
        stack = self.node.meta.get("nn_module_stack") or {}
        path = [*stack.values()][-1][0] if stack else ""
        return path.removeprefix("model").removeprefix(".")

    @property
    def name(self) -> str:
        """The name of the function, such as `conv2d` for `aten.conv2d.default`."""
        return str(getattr(self.node.target, "_opname", self.node.target))

    @property
    def where(self) -> str:
        """The place in the model's own code, for errors."""
        lines = re.findall(r'File "([^"]+)", line (\d+)', self.node.meta.get("stack_trace") or "")
        own = [line for line in lines if not _FOREIGN.search(line[0])]
        return f" at {own[-1][0]}:{own[-1][1]}" if own else ""


@dataclass(frozen=True, eq=False)
class Program:
    """The calls of a model, with the tensors that the model itself holds.

    Attributes:
        calls: The calls in their order.
        held: The tensors of the model by the names of nodes, each with its name in the model.
        read: The names of the nodes that are inputs, in the order of the inputs.
    """

    calls: Sequence[Call]
    held: Mapping[str, tuple[str, Tensor]]
    read: Sequence[str]


def layout_in(shape: Sequence[int], other: Sequence[int]) -> Layout | None:
    """The axis that grows with the batch, all of whose other places lie behind the batch.

    Returns:
        None if no axis grows with the batch.

    Raises:
        TraceError: If several axes do, or one does not in proportion.
    """
    grown = [axis for axis, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    if not grown:
        return None
    axis = grown[0]
    if len(grown) > 1 or shape[axis] * SIZES[1] != other[axis] * SIZES[0]:
        raise TraceError(
            f"a tensor of the shape {tuple(shape)} for {SIZES[0]} samples has the shape "
            f"{tuple(other)} for {SIZES[1]}, which is no number of places for each sample"
        )
    return Layout(axis, 1, shape[axis] // SIZES[0])


def exported(model: nn.Module, batch: Given, *, by_name: bool) -> Program:
    """The calls that `model` makes for a batch, exported at two batch sizes.

    Args:
        model: The model.
        batch: The inputs, with at least one sample.
        by_name: Whether the model is called with names; if not, by position.

    Raises:
        TraceError: If torch cannot export the model.
    """
    whole = _Flat(model, [*batch] if by_name else None).eval()
    programs = [_export(whole, [sized(x, size) for x in batch.values()]) for size in SIZES]
    first, second = ([*program.graph.nodes] for program in programs)
    if [(n.op, str(n.target)) for n in first] != [(n.op, str(n.target)) for n in second]:
        raise TraceError(
            f"the model makes other calls for {SIZES[1]} samples than for {SIZES[0]}; a graph "
            "computes every sample alike, so let nothing in forward depend on the batch size"
        )
    program = programs[0]
    tensors = {**program.state_dict, **program.constants}
    held: dict[str, tuple[str, Tensor]] = {}
    read: list[str] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            read.append(spec.arg.name)
        elif spec.target in tensors:
            name = str(spec.target).removeprefix("model.")
            held[spec.arg.name] = name, tensors[spec.target]
    return Program([Call(*pair) for pair in zip(first, second, strict=True)], held, read)


def sized(tensor: Tensor, size: int) -> Tensor:
    """The first `size` samples of a batch, which begins anew behind its last sample."""
    return tensor[torch.arange(size, device=tensor.device) % len(tensor)]


class _Flat(nn.Module):
    """A model that reads tensors by position and returns a tuple of tensors."""

    def __init__(self, model: nn.Module, names: Sequence[str] | None) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = {} if self.names is None else dict(zip(self.names, tensors, strict=True))
        found = self.model(**named) if named else self.model(*tensors)
        return tuple(named_outputs(found).values())


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """The functions that torch writes as several others; all else stays as the model calls it."""
    known = torch.export.default_decompositions()
    return {function: known[function] for function in (torch.ops.aten.einsum.default,)}


def _export(model: nn.Module, rows: Sequence[Tensor]) -> Any:
    with _as_written(), torch.enable_grad():
        try:
            program = torch.export.export(model, tuple(rows), strict=False)
            return program.run_decompositions(_decompositions())
        except TraceError:
            raise
        except Exception as error:  # torch raises many kinds, none of which is documented
            raise TraceError(explained(error)) from error


@contextmanager
def _as_written() -> Iterator[None]:
    """Let torch export attention as modules are written, not as one fused call, and in silence."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def explained(error: Exception) -> str:
    """Why torch could not export a model, in a sentence with the place in the model's code."""
    text = str(error)
    told = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    caused = re.search(r"Caused by:\s*\(?([^\n]*)", text)
    place = place_of(error)
    if "data-dependent" in text or "GuardOnDataDependent" in type(error).__name__:
        return (
            f"the model decides by the values of tensors what to compute{place}, which no graph "
            f"can hold; torch said: {caused[1] if caused else told}; replace the condition by "
            "torch.where, or by something that is known from shapes"
        )
    return f"torch.export cannot export the model{place}; torch said: {told}"


def place_of(error: Exception) -> str:
    """The last line of code outside of torch that an error tells, or that raised the error."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', str(error))
    step = error.__traceback__
    while step is not None:
        lines.append((step.tb_frame.f_code.co_filename, str(step.tb_lineno)))
        step = step.tb_next
    own = [line for line in lines if not _FOREIGN.search(line[0])]
    return f" at {own[-1][0]}:{own[-1][1]}" if own else ""


_FOREIGN = re.compile(r"/torch/|/sympy/|<|/supernets/tracing/|/contextlib")
