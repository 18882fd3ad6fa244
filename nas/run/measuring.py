"""The deployment of a run: the only way from a genotype to a network to measure or export."""

from __future__ import annotations

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
