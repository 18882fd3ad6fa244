"""A search joined to training, measured beside a search of an equally long supernet.

    python -m benchmarks.joined_search [--seeds 0 1 2] [--budget 24] [--run FOLDER]

For every seed, two supernets of the space of `runs/digits.toml` are trained for 6 epochs in full
precision and 12 quantized ones, with three random subnets per step: one by the sampler
`single-path`, which favours a subnet at the end, and one by `sandwich`, of which `guided` then
evaluates as many subnets as the budget says. The cost is the latency on the target `bit-serial`.

The table shows the favoured subnet's latency and test error, with the weights of either supernet,
and the subnet of `guided`: of those that cost no more, the one with the least validation error. A
joined search gives a single subnet, `guided` a front. Results are kept in FOLDER; start a killed
run again with the same command.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.search_digits import sequence
from nas.evaluation.evaluation import flat
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.files.durable import write_atomic
from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.run.measuring import BATCH, deployment_of
from nas.run.plan import Plan, prepare
from nas.run.steps.searching import evaluator_of
from nas.run.steps.training import trained, training_summary
from nas.search.guided import Guided
from nas.terminal.display import Silent
from search_spaces.space import Genotype
from supernets.supernet import Supernet

RECIPE = (
    'targets=[{name="bit-serial"}]',
    "compute.threads=1",
    "training.float_epochs=6",
    "training.quantized_epochs=12",
    "training.random_subnets=3",
)


def errors_on_test(plan: Plan, supernet: Supernet, genotypes: list[Genotype]) -> list[float]:
    """The test error of deployed subnets, in percent; of no use for any decision."""
    batches = list(plan.task.test_batches(BATCH))
    how = {"criterion": plan.task.criterion, "seed": plan.recipe.seed}
    evaluate = SupernetEvaluator(deployment_of(plan, supernet), batches, **how)
    return [evaluation.error for evaluation in flat(evaluate(genotypes))]


def latency(plan: Plan, genotypes: list[Genotype]) -> list[float]:
    """The latency of subnets on the target, in milliseconds."""
    return plan.problem.goals[0].values(np.array(genotypes))[:, 0].tolist()


@dataclass(frozen=True)
class Favoured:
    """A subnet that a training favours, its test error in percent and its latency in ms."""

    favoured: Genotype
    error: float
    latency: float


def joined(folder: Path, seed: int) -> Favoured:
    """The subnet that the training of a seed favours."""
    recipe = load_recipe(
        Path("runs/digits.toml"), [*RECIPE, f"seed={seed}", "training.sampler=single-path"]
    )
    with RunFolder(folder).open(recipe, resume=folder.exists()) as files:
        plan = prepare(recipe, files)
        supernet, summary = trained(plan, Silent()), training_summary(plan)
        assert summary is not None
        assert summary.favoured is not None
        favoured = [summary.favoured]
        error, cost = errors_on_test(plan, supernet, favoured)[0], latency(plan, favoured)[0]
    return Favoured(favoured[0], error, cost)


def searched(
    folder: Path, seed: int, budget: int, *, favoured: Genotype, most: float
) -> dict[str, object]:
    """What `guided` finds in a supernet by the sandwich rule, at a latency of at most `most`."""
    recipe = load_recipe(Path("runs/digits.toml"), [*RECIPE, f"seed={seed}"])
    with RunFolder(folder).open(recipe, resume=folder.exists()) as files:
        plan = prepare(recipe, files)
        supernet = trained(plan, Silent())
        with evaluator_of(plan, supernet) as evaluate:
            found = sequence(Guided(plan.problem, seed=seed), evaluate, budget)
        costs = latency(plan, [one.genotype for one in found])
        able = [one for one, cost in zip(found, costs, strict=True) if cost <= most]
        same = errors_on_test(plan, supernet, [favoured])[0]
        if not able:
            return {"same": same, "able": 0}
        best = [min(able, key=lambda one: one.error).genotype]
        error, cost = errors_on_test(plan, supernet, best)[0], latency(plan, best)[0]
    return {"same": same, "able": len(able), "error": error, "latency": cost}


def rows(folder: Path, seeds: list[int], budget: int) -> Iterator[str]:
    """The lines of the table."""
    for seed in seeds:
        path = folder / f"{seed}-{budget}.json"
        if not path.exists():
            mine = joined(folder / f"{seed}-joined", seed)
            where, favoured = folder / f"{seed}-sandwich", mine.favoured
            other = searched(where, seed, budget, favoured=favoured, most=mine.latency)
            write_atomic(path, json.dumps({"joined": asdict(mine), "guided": other}).encode())
        found = json.loads(path.read_text())
        mine, other = found["joined"], found["guided"]
        by_guided = "none so cheap | "
        if other["able"]:
            by_guided = f"{other['error']:.1f} at {1000 * other['latency']:.0f} µs | "
        yield (
            f"| {seed} | {1000 * mine['latency']:.0f} µs | {mine['error']:.1f} | "
            f"{other['same']:.1f} | {by_guided}{other['able']} of {budget} |"
        )


def main() -> None:
    """Do what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--run", type=Path, default=Path("runs/joined-search"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    print(
        "| seed | latency of the favoured | its test error, % | with the sandwich's weights | "
        "`guided` at no more latency | evaluations so cheap |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows(options.run, options.seeds, options.budget):
        print(row, flush=True)


if __name__ == "__main__":
    main()
