"""Whether `nas.fit` ever returns a mixed policy that a uniform one dominates on held-out images.

    python -m benchmarks.own_model.uniform [--folder FOLDER] [--depths 20 32] [--seeds 0 1 2]
        [--targets this-cpu edge-npu ...] [--budget 40] [--labelled 2000] [--tested 2000]

A run is a network, a seed of the calibration images, a target, what `nas.fit` is given to judge by,
and a wish. The network is fitted with unlabelled training images, of which half calibrate, a
quarter guides the search and a quarter judges; with `accuracy`, it is judged by the accuracy on
other training images instead (`--labelled`), and further ones confirm. Wishes are: none, a drop of
at most so much, and a latency of at most some share of that of the slowest policy. A returned
policy is dominated if a uniform policy has no higher latency on the target and no lower accuracy on
test images (`--tested`), and is better in one of them. For the processor of this machine, the
latency is that of the whole file, timed beside those of the uniform ones.

Fits continue from FOLDER, and test accuracies are kept there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

import nas
from benchmarks.own_model.data import accuracy, calibration, resnet
from nas.api.fitted import Fitted, Policy
from nas.evaluation.rewrites import DEFAULT
from nas.files.durable import write_atomic
from nas.own.choosing import MIXED
from nas.own.remembering import resolved
from nas.run.plan import THIS_CPU

TARGETS = (THIS_CPU, "edge-npu", "datacentre-gpu", "tiny-mcu")
JUDGES = ("distance", "accuracy")
SEARCHED, CONFIRMED, TEST = ("train_20",), ("train_21",), ("test_00",)
DROPS = {"distance": (0.5, 5.0), "accuracy": (0.25, 1.0)}
SHARES = (0.35, 0.6, 0.9)


@dataclass(frozen=True)
class Answer:
    """A returned policy beside the uniform ones.

    Attributes:
        where: Network, seed, target and judge.
        wish: What was asked for.
        policy: The name of the policy.
        latency_ms: Its latency on the target.
        accuracy: Its accuracy on test images, in percent.
        by: The uniform policies that dominate it.
    """

    where: str
    wish: str
    policy: str
    latency_ms: float
    accuracy: float
    by: tuple[str, ...]


@dataclass(frozen=True)
class Effort:
    """What a fit may take: policies, calibration images, labelled images, rewrites that round."""

    budget: int
    images: int
    labelled: int
    rewrites: tuple[str, ...]


def fitted(
    depth: int, seed: int, target: str, judge: str, *, folder: Path, effort: Effort
) -> Fitted:
    """The fit of a network; what the folder holds is not measured again."""
    batches = [one["image"] for one in calibration(seed, effort.images)]
    metrics: dict[str, Callable[[nn.Module], float]] = {}
    if judge == "accuracy":
        metrics = {
            "evaluate": lambda module: accuracy(module, SEARCHED, effort.labelled),
            "confirm": lambda module: accuracy(module, CONFIRMED, effort.labelled),
        }
    storage = folder / f"resnet{depth}-{seed}-{judge}"
    name = f"resnet{depth}"
    return nas.fit(
        resnet(depth),
        calibration=batches,
        targets=target,
        budget=effort.budget,
        rewrites=effort.rewrites,
        samples=effort.images,
        storage=storage,
        name=name,
        seed=seed,
        **metrics,
    )


def wishes(found: Fitted, judge: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The wishes by name, as arguments of `best`."""
    yield "nothing", {}
    for drop in DROPS[judge]:
        yield f"drop {drop:g}", {"allowed_drop": drop}
    slowest = float(found.frame()["latency_ms"].replace(float("inf"), float("nan")).max())
    for share in SHARES:
        yield f"{share:.0%} of the slowest", {"limits": {"latency_ms": share * slowest}}


class Tests:
    """Test accuracies of networks, kept in a file."""

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._count = path, count
        self._known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def __call__(self, found: Fitted, genotype: tuple[int, ...]) -> float:
        """The accuracy of a policy in percent."""
        key = resolved(found.space, genotype)
        if key not in self._known:
            module = found.means.deployment(genotype).module()
            self._known[key] = accuracy(module, TEST, self._count)
            write_atomic(self._path, json.dumps(self._known).encode())
        return self._known[key]


def answers(found: Fitted, where: str, target: str, judge: str, tests: Tests) -> Iterator[Answer]:
    """The answers to all wishes."""
    for wish, options in wishes(found, judge):
        try:
            best = found.best(target, **options)
        except ValueError:
            continue  # no policy is good enough
        spent, rivals = latencies(found, best, target)
        right = tests(found, best.genotype)
        by = [
            found.names[one]
            for one, other in rivals.items()
            if one != best.genotype
            and other <= spent
            and tests(found, one) >= right
            and (other < spent or tests(found, one) > right)
        ]
        yield Answer(where, wish, best.name, spent, right, tuple(by if best.name == MIXED else ()))


def latencies(
    found: Fitted, best: Policy, target: str
) -> tuple[float, dict[tuple[int, ...], float]]:
    """The latency of a policy and those of the uniform ones, as the fit compared them."""
    shown = found.frame(target).set_index("genotype")["latency_ms"]
    known = {one: float(shown[one]) for one in found.names if shown[one] != float("inf")}
    if best.measured_ms is None:
        return float(shown[best.genotype]), known
    timed = dict(zip(known, found.means.timed[target]([*known]), strict=True))
    return best.measured_ms, timed


def table(found: list[Answer]) -> list[str]:
    """The lines of the table, one per target and judge."""
    lines = [
        "| target | judged by | answers | of these mixed | dominated by a uniform policy |",
        "| --- | --- | --- | --- | --- |",
    ]
    groups: dict[tuple[str, str], list[Answer]] = {}
    for one in found:
        _, _, target, judge = one.where.split()
        groups.setdefault((target, judge), []).append(one)
    for (target, judge), held in groups.items():
        mixed = sum(one.policy == MIXED for one in held)
        lines.append(
            f"| {target} | {judge} | {len(held)} | {mixed} | {sum(bool(one.by) for one in held)} |"
        )
    return lines


def main() -> None:
    """Fit all networks, and print the table and every answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("results/own_model_uniform"))
    parser.add_argument("--depths", type=int, nargs="+", default=[20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--judges", nargs="+", default=JUDGES)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--labelled", type=int, default=2000)
    parser.add_argument("--tested", type=int, default=2000)
    parser.add_argument("--rewrites", nargs="+", default=DEFAULT)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    found: list[Answer] = []
    effort = Effort(given.budget, given.images, given.labelled, tuple(given.rewrites))
    for depth in given.depths:
        for seed in given.seeds:
            for judge in given.judges:
                tests = Tests(given.folder / f"tests-{depth}-{seed}.json", given.tested)
                for target in given.targets:
                    begun = time.monotonic()
                    made = fitted(depth, seed, target, judge, folder=given.folder, effort=effort)
                    where = f"resnet{depth} {seed} {target} {judge}"
                    took = time.monotonic() - begun
                    held = [*answers(made, where, target, judge, tests)]
                    found += held
                    for one in held:
                        print(json.dumps(asdict(one)), flush=True)
                    print(f"{where}: {took:.0f} s to fit", flush=True)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
