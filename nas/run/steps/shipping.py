"""The description of the chosen subnet for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.export import bytes_of
from nas.problem.goals import Goal
from nas.report.estimates import Comparison, Estimate, LatencyBand
from nas.report.layers import drawn_nodes, layer_policies
from nas.report.subnets import Chosen, ExportedFile, Point
from nas.run.plan import Plan
from nas.run.steps.exporting import Export, Shipped


def described(
    plan: Plan,
    goal: Goal,
    shipped: Shipped,
    points: Sequence[Point],
    *,
    band: LatencyBand | None,
) -> Chosen:
    """The report's description of the subnet chosen for a target."""
    genotype = shipped.evaluation.genotype
    goal = goal.answered(Measurements.of([shipped.evaluation], plan.space))
    row = np.array([genotype])
    known = {name: float(cost(row)[0]) for name, cost in goal.costs.items()}
    predicted = next((p.predicted for p in points if p.genotype == genotype), None)
    measured = shipped.evaluation
    interval = measured.answers and measured.answers.interval
    error = Comparison(predicted, Estimate(measured.error, interval=interval))
    foretold = known["latency_ms"]
    predicted_ms = Estimate(foretold) if band is None else band.estimate(foretold)
    latency = Comparison(predicted_ms, shipped.latency_ms)
    graph = plan.space.decode(genotype)
    return Chosen(
        genotype=genotype,
        error=error,
        costs=known,
        layers=layer_policies(graph),
        description=plan.space.describe(genotype),
        latency_ms=latency,
        files=tuple(exported_file(export) for export in shipped.exports),
        graph=drawn_nodes(graph),
    )


def exported_file(export: Export) -> ExportedFile:
    """The report's description of an exported file."""
    found = export.verification
    return ExportedFile(
        form=export.form,
        path=export.path.name,
        test_error=found.file_error,
        test_metrics=found.metrics,
        test_intervals=found.intervals,
        bytes=Comparison(Estimate(export.foretold_bytes), Estimate(bytes_of(export.path))),
        output_difference=found.largest_difference,
        agreement=found.agreement,
        nodes=found.nodes,
    )
