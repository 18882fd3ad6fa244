"""Predicted against measured latency of unseen subnets on this machine, as a Markdown table.

The spaces are a residual and a MobileNet-like one at 32 x 32 pixels, in float32, in int8 and with
mixed precision. Every fused kernel is timed alone, ten subnets calibrate the sums, and sixty other
subnets are measured as a whole, twice. No prediction can be closer than the second measurement is
to the first. The script takes about 20 minutes of one core: `python -m benchmarks.latency`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.profiling import OnnxRuntime, profile
from nas.profiling.whole_networks import calibrate, measure
from nas.targets import HardwareTarget, load_target
from nas.targets.correction.correction import PredictionError, calibration_path, uncalibrated
from predictors.rank import kendall_tau
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
CALIBRATED, UNSEEN = 10, 60
POLICIES = {
    "float32": Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None),
    "int8": Policy(weight_bits=(8,), activation_bits=(8,)),
    "mixed": Policy(weight_bits=(2, 4, 8, None), activation_bits=(4, 8, None)),
}
STAGES = (
    Stage(24, 1),
    Stage(40, 2, squeeze_excite=True),
    Stage(80, 2, function="hardswish"),
    Stage(112, 1, squeeze_excite=True, function="hardswish"),
)


def spaces(policy: Policy) -> dict[str, SearchSpace]:
    """The residual and the MobileNet-like space under one policy."""
    common = {"inputs": (Input("image", (3, 32, 32)),), "output": (10,), "policy": policy}
    return {
        "residual": residual(
            widths=((16, 24, 32), (16, 24, 32, 48), (32, 48, 64, 96), (64, 96, 128)),
            depths=((1, 2, 3),) * 3,
            kernels=(3, 5),
            **common,
        ),
        "MobileNet-like": mobilenet(
            stages=STAGES,
            depths=(1, 2, 3),
            kernels=(3, 5, 7),
            expansions=(3, 4, 6),
            width_multipliers=(0.5, 0.75, 1.0),
            stem_stride=1,
            head=320,
            **common,
        ),
    }


@dataclass(frozen=True)
class Row:
    """Two predictions of the same subnets, and two measurements."""

    kernels: int
    range_ms: tuple[float, float]
    before: FloatArray
    after: FloatArray
    measured: FloatArray
    again: FloatArray

    def cells(self) -> Iterator[str]:
        """The figures of a line of the table."""
        yield str(self.kernels)
        yield f"{self.range_ms[0]:.2f} to {self.range_ms[1]:.2f}"
        for predicted in (self.before, self.after, self.again):
            error = PredictionError.of(predicted, self.measured)
            tau = kendall_tau(predicted, self.measured)
            yield f"{tau:.3f}"
            yield f"{error.median:.1%}"
            yield f"{error.within_5:.0%} / {error.within_10:.0%}"


def row(space: SearchSpace, folder: Path, *, seed: int) -> Row:
    """A line of the table: profile a space, calibrate, predict and measure its subnets."""
    backend, table = OnnxRuntime(), folder / "this-cpu.csv"
    # Weights are those for any processor, as the backend has them.
    here = load_target("this-cpu", table=table, unmeasured=True, elsewhere=True)
    kernels = here.natively(space)
    rows = profile(kernels, path=table, backend=backend).rows
    target = load_target("this-cpu", table=table)
    calibration = calibrate(target, space, backend=backend, networks=CALIBRATED, seed=seed)
    calibration.write(calibration_path(table))
    target = load_target("this-cpu", table=table)
    seen = {network.genotype for network in calibration.networks}
    unseen = _unseen(space, seen, seed=seed + 1)
    measured = measure(space, unseen, backend=backend)
    return Row(
        len(rows),
        (measured.min(), measured.max()),
        _predicted(uncalibrated(target), space, unseen),
        _predicted(target, space, unseen),
        measured,
        measure(space, unseen, backend=backend),
    )


def _unseen(space: SearchSpace, seen: set[Genotype], *, seed: int) -> list[Genotype]:
    drawn = as_genotypes(space.sample_array(np.random.default_rng(seed), 2 * UNSEEN))
    return [genotype for genotype in dict.fromkeys(drawn) if genotype not in seen][:UNSEEN]


def _predicted(target: HardwareTarget, space: SearchSpace, genotypes: list[Genotype]) -> FloatArray:
    return target.compile(space)["latency_ms"](np.array(genotypes))


HEADER = (
    "space",
    "precision",
    "kernels timed",
    "measured, ms",
    *(
        f"{when}: {what}"
        for when in ("sum of kernels", "calibrated", "measured again")
        for what in (
            "tau",
            "median error",
            "within 5 / 10 %",
        )
    ),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    print(f"| {' | '.join(HEADER)} |")
    print(f"| {' | '.join('---' for _ in HEADER)} |")
    for name, policy in POLICIES.items():
        for family, space in spaces(policy).items():
            with tempfile.TemporaryDirectory() as folder:
                found = row(space, Path(folder), seed=seed)
            print(f"| {' | '.join([family, name, *found.cells()])} |", flush=True)
    print(
        f"\n{UNSEEN} subnets drawn at random, none of them among the {CALIBRATED} that calibrate; "
        f"{OnnxRuntime().conditions()['runtime']}, one thread. Tau is Kendall's."
    )


if __name__ == "__main__":
    main()
