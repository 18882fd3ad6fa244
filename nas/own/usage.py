"""What is known of the inputs and the output of a user's network, for the files made from it."""

from __future__ import annotations

from nas.facts.usage import Port, Usage, as_texts
from nas.own.samples import Samples
from search_spaces.graph import Graph

_READ = (
    "As the loader gave it to nas.fit, with the numbers that it had there: how these are made of "
    "raw data is known to the makers of the loader, since nas.fit was not told."
)
_GIVEN = "As the network gives it that nas.fit was given."


def usage_of(graph: Graph, samples: Samples) -> Usage:
    """What samples tell of a network: its inputs and their range, and nothing of raw data.

    Args:
        graph: The graph of the network, with inputs in the order of the samples' tensors.
        samples: Samples as the network reads them.
    """
    inputs: dict[str, Port] = {}
    for op, tensor in zip(graph.inputs.values(), samples.tensors, strict=True):
        floats = tensor.is_floating_point()
        low, high = ((float(one),) if floats else () for one in (tensor.min(), tensor.max()))
        inputs[op.name] = Port(_READ, _axes(len(op.shape)), low=low, high=high)
    return Usage(inputs, Port(_GIVEN, _axes(len(graph.shapes()[graph.output]))))


def usage_texts(graph: Graph, usage: Usage) -> dict[str, str]:
    """The facts of a usage as the metadata of a network; of the output, if there is only one.

    Raises:
        ValueError: The usage contradicts the inputs or the output of the network.
    """
    inputs, shape = [*graph.inputs.values()], graph.shapes()[graph.output]
    if faults := usage.problems(inputs, shape):
        raise ValueError("; ".join(faults))
    stated = usage.stated(inputs, shape)
    if len(graph.results) > 1:  # which each file states by name
        stated.pop("output")
    return as_texts(stated)


def _axes(count: int) -> tuple[str, ...]:
    return tuple(f"axis {number}" for number in range(1, count + 1))
