"""Calibration of predicted latencies by whole networks that are measured on this machine."""

from __future__ import annotations

import functools
from pathlib import Path

from nas.profiling import NetworkBackend, OnnxRuntime
from nas.profiling.whole_networks import calibrate
from nas.run.plan import THIS_CPU, Plan
from nas.targets import HardwareTarget
from nas.targets.correction.correction import Calibration, calibration_path
from nas.targets.correction.fit import LEAST_NETWORKS
from nas.terminal.display import Display
from search_spaces.space import SearchSpace


def calibrated(plan: Plan, display: Display) -> Plan:
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
