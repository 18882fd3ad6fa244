"""The chosen subnet in words and numbers, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nas.export import onnx_bytes
from nas.objectives import Goal
from nas.plan import Plan
from nas.report.data import Chosen, Comparison, Estimate, ExportedFile, LayerPolicy, Point
from nas.steps.exporting import Shipped
from search_spaces.graph import Graph
from search_spaces.quant import Quant


def described(plan: Plan, goal: Goal, shipped: Shipped, points: Sequence[Point]) -> Chosen:
    """What the report says of a target's subnet."""
    genotype = shipped.evaluation.genotype
    row = np.array([genotype])
    known = {name: float(cost(row)[0]) for name, cost in goal.costs.items()}
    predicted = next((p.predicted for p in points if p.genotype == genotype), None)
    error = Comparison(predicted, Estimate(shipped.evaluation.metrics["error"]))
    latency = Comparison(Estimate(known["latency_ms"]), shipped.latency_ms)
    path = plan.files.exported(goal.name)
    size = path.stat().st_size
    graph = plan.space.decode(genotype)
    return Chosen(
        genotype=genotype,
        error=error,
        costs=known,
        layers=tuple(layers(graph)),
        description=plan.space.describe(genotype),
        latency_ms=latency,
        file=ExportedFile(
            path=path.name,
            test_accuracy=shipped.verification.file_accuracy,
            bytes=Comparison(Estimate(onnx_bytes(graph)), Estimate(size)),
            logit_difference=shipped.verification.largest_difference,
            nodes=shipped.verification.nodes,
        ),
    )


def layers(graph: Graph) -> Iterator[LayerPolicy]:
    """The weighted layers of a resolved graph, in order."""
    shapes = graph.shapes()
    for address, node in graph.nodes.items():
        inputs = tuple(shapes[read] for read in node.inputs)
        if node.op.weight_shape(*inputs) is None:
            continue
        yield LayerPolicy(
            address=address,
            operator=type(node.op).__name__,
            width=shapes[address][0],
            kernel=getattr(node.op, "kernel", None),
            weight_bits=_bits(node.op.weight),
            activation_bits=_bits(node.op.activation),
            macs=float(node.op.macs(*inputs)),
        )


def _bits(quant: Quant | None) -> int | None:
    return None if quant is None else quant.bits
