"""The statement of an exported file: the metadata of its network, and its policy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from nas.export.containers import ExportError
from search_spaces.graph import Graph
from search_spaces.ops import Input
from search_spaces.quant import Quant
from supernets.deployed import Deployed

METADATA_PREFIX = "elastic_nas."


def stated(deployed: Deployed) -> dict[str, str]:
    """The metadata of `deployed`, its inputs, several outputs and its policy, sorted by key.

    Metadata that tell of the inputs, as those of a task do, stand in place of shapes and types.

    Raises:
        ExportError: If a value is no text.
    """
    graph = deployed.graph
    ports = {"inputs": inputs_json(graph.inputs.values())}
    if len(graph.results) > 1:
        ports["outputs"] = outputs_json(graph)
    entries: Mapping[str, object] = {**ports, **deployed.metadata, "policy": policy_json(graph)}
    return {key: _text(key, entries[key]) for key in sorted(entries)}


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ExportError(f"metadata {key!r} must be a string, given {value!r}; write it as text")
    return value


def inputs_json(inputs: Iterable[Input]) -> str:
    """The inputs of a network as JSON: name -> shape per sample and type, in their order."""
    entries = {op.name: {"shape": list(op.shape), "dtype": op.dtype} for op in inputs}
    return json.dumps(entries, separators=(",", ":"))


def outputs_json(graph: Graph) -> str:
    """The outputs of a resolved network as JSON: name -> shape per sample and type, in order."""
    shapes, results = graph.shapes(), graph.results
    entries = {
        name: {"shape": list(shapes[address]), "dtype": "float32"}
        for name, address in results.items()
    }
    return json.dumps(entries, separators=(",", ":"))


def policy_json(graph: Graph) -> str:
    """The precision of every operator that has one, as JSON.

    The form is address -> `weight` and `activation` -> the names of format and granularity. Full
    precision is left out.
    """
    entries: dict[str, dict[str, list[str]]] = {}
    for address, node in graph.nodes.items():
        precisions = {"weight": node.op.weight, "activation": node.op.activation}
        found = {name: _stated(quant) for name, quant in precisions.items() if quant is not None}
        if found:
            entries[address] = found
    return json.dumps(entries, separators=(",", ":"))


def _stated(quant: Quant) -> list[str]:
    return [quant.name, quant.granularity.name]
