"""Choosing a subnet per target, exporting it, and running the file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.display import Display
from nas.evaluate import Evaluation
from nas.export import Verification, export_onnx, verify
from nas.objectives import Goal
from nas.plan import THIS_CPU, Plan
from nas.report.data import CostCheck, Estimate
from nas.targets.profiling import OnnxRuntime
from search_spaces.space import Genotype
from supernets.deploy import Deployed, deploy
from supernets.extract import extract
from supernets.supernet import Supernet

_BATCH = 512
_CHECKED = 6  # subnets of a front whose whole latency is measured


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
    path = plan.files.exported(target)
    deployed = _write(plan, supernet, pick.genotype, path, {"target": target})
    images, labels = (
        torch.cat(parts) for parts in zip(*plan.task.test_batches(_BATCH), strict=True)
    )
    verification = verify(path, deployed, images, labels)
    latency = _whole_latency(plan, path) if target == THIS_CPU else None
    return Shipped(pick, deployed, verification, latency)


def checked_costs(
    plan: Plan, supernet: Supernet, target: str, front: Sequence[Evaluation]
) -> tuple[CostCheck, ...]:
    """Whole subnets of the front run on this machine, against the sums of their kernels."""
    if target != THIS_CPU or not front:
        return ()
    goal = next(goal for goal in plan.problem.goals if goal.name == target)
    picked = sorted({round(i) for i in np.linspace(0, len(front) - 1, _CHECKED)})
    checks: list[CostCheck] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "subnet.onnx"
        for genotype in (front[position].genotype for position in picked):
            _write(plan, supernet, genotype, path, {})
            predicted = float(goal.costs["latency_ms"](np.array([genotype]))[0])
            checks.append(CostCheck(genotype, predicted, _whole_latency(plan, path)))
    return tuple(checks)


def _write(
    plan: Plan, supernet: Supernet, genotype: Genotype, path: Path, more: Mapping[str, str]
) -> Deployed:
    """Export one subnet; gives what is in the file."""
    calibration = plan.task.calibration(plan.recipe.search.calibration_images, _BATCH)
    deployed = deploy(extract(supernet, genotype, calibration))
    metadata = {
        "run": plan.recipe.name,
        "space": plan.space.fingerprint,
        "genotype": ",".join(map(str, genotype)),
        **more,
    }
    export_onnx(deployed, path, metadata=metadata, source_size=plan.task.image_size)
    return deployed


def _whole_latency(plan: Plan, path: Path) -> Estimate:
    return Estimate(*OnnxRuntime(plan.recipe.compute.profile_threads).network(path))
