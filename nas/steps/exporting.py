"""Choosing a subnet per target, exporting it, and running the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nas.display import Display
from nas.evaluate import Evaluation
from nas.export import Verification, export_onnx, verify
from nas.objectives import Goal
from nas.plan import THIS_CPU, Plan
from nas.report.data import Estimate
from nas.targets.profiler import network_latency
from supernets.deploy import Deployed, deploy
from supernets.extract import extract
from supernets.supernet import Supernet

_BATCH = 512


@dataclass(frozen=True, eq=False)
class Shipped:
    """One target's subnet as it leaves.

    Attributes:
        evaluation: What the search measured of it.
        deployed: The network in the file.
        verification: The file held against the network, on the test split.
        latency_ms: Measured end to end, where the target is this machine.
    """

    evaluation: Evaluation
    deployed: Deployed
    verification: Verification
    latency_ms: Estimate | None


def chosen(
    goal: Goal, evaluations: Sequence[Evaluation], *, tolerance: float = 0.0
) -> Evaluation | None:
    """The cheapest subnet within the limits, at most `tolerance` points worse than the best."""
    if not evaluations:
        return None
    rows = np.array([evaluation.genotype for evaluation in evaluations])
    errors = np.array([evaluation.metrics["error"] for evaluation in evaluations])
    cost = goal.costs[goal.objectives[0]](rows)
    feasible = goal.violation(rows) == 0
    if not feasible.any():
        return None
    allowed = feasible & (errors <= errors[feasible].min() + tolerance)
    best = min(np.flatnonzero(allowed), key=lambda row: (cost[row], errors[row]))
    return evaluations[int(best)]


def exported(
    plan: Plan, supernet: Supernet, evaluations: Sequence[Evaluation], display: Display
) -> dict[str, Shipped]:
    """By target name, the subnet chosen, exported and run; without those that no subnet fits."""
    shipped: dict[str, Shipped] = {}
    with display.stage("export") as advance:
        for done, target in enumerate(plan.targets):
            advance(done, len(plan.targets), target.name)
            goal = plan.problem.goals[done]
            pick = chosen(goal, evaluations, tolerance=plan.section(target).tolerance)
            if pick is not None:
                shipped[target.name] = _ship(plan, supernet, target.name, pick)
        advance(len(plan.targets), len(plan.targets), "")
    return shipped


def _ship(plan: Plan, supernet: Supernet, target: str, pick: Evaluation) -> Shipped:
    calibration = plan.task.calibration(plan.recipe.search.calibration_images, _BATCH)
    deployed = deploy(extract(supernet, pick.genotype, calibration))
    path = plan.files.exported(target)
    metadata = {
        "run": plan.recipe.name,
        "target": target,
        "space": plan.space.fingerprint,
        "genotype": ",".join(map(str, pick.genotype)),
    }
    export_onnx(deployed, path, metadata=metadata, source_size=plan.task.image_size)
    images, labels = (
        torch.cat(parts) for parts in zip(*plan.task.test_batches(_BATCH), strict=True)
    )
    verification = verify(path, deployed, images, labels)
    latency = None
    if target == THIS_CPU:
        latency = Estimate(*network_latency(path, threads=plan.recipe.compute.profile_threads))
    return Shipped(pick, deployed, verification, latency)
