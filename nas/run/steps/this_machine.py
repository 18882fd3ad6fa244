"""The latency table of this machine, measured before anything is trained."""

from __future__ import annotations

import functools

import numpy as np

from nas.problem.feasibility import feasibility
from nas.profiling import OnnxRuntime, profile
from nas.run.plan import Plan, warned
from nas.run.steps.correcting import calibrated
from nas.targets import HardwareTarget
from nas.targets.saturation import caution
from nas.terminal.display import Display


def profiled(plan: Plan, display: Display) -> Plan:
    """The plan after measuring all tables that its targets need and checking their limits."""
    for target in plan.unmeasured:
        warn(target, display)
        with display.stage("profile") as advance:
            profile(
                target.natively(plan.space),
                path=plan.files.table,
                backend=OnnxRuntime(plan.recipe.compute.profile_threads, target.eight_bit_weights),
                progress=functools.partial(advance, note="fused kernels through onnxruntime"),
            )
        plan = calibrated(plan.reloaded(), display)
        measured = next(t for t in plan.targets if t.name == target.name)
        rng = np.random.default_rng(plan.recipe.seed)
        share = feasibility(plan.goal(measured), plan.space, rng=rng).share
        display.say(f"{target.name}: {share:.0%} of random subnets are within its limits")
        for words in warned(measured):
            display.say(words)
    return calibrated(plan, display)


def warn(target: HardwareTarget, display: Display) -> None:
    """Show warnings on files and latencies that are not reliable on this processor."""
    words = caution(target.name, target.eight_bit_weights)
    if words is not None:
        display.say(f"warning: {words}")
