"""Opaque calls of torch, which torch's own exporter writes."""

from __future__ import annotations

from collections.abc import Iterable

from nas.export.onnx_operators.site import Site, write
from nas.export.torch_calls import Call, fragments
from nas.export.writer import Value
from search_spaces.ops import Op, Opaque, Shape


def prepare(operators: Iterable[tuple[Op, tuple[Shape, ...]]]) -> None:
    """Export all opaque calls among resolved operators together, which saves nearly all the time.

    Args:
        operators: Operators with the shapes of their inputs.
    """
    fragments(Call(op, shapes) for op, shapes in operators if isinstance(op, Opaque))


@write.register
def _(op: Opaque, site: Site) -> Value:
    call = Call(op, site.shapes)
    (fragment,) = fragments([call])
    read = [*map(site.read, range(op.arity)), *map(site.floats, call.parameters)]
    names = dict(zip(fragment.inputs, read, strict=True))
    writer = site.writer
    for tensor in fragment.initializers:
        names[tensor.name] = writer.fresh("w")
        writer.copied(tensor, names[tensor.name])
    for node in fragment.nodes:
        names |= {name: writer.fresh("t") for name in node.output if name}
        writer.inlined(node, names)
    return Value(names[fragment.output])
