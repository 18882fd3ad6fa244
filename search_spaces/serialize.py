"""Specs and graphs as JSON, and back; nothing is executed that is not already imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from search_spaces.choice import Choice, Derived, Spec
from search_spaces.graph import Graph, Node

FORMAT = 1


def encode(value: Any) -> Any:
    """A field's value as JSON; a choice is written by name only."""
    if isinstance(value, Choice):
        return {"$choice": value.name}
    if isinstance(value, Derived):
        return {"$derived": value.function, "arguments": [encode(part) for part in value.arguments]}
    if isinstance(value, Spec):
        content = {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        return {"$spec": type(value).__name__, **content}
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a spec field cannot hold {value!r}; use numbers, strings, tuples and specs")


def decode(value: Any) -> Any:
    """The value that `encode` wrote, where it holds no choice."""
    return _Decoder({})(value)


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """The graph with its choices listed once, innermost first."""
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
    return {"format": FORMAT, "choices": named, "nodes": nodes}


def graph_from_json(data: dict[str, Any]) -> Graph:
    """The graph that `graph_to_json` wrote."""
    if data.get("format") != FORMAT:
        raise ValueError(
            f"this is search space format {data.get('format')!r}; this version reads {FORMAT}"
        )
    decoded = _Decoder(data["choices"])
    return Graph.from_nodes(
        {
            node["address"]: Node(
                decoded(node["op"]), tuple(node["inputs"]), decoded(node["present"])
            )
            for node in data["nodes"]
        }
    )


class _Decoder:
    """Turns JSON back into specs, each choice made once."""

    def __init__(self, options: dict[str, list[Any]]) -> None:
        self._options = options
        self._specs = {kind.__name__: kind for kind in _kinds(Spec)}
        self._choices: dict[str, Choice[Any]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(self(part) for part in value)
        if not isinstance(value, dict):
            return value
        if "$choice" in value:
            return self._choice(value["$choice"])
        if "$derived" in value:
            return Derived(value["$derived"], self(value["arguments"]))
        return self._spec(value)

    def _choice(self, name: str) -> Choice[Any]:
        if name not in self._choices:
            self._choices[name] = Choice(name, self(self._options[name]))
        return self._choices[name]

    def _spec(self, value: dict[str, Any]) -> Spec:
        if value["$spec"] not in self._specs:
            raise ValueError(
                f"spec {value['$spec']!r} is not known; import the module that defines it "
                f"(known: {', '.join(sorted(self._specs))})"
            )
        content = {key: self(part) for key, part in value.items() if key != "$spec"}
        return self._specs[value["$spec"]](**content)


def _kinds(base: type[Spec]) -> Iterator[type[Spec]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)
