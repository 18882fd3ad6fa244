"""Choice of a subnet per target, export of the subnet, and verification of the file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.export import Exporter, Verification, export_onnx, forms_for, verify
from nas.export.raw import reading_raw
from nas.export.stand_in import stand_in
from nas.facts.usage import as_texts
from nas.files.durable import write_atomic
from nas.problem.choosing import cheapest
from nas.problem.goals import Goal
from nas.profiling import OnnxRuntime
from nas.report.estimates import Estimate
from nas.report.subnets import CostCheck
from nas.run.folder import RunFolder
from nas.run.measuring import deployment_of, raw_usage, told_by_files
from nas.run.plan import THIS_CPU, Plan
from nas.targets import HardwareTarget
from nas.targets.saturation import EightBitWeights
from nas.terminal.display import Display
from search_spaces.space import Genotype
from supernets.deployed import Deployed
from supernets.supernet import Supernet

PREDICTED = ".onnx"
"""The suffix of the files that `predict.py` runs."""
_CHECKED = 6  # subnets of a front whose whole latency is measured


@dataclass(frozen=True, eq=False)
class Export:
    """A subnet that was exported in one form.

    Attributes:
        form: The name of the form in recipes.
        path: The path of the exported file.
        verification: The comparison of the file with the network, on the test split.
        foretold_bytes: The predicted size of the file, in bytes.
    """

    form: str
    path: Path
    verification: Verification
    foretold_bytes: float


@dataclass(frozen=True, eq=False)
class Shipped:
    """The subnet chosen for a target, with its exported files.

    Attributes:
        evaluation: The evaluation of the subnet in the search.
        exports: The exports in all forms of the recipe, in the recipe's order.
        latency_ms: The latency of the whole network in milliseconds, if the target is this machine.
    """

    evaluation: Evaluation
    exports: tuple[Export, ...]
    latency_ms: Estimate | None


def chosen(goal: Goal, measured: Measurements, *, tolerance: float = 0.0) -> Evaluation | None:
    """The cheapest subnet within the limits, at most `tolerance` worse than the best.

    A subnet whose evaluation was stopped early is never chosen.
    """
    whole = measured[measured.complete]
    goal = goal.answered(whole)
    cost = goal.costs[goal.objectives[0]](whole.rows)
    within = goal.violation(whole.rows) == 0
    best = cheapest(whole.losses, cost, within, tolerance=tolerance)
    return None if best is None else whole.evaluations[best]


def exported(
    plan: Plan, supernet: Supernet, measured: Measurements, display: Display
) -> dict[str, Shipped]:
    """Target name -> the chosen subnet, exported and run; without targets that no subnet fits."""
    shipped: dict[str, Shipped] = {}
    with display.stage("export") as advance:
        for done, target in enumerate(plan.targets):
            advance(done, len(plan.targets), target.name)
            goal = plan.problem.goals[done]
            pick = chosen(goal, measured, tolerance=plan.section(target).tolerance)
            if pick is not None:
                shipped[target.name] = _ship(plan, supernet, target, pick)
        advance(len(plan.targets), len(plan.targets), "")
    if any(each.path.suffix == PREDICTED for made in shipped.values() for each in made.exports):
        write_predict(plan.files)
    return shipped


def write_predict(folder: RunFolder) -> None:
    """Write `predict.py` to the run folder; the script is for ONNX files, of any task."""
    write_atomic(folder.predict, files("nas.export").joinpath("predict.py").read_bytes())


def _ship(plan: Plan, supernet: Supernet, target: HardwareTarget, pick: Evaluation) -> Shipped:
    deployed = deployment_of(plan, supernet)(pick.genotype)
    weights = target.eight_bit_weights
    forms = forms_for(plan.recipe.export.formats, eight_bit_weights=weights)
    named = replace(deployed, metadata=described_by(plan, target.name, pick))
    exports = tuple(_export(plan, named, pick.genotype, form) for form in forms)
    latency = _whole_latency(plan, deployed, weights) if target.name == THIS_CPU else None
    return Shipped(pick, exports, latency)


def described_by(plan: Plan, target: str, pick: Evaluation) -> dict[str, str]:
    """The metadata of every file that is exported for a target."""
    return {
        **as_texts(told_by_files(plan)),
        "run": plan.recipe.name,
        "space": plan.space.fingerprint,
        "genotype": ",".join(map(str, pick.genotype)),
        "target": target,
    }


def _export(plan: Plan, deployed: Deployed, genotype: Genotype, form: Exporter) -> Export:
    """Export the network in one form to the run folder, and verify the file by running it."""
    path = plan.files.exported(deployed.metadata["target"], form.suffix)
    raw, made_up = raw_usage(plan), stand_in(plan.space.decode(genotype))
    told = replace(made_up, metadata=deployed.metadata)
    foretold = form.foretold_bytes(reading_raw(told, raw))
    form.write(reading_raw(deployed, raw), path)
    samples, criterion = plan.task.test_samples(), plan.task.criterion
    checked = verify(path, deployed, *samples, criterion=criterion, raw=raw)
    return Export(form.name, path, checked, foretold)


def checked_costs(
    plan: Plan, supernet: Supernet, target: str, front: Sequence[Evaluation]
) -> tuple[CostCheck, ...]:
    """Measured latencies of whole subnets of the front, compared with the sums of their kernels."""
    if target != THIS_CPU or not front:
        return ()
    goal = next(goal for goal in plan.problem.goals if goal.name == target)
    weights: EightBitWeights = next(t.eight_bit_weights for t in plan.targets if t.name == target)
    picked = sorted({round(i) for i in np.linspace(0, len(front) - 1, _CHECKED)})
    deployment, checks = deployment_of(plan, supernet), list[CostCheck]()
    for genotype in (front[position].genotype for position in picked):
        predicted = float(goal.costs["latency_ms"](np.array([genotype]))[0])
        measured = _whole_latency(plan, deployment(genotype), weights)
        checks.append(CostCheck(genotype, predicted, measured))
    return tuple(checks)


def _whole_latency(plan: Plan, deployed: Deployed, weights: EightBitWeights) -> Estimate:
    """The latency of the whole network in onnxruntime, in milliseconds, for any recipe's forms."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "subnet.onnx"
        export_onnx(deployed, path, eight_bit_weights=weights)
        return Estimate(*OnnxRuntime(plan.recipe.compute.profile_threads).network(path))
