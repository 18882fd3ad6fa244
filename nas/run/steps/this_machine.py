"""The latency table of this machine, measured before anything is trained."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from nas.problem.feasibility import feasibility
from nas.profiling import OnnxRuntime, profile
from nas.profiling.beside import weights_of
from nas.run.plan import THIS_CPU, Plan, warned
from nas.run.steps.correcting import corrected, measured, seamed
from nas.targets import HardwareTarget, load_target
from nas.targets.correction.correction import calibration_path
from nas.targets.correction.fit import LEAST_NETWORKS
from nas.targets.saturation import caution
from nas.terminal.display import Display
from search_spaces.space import SearchSpace


def profiled(plan: Plan, display: Display) -> Plan:
    """The plan after measuring all tables that its targets need and checking their limits."""
    for target in plan.unmeasured:
        _tabulate(
            target,
            plan.space,
            plan.files.table,
            threads=plan.recipe.compute.profile_threads,
            display=display,
        )
        plan = corrected(plan.reloaded(), display)
        here = next(t for t in plan.targets if t.name == target.name)
        rng = np.random.default_rng(plan.recipe.seed)
        share = feasibility(plan.goal(here), plan.space, rng=rng).share
        display.say(f"{target.name}: {share:.0%} of random subnets are within its limits")
        for words in warned(here):
            display.say(words)
    return corrected(plan, display)


def _tabulate(
    target: HardwareTarget, space: SearchSpace, table: Path, *, threads: int, display: Display
) -> None:
    """Measure the kernels of a space that a latency table of this machine lacks."""
    warn(target, display)
    with display.stage("profile") as advance:
        profile(
            target.natively(space),
            path=table,
            backend=OnnxRuntime(threads, target.eight_bit_weights, weights_of(space)),
            progress=functools.partial(advance, note="fused kernels through onnxruntime"),
        )


def table_of_this_machine(
    space: SearchSpace, table: Path, *, threads: int = 1, networks: int = 0, display: Display
) -> HardwareTarget:
    """The target of this machine with a table of all kernels of a space, measured where missing.

    Args:
        space: The space, without options that this machine cannot run.
        table: The path of the table.
        threads: The number of threads inside a kernel.
        networks: The number of whole networks that calibrate a table without a calibration; 0
            leaves that out.
        display: The display for progress.
    """
    here = load_target(THIS_CPU, table=table, unmeasured=True)
    if here.lacking(space) is not None:
        _tabulate(here, space, table, threads=threads, display=display)
        here = load_target(THIS_CPU, table=table)
    backend = OnnxRuntime(threads, here.eight_bit_weights, weights_of(space))
    if seamed(here, space, table, backend=backend, display=display):
        here = load_target(THIS_CPU, table=table)
    networks = min(networks, space.size)
    if networks < LEAST_NETWORKS or calibration_path(table).exists():
        return here
    measured(here, space, table, backend=backend, networks=networks, display=display)
    return load_target(THIS_CPU, table=table)


def warn(target: HardwareTarget, display: Display) -> None:
    """Show warnings on files and latencies that are not reliable on this processor."""
    words = caution(target.name, target.eight_bit_weights)
    if words is not None:
        display.say(f"warning: {words}")
