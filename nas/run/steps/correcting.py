"""Corrections of summed kernels on this machine: seams, and calibration by whole networks."""

from __future__ import annotations

import functools
from pathlib import Path

from nas.profiling import NetworkBackend, OnnxRuntime
from nas.profiling.backend import SeamBackend
from nas.profiling.beside import weights_of
from nas.profiling.seam_loop import BUDGET_MS, profile_seams
from nas.profiling.whole_networks import calibrate
from nas.run.plan import THIS_CPU, Plan
from nas.targets import HardwareTarget
from nas.targets.correction.correction import Calibration, calibration_path
from nas.targets.correction.fit import LEAST_NETWORKS
from nas.targets.seams.table import seams_path
from nas.terminal.display import Display
from search_spaces.space import SearchSpace


def corrected(plan: Plan, display: Display) -> Plan:
    """The plan with the seams and the calibration of this machine that its recipe asks for.

    An existing calibration is kept.
    """
    here = [target for target in plan.targets if target.name == THIS_CPU]
    compute, table = plan.recipe.compute, plan.files.table
    if here and compute.profile_seams:
        weights, count = here[0].eight_bit_weights, weights_of(plan.space)
        backend = OnnxRuntime(compute.profile_threads, weights, count)
        if seamed(here[0], plan.space, table, backend=backend, display=display):
            plan = plan.reloaded()
    return _calibrated(plan, display)


def seamed(
    target: HardwareTarget,
    space: SearchSpace,
    table: Path,
    *,
    backend: SeamBackend,
    display: Display,
    budget_ms: float = BUDGET_MS,
) -> bool:
    """Measure the missing seams of a space beside a latency table; returns whether there were any.

    Nothing is measured where a calibration corrects sums without seams.

    Args:
        target: The target with the latency table.
        space: The space.
        table: The path of the latency table.
        backend: Measures the kernels around a tensor.
        display: The display for progress.
        budget_ms: The most time for the repetitions of each model, in milliseconds.
    """
    if target.seams is None and calibration_path(table).exists():
        return False
    if target.seams is not None and target.lacking(space) is None:
        return False
    with display.stage("seams") as advance:
        profile_seams(
            target,
            space,
            path=seams_path(table),
            backend=backend,
            budget_ms=min(budget_ms, BUDGET_MS),
            progress=functools.partial(advance, note="kernels with their neighbours"),
        )
    return True


def _calibrated(plan: Plan, display: Display) -> Plan:
    """The plan with calibrated latencies of this machine, if its recipe asks for a calibration.

    An existing calibration is kept. A space with fewer than `LEAST_NETWORKS` networks gets none.
    """
    compute = plan.recipe.compute
    here = [target for target in plan.targets if target.name == THIS_CPU]
    asked = min(compute.profile_networks, plan.space.size)
    if not here or asked < LEAST_NETWORKS or plan.files.calibration.exists():
        return plan
    backend = OnnxRuntime(compute.profile_threads, here[0].eight_bit_weights)
    measured(
        here[0], plan.space, plan.files.table, backend=backend, networks=asked, display=display
    )
    return plan.reloaded()


def measured(
    target: HardwareTarget,
    space: SearchSpace,
    table: Path,
    *,
    backend: NetworkBackend,
    networks: int,
    display: Display,
) -> Calibration:
    """Measure whole networks and write the calibration of a latency table beside the table.

    Args:
        target: The target with the latency table.
        space: The space from which the networks are drawn.
        table: The path of the latency table.
        backend: Measures the latency of a network.
        networks: The number of networks to measure.
        display: The display for progress.
    """
    with display.stage("calibrate") as advance:
        found = calibrate(
            target,
            space,
            backend=backend,
            networks=networks,
            progress=functools.partial(advance, note="whole networks, end to end"),
        )
    found.write(calibration_path(table))
    display.say(
        f"{target.name}: {found.error.networks} whole networks against sums of kernels: "
        f"{found.before}\ncalibrated, each left out of its own fit: {found.error}"
    )
    return found
