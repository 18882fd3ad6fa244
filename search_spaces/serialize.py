"""Specs and graphs to and from JSON; reading a file neither imports nor runs any code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from search_spaces.choice import Choice, Derived, Spec, spec_name
from search_spaces.decoder import Decoder, Place, located
from search_spaces.documents import Source, path_of
from search_spaces.fields import misfit
from search_spaces.graph import Graph, Node
from search_spaces.older_formats import flattening, source_ops
from search_spaces.older_precisions import with_formats
from search_spaces.ops import Op

FORMAT = 3
"""The format of space files.

In files of format 1, a `Linear` flattened its input. Up to format 2, a `Quant` held its bits, and
the only source was an `Image`, which resized what it got, or an `Input` without a name.
"""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NodeEntry(_Section):
    """A node as a space file holds it, with its values in the form that `encode` gives them."""

    address: str
    op: dict[str, Any]
    inputs: list[str]
    present: list[Any]


class SpaceFile(_Section):
    """The content of a space file."""

    format: Literal[1, 2, 3]
    name: str
    choices: dict[str, list[Any]]
    nodes: list[NodeEntry] = Field(min_length=1)


def encode(value: Any) -> Any:
    """The value of a spec's field as JSON; a choice is represented by its name only.

    Raises:
        TypeError: If the value is of a type that no field of a spec can have.
    """
    if isinstance(value, Choice):
        return {"$choice": value.name}
    if isinstance(value, Derived):
        return {"$derived": value.function, "arguments": [encode(part) for part in value.arguments]}
    if isinstance(value, Spec):
        content = {name: encode(held) for name, held in value.written().items()}
        return {"$spec": spec_name(type(value)), **content}
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a spec field cannot hold {value!r}; use numbers, strings, tuples and specs")


def decode(value: Any, source: Source) -> Any:
    """The value that `encode` wrote, for values without choices.

    Args:
        value: The JSON value.
        source: The file that error messages name.
    """
    return Decoder({}, source)(value, ())


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """A graph as JSON: its nodes, and each of its choices once, the innermost choices first."""
    named: dict[str, Any] = {}
    for found in reversed([*graph.choices()]):
        named.setdefault(found.name, [encode(option) for option in found.options])
    nodes = [
        {
            "address": address,
            "op": encode(n.op),
            "inputs": list(n.inputs),
            "present": encode(n.present),
        }
        for address, n in graph.nodes.items()
    ]
    return {"choices": named, "nodes": nodes}


def graph_from_json(data: SpaceFile, source: Source) -> Graph:
    """The graph that `graph_to_json` wrote.

    Raises:
        UnreadableFile: In the name of `source`, if a value is no spec, a field has the wrong type,
            a name is not allowed, or a node does not fit the nodes before.
    """
    read = with_formats if data.format < FORMAT else lambda value: value
    decoder = Decoder(read(data.choices), source)
    graph = Graph()
    for position, node in _entries(data):
        place: Place = ("nodes", position)
        op = decoder(read(node.op), (*place, "op"))
        present = decoder(node.present, (*place, "present"))
        if fault := misfit(op, Op) or misfit(present, tuple[bool, ...]):
            raise source.error(fault, place=path_of(place))
        with located(source, place):
            graph.append(node.address, Node(op, tuple(node.inputs), present))
    if unused := sorted(data.choices.keys() - decoder.made):
        raise source.error("is a choice that no node uses", place=path_of(("choices", unused[0])))
    return flattening(graph, source) if data.format == 1 else graph


def _entries(data: SpaceFile) -> Iterator[tuple[int, NodeEntry]]:
    """The nodes of a file in the present format, each with the position of its entry."""
    resized: dict[str, str] = {}
    for position, node in enumerate(data.nodes):
        if data.format == FORMAT:
            yield position, node
            continue
        op, resize = source_ops(node.op, data.choices)
        inputs = [resized.get(read, read) for read in node.inputs]
        yield position, node.model_copy(update={"op": op, "inputs": inputs})
        if resize is not None:
            behind = resized[node.address] = f"{node.address}.resize"
            yield position, NodeEntry(address=behind, op=resize, inputs=[node.address], present=[])
