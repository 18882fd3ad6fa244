"""The deployment of a run: the only way from a genotype to a network to measure or export."""

from __future__ import annotations

from pydantic import JsonValue

from nas.facts.usage import Usage
from nas.run.plan import Plan
from nas.run.steps.training import device_of
from supernets.deploy import Deployment
from supernets.supernet import Supernet

BATCH = 512
"""The number of samples per batch for calibrating and testing subnets."""


def deployment_of(plan: Plan, supernet: Supernet) -> Deployment:
    """The deployment that makes networks from a run's supernet, calibrated as its recipe says."""
    calibration = plan.task.calibration(plan.recipe.search.calibration_samples, BATCH)
    return Deployment(supernet, calibration, device=device_of(plan))


def raw_usage(plan: Plan) -> Usage | None:
    """The usage of the networks of a run whose files read raw data; None if files do not."""
    return plan.task.usage if plan.recipe.export.raw else None


def told_by_files(plan: Plan) -> dict[str, JsonValue]:
    """What exported files tell of their inputs and their output, as JSON values."""
    task = plan.task
    usage = task.usage.raw() if plan.recipe.export.raw else task.usage
    return usage.stated(task.inputs, task.output)
