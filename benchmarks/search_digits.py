"""A comparison of searchers on a trained digits supernet, at equal numbers of evaluations.

    python -m benchmarks.search_digits [--seeds 5] [--budget 96] [--run FOLDER]

The supernet of `runs/digits.toml` is trained if FOLDER holds none. All searchers have the same
networks on the same machine, so an accuracy is measured once and then looked up. The score is the
hypervolume of validation error against latency on the analytical targets, as a share of that of
all networks that any searcher evaluated. The script prints a table and draws
docs/figures/search_digits.svg.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from nas.evaluation.evaluation import Evaluation, Evaluator, flat
from nas.evaluation.measurements import Measurements
from nas.problem.front import hypervolume
from nas.problem.goals import Goal, Problem
from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.run.plan import Plan, prepare
from nas.run.probing import Probe, probed
from nas.run.steps.offering import exchange_of, predictor_of
from nas.run.steps.searching import evaluator_of
from nas.run.steps.training import trained
from nas.search.differentiable import Differentiable, Exchange
from nas.search.evolution import Evolution
from nas.search.guided import Guided, Settings
from nas.search.random import RandomSearch
from nas.search.searcher import Searcher
from nas.terminal.display import Silent
from search_spaces.space import Genotype

BATCH = 8
MARKS = (24, 48, 96)
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "search_digits.svg"
Make = Callable[[int], Searcher]


class Remembering:
    """An evaluator that measures every genotype once and remembers the result."""

    def __init__(self, evaluate: Evaluator) -> None:
        self._evaluate = evaluate
        self.known: dict[Genotype, Evaluation] = {}

    def __call__(self, genotypes: Sequence[Genotype]) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in their order."""
        for genotype in genotypes:
            if genotype not in self.known:
                ((self.known[genotype],),) = self._evaluate([genotype])
            yield [self.known[genotype]]


def searchers(plan: Plan, problem: Problem, probe: Probe, exchange: Exchange) -> dict[str, Make]:
    """The searchers by name, as functions of a seed."""

    def guided(initial: Sequence[Genotype]) -> Make:
        predictor = predictor_of(plan, probe)
        return lambda seed: Guided(problem, seed=seed, predictor=predictor, initial=initial)

    count = Settings().initial
    return {
        "random": lambda seed: RandomSearch(plan.space, seed=seed),
        "nsga2, population 16": lambda seed: Evolution(problem, seed=seed, population=16),
        "guided": lambda seed: Guided(problem, seed=seed),
        "guided, proxies": guided(probe.ranked(plan, count)),
        "guided, proxies, allocation": guided(probe.first(plan, count)),
        "differentiable": lambda seed: Differentiable(problem, seed=seed, exchange=exchange),
    }


def sequence(searcher: Searcher, evaluate: Evaluator, budget: int) -> list[Evaluation]:
    """The evaluations of a searcher, in order."""
    done: list[Evaluation] = []
    while len(done) < budget and (asked := searcher.ask(BATCH)):
        told = flat(evaluate(asked))
        searcher.tell(told)
        done += told
    return done[:budget]


def points(goal: Goal, measured: Measurements) -> NDArray[np.float64]:
    """The error and the cost of every evaluation, `(n, 2)`."""
    return np.column_stack([measured.losses, goal.values(measured.rows)])


def shares(
    problem: Problem, found: Sequence[Evaluation], everything: Sequence[Evaluation]
) -> NDArray[np.float64]:
    """The mean over goals of the hypervolume share after 1, 2, ... evaluations, `(n,)`."""
    result = np.zeros(len(found))
    for goal in problem.goals:
        whole, mine = (
            points(goal, Measurements.of(each, problem.space)) for each in (everything, found)
        )
        reference = np.array(
            [np.quantile(whole[:, 0], 0.75), *np.quantile(whole[:, 1:], 0.9, axis=0)]
        )
        best = hypervolume(whole, reference)
        growth = [hypervolume(mine[: n + 1], reference) / best for n in range(len(mine))]
        result += np.array(growth) / len(problem.goals)
    return result


def draw(curves: dict[str, NDArray[np.float64]]) -> None:
    """Draw the mean curves with the standard deviation over seeds."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, each in curves.items():
        mean, spread = each.mean(axis=0), each.std(axis=0)
        steps = np.arange(1, each.shape[1] + 1)
        axes.plot(steps, mean, label=name)
        axes.fill_between(steps, mean - spread, mean + spread, alpha=0.15)
    axes.set(
        xlabel="true evaluations", ylabel="share of the best known hypervolume", ylim=(0, 1.02)
    )
    axes.legend()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "search_digits"
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    """Run all searchers, print the table, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=96)
    parser.add_argument("--run", type=Path, default=Path("runs/search-benchmark"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Analytical targets only, so that the costs are the same on every machine.
    keep = ['targets=[{name="edge-npu"},{name="bit-serial"}]', "compute.threads=1"]
    recipe = load_recipe(Path("runs/digits.toml"), keep)
    with RunFolder(options.run).open(recipe, resume=True) as files:
        plan = prepare(recipe, files)
        supernet = trained(plan, Silent())
        probe, problem = probed(plan, supernet), plan.problem
        made = searchers(plan, problem, probe, exchange_of(plan, supernet))
        with evaluator_of(plan, supernet) as measured:
            evaluate = Remembering(measured)
            runs = {
                name: [
                    sequence(make(seed), evaluate, options.budget) for seed in range(options.seeds)
                ]
                for name, make in made.items()
            }
    everything = list(evaluate.known.values())
    curves = {
        name: np.array([shares(problem, found, everything) for found in found_by])
        for name, found_by in runs.items()
    }
    marks = [mark for mark in MARKS if mark <= options.budget]
    print(f"{options.seeds} seeds, {len(everything)} distinct networks evaluated in all\n")
    print("| searcher |" + "".join(f" after {mark} |" for mark in marks))
    print("| --- |" + " --- |" * len(marks))
    for name, each in curves.items():
        cells = (f" {each[:, m - 1].mean():.3f} ± {each[:, m - 1].std():.3f} |" for m in marks)
        print(f"| {name} |" + "".join(cells))
    draw(curves)


if __name__ == "__main__":
    main()
