"""From a genotype to the network that is measured, shipped and compared: the one way of a run."""

from __future__ import annotations

from nas.run.plan import Plan
from nas.run.steps.training import device_of
from supernets.deploy import Deployment
from supernets.supernet import Supernet

BATCH = 512
"""Images of a batch wherever subnets are calibrated or tested."""


def deployment_of(plan: Plan, supernet: Supernet) -> Deployment:
    """Makes networks of the run's trained supernet, calibrated as its recipe says."""
    calibration = plan.task.calibration(plan.recipe.search.calibration_images, BATCH)
    return Deployment(supernet, calibration, device=device_of(plan))
