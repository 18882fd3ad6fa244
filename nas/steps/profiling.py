"""Measuring this machine's latency table."""

from __future__ import annotations

import functools

import numpy as np

from nas.display import Display
from nas.feasibility import feasibility
from nas.plan import Plan
from nas.targets.profiling import OnnxRuntime, profile


def profiled(plan: Plan, display: Display) -> Plan:
    """The plan with every table measured that a target needs, and its limits checked."""
    for target in plan.unmeasured():
        with display.stage("profile") as advance:
            profile(
                target.natively(plan.space),
                path=plan.files.table,
                backend=OnnxRuntime(plan.recipe.compute.profile_threads),
                progress=functools.partial(advance, note="fused kernels through onnxruntime"),
            )
        plan = plan.reloaded()
        measured = next(t for t in plan.targets if t.name == target.name)
        rng = np.random.default_rng(plan.recipe.seed)
        share = feasibility(plan.goal(measured), plan.space, rng=rng).share
        display.say(f"{target.name}: {share:.0%} of random subnets are within its limits")
    return plan
