"""Compiled costs of a million genotypes, in a space of many choices, against the slow path.

    python -m benchmarks.compiled_costs

The slow path resolves the graph of each genotype and sums over its kernels. The table has the
seconds to compile, the seconds for a million genotypes on one core, the largest difference to the
slow path over 1,000 random genotypes, and how many times faster the compiled path is per genotype.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nas.targets import load_target
from search_spaces import costs
from search_spaces.costs import CompiledCost, KernelCost, SpaceKernels
from search_spaces.kernels import UNFUSED, Fusion
from search_spaces.mobilenet import mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace, as_genotypes

MILLION = 1_000_000
COMPARED = 1000


def large_space() -> SearchSpace:
    """A MobileNetV3-like space over four resolutions, with bits per block: 87 choices."""
    policy = Policy(weight_bits=(2, 3, 4, 6, 8), activation_bits=(4, 6, 8), fineness="block")
    return mobilenet(
        inputs=(Input("image", (3, 224, 224)),),
        output=(1000,),
        image_sizes=(128, 160, 192, 224),
        width_multipliers=(1.0, 1.2),
        policy=policy,
    )


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """The seconds that `work` took, and its result."""
    start = time.perf_counter()
    made = work()
    return time.perf_counter() - start, made


def row(space: SearchSpace, name: str, cost: KernelCost, fusion: Fusion) -> str:
    """One line of the table."""
    compiling, kernels = timed(lambda: SpaceKernels(space, fusion))
    assert isinstance(kernels, SpaceKernels)
    extra, compiled = timed(lambda: kernels.compile(cost))
    assert isinstance(compiled, CompiledCost)
    rng = np.random.default_rng(0)
    million = space.sample_array(rng, MILLION)
    fast = min(timed(lambda: compiled(million))[0] for _ in range(3))
    few = million[:COMPARED]
    slow, walked = timed(
        lambda: np.array([costs.total(cost, space.decode(g), fusion) for g in as_genotypes(few)])
    )
    assert isinstance(walked, np.ndarray)
    difference = np.abs(compiled(few) - walked).max() / np.abs(walked).max()
    ratio = (slow / COMPARED) / (fast / MILLION)
    return f"| {name} | {compiling + extra:.2f} | {fast:.2f} | {difference:.0e} | {ratio:,.0f} |"


def main() -> None:
    """Print the table."""
    space, target = large_space(), load_target("edge-npu")
    print(f"{len(space.choices)} choices, {space.size:.2g} networks\n")
    print("| cost | compile, s | a million, s | largest relative difference | times faster |")
    print("| --- | --- | --- | --- | --- |")
    for name, cost in (
        ("MACs", costs.macs),
        ("BitOPs", costs.bitops),
        ("bytes", costs.model_bytes),
    ):
        print(row(space, name, cost, UNFUSED))
    print(row(space, "latency, edge-npu", target.kernel_cost, target.fusion))


if __name__ == "__main__":
    main()
