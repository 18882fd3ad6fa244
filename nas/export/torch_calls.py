"""Single calls of torch as nodes of ONNX, made by torch's own exporter.

The exporter takes seconds for any network, most of them for its own preparation. All calls of a
network are therefore exported together, as one network with an output for every call, and what
belongs to a call is cut out. A call that was exported once is not exported again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from nas.export.containers import BASE_OPSET, ExportError
from search_spaces.ops import Op, Shape
from supernets.elastic import compute

_SAMPLES = 2  # of the example; the exporter treats one sample as a constant
_MOST = 4096  # fragments that are kept


@dataclass(frozen=True)
class Call:
    """A resolved operator with the shapes of its inputs."""

    op: Op
    shapes: tuple[Shape, ...]

    @property
    def parameters(self) -> dict[str, Shape]:
        """The shapes of the parameters by name."""
        return {name: part.shape for name, part in self.op.parameters(*self.shapes).items()}

    @property
    def tensors(self) -> int:
        """The number of tensors that the call reads: inputs and parameters."""
        return len(self.shapes) + len(self.parameters)


@dataclass(frozen=True, eq=False)
class Fragment:
    """The part of an ONNX graph that computes a call.

    Attributes:
        inputs: The names of the tensors that the nodes read: inputs of the call, then parameters.
        output: The name of the result.
        nodes: The nodes in the order of execution.
        initializers: The constant tensors that the nodes read.
    """

    inputs: tuple[str, ...]
    output: str
    nodes: tuple[onnx.NodeProto, ...]
    initializers: tuple[onnx.TensorProto, ...]


_KNOWN: dict[Call, Fragment] = {}


def fragments(calls: Iterable[Call]) -> list[Fragment]:
    """The fragment of each of `calls`.

    Raises:
        ExportError: If torch's exporter cannot write a call.
    """
    wanted = [*calls]
    missing = [call for call in dict.fromkeys(wanted) if call not in _KNOWN]
    if missing:
        made = dict(zip(missing, _exported(missing), strict=True))
        if len(_KNOWN) + len(made) > _MOST:
            _KNOWN.clear()
            return fragments(wanted)
        _KNOWN.update(made)
    return [_KNOWN[call] for call in wanted]


def _exported(calls: Sequence[Call]) -> list[Fragment]:
    try:
        model = _model(calls)
    except Exception as error:  # the exporter has many exceptions of its own
        if len(calls) > 1:  # find the call that fails
            return [fragment for call in calls for fragment in _exported([call])]
        raise _unwritable(calls[0], str(error).strip().partition("\n")[0]) from error
    return _cut_out(calls, model)


class _Calls(nn.Module):
    """All calls side by side: as many outputs as calls."""

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        left = iter(given)
        return tuple(
            _computed(call, [next(left) for _ in range(call.tensors)]) for call in self.calls
        )


def _computed(call: Call, read: Sequence[Tensor]) -> Tensor:
    inputs, held = read[: len(call.shapes)], read[len(call.shapes) :]
    return compute(call.op, dict(zip(call.parameters, held, strict=True)), *inputs)


def _model(calls: Sequence[Call]) -> onnx.ModelProto:
    given: list[Tensor] = []
    dynamic: list[dict[int, Any] | None] = []
    for number, call in enumerate(calls):
        # With a batch in common, a call would read the size of the batch from another call's input.
        batch = torch.export.Dim(f"batch{number}", min=1)
        dtype = getattr(torch, call.op.reads)
        given += [torch.zeros(_SAMPLES, *shape, dtype=dtype) for shape in call.shapes]
        given += [torch.zeros(shape) for shape in call.parameters.values()]
        dynamic += [{0: batch} for _ in call.shapes] + [None for _ in call.parameters]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        program = torch.export.export(_Calls(calls), tuple(given), dynamic_shapes=(tuple(dynamic),))
        made = torch.onnx.export(
            program, dynamo=True, opset_version=BASE_OPSET, verbose=False, optimize=True
        )
    assert made is not None  # since no file was named
    return made.model_proto


def _cut_out(calls: Sequence[Call], model: onnx.ModelProto) -> list[Fragment]:
    graph = model.graph
    made_by = {name: place for place, node in enumerate(graph.node) for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    left = iter(given.name for given in graph.input)
    found: list[Fragment] = []
    for call, result in zip(calls, graph.output, strict=True):
        _require_known(call, result, model)
        reads = tuple(next(left) for _ in range(call.tensors))
        nodes = [graph.node[place] for place in sorted(_needed(result.name, graph, made_by))]
        known = {"", *reads, *constants, *(name for node in nodes for name in node.output)}
        for node in nodes:
            _require_plain(call, node)
            if not known.issuperset(node.input):
                raise _unwritable(call, "it reads what belongs to another call")
        used = dict.fromkeys(name for node in nodes for name in node.input if name in constants)
        tensors = tuple(constants[name] for name in used)
        found.append(Fragment(reads, result.name, tuple(nodes), tensors))
    return found


def _needed(result: str, graph: onnx.GraphProto, made_by: Mapping[str, int]) -> set[int]:
    """The places of the nodes from which `result` is computed."""
    needed, waiting = set[int](), [result]
    while waiting:
        place = made_by.get(waiting.pop())
        if place is not None and place not in needed:
            needed.add(place)
            waiting += graph.node[place].input
    return needed


def _require_known(call: Call, result: onnx.ValueInfoProto, model: onnx.ModelProto) -> None:
    if result.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(result.type.tensor_type.elem_type)
        raise _unwritable(call, f"its result is {kind}, and operators give FLOAT")
    if model.functions:
        raise _unwritable(call, "the exporter wrote functions")


def _require_plain(call: Call, node: onnx.NodeProto) -> None:
    if node.domain or any(a.HasField("g") or a.graphs for a in node.attribute):
        what = f"{node.domain or 'ai.onnx'}.{node.op_type}"
        raise _unwritable(call, f"the exporter wrote {what}, which is no plain operator of ONNX")


def _unwritable(call: Call, why: str) -> ExportError:
    return ExportError(
        f"torch's exporter cannot write {call.op} for inputs of the shapes {call.shapes} in ONNX: "
        f"{why}; export as 'torch' or 'torch-export', or replace this call in the network"
    )
