"""Noisy evaluations: early stopping, and measuring the front on images that were held back.

    python -m benchmarks.noise [--seeds 5] [--run FOLDER]

The first part uses tables whose true losses are known, and random answers. An image is, to some
degree, hard or easy for all networks alike. Over infinitely many images, a network gets as many
wrong as its table says. Every search may show the same number of images. The second part measures
what early stopping saves at equal evaluations on the supernet of `runs/digits.toml`, which is
trained in FOLDER if it is not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.tables import TableProblem, load
from nas.evaluation.answers import STEPS, Answers, estimated_error, hopeless
from nas.evaluation.evaluation import Evaluation, RivalOf, StoppingEvaluator, flat, no_rival
from nas.evaluation.measurements import Measurements
from nas.facts.noise import WRONG
from nas.problem.front import hypervolume, measured_front
from nas.problem.goals import Problem
from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from nas.run.steps.searching import evaluator_of
from nas.run.steps.training import trained
from nas.search.early_stop import EarlyStopping, unsettled
from nas.search.named import searcher_named
from nas.terminal.display import Silent
from search_spaces.space import Genotype

FloatArray = NDArray[np.float64]
Wrong = NDArray[np.bool_]

TABLES = ("nb201_1080ti_1", "nbmacro")
WHOLE = 1000
ALIKE = 0.85  # tetrachoric correlation of answers: median .84 on digits' supernet, .91 on MNIST's
BATCH = 10
EVALUATIONS = 100


class Shown:
    """An evaluator that shows images whose answers are known.

    Args:
        answers: For a genotype, whether each image is answered wrong.
        whole: The number of images of an evaluation in the search.
        more: The number of images that are held back and shown afterwards.
    """

    def __init__(self, answers: Callable[[Genotype], Wrong], whole: int, more: int = 0) -> None:
        self._answers, self._whole, self._shown = answers, whole, whole + more
        self.images = 0

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in their order."""
        for genotype in genotypes:
            wrong = self._answers(genotype)[: self._shown]
            answers, rival = Answers.of(WRONG * wrong, self._whole), rival_of(genotype)
            if rival is not None:
                stops = (part for part in self._parts(wrong) if hopeless(part, rival))
                answers = next(stops, answers)
            self.images += answers.seen
            error = {"error": estimated_error(answers, rival)}
            yield [Evaluation(genotype, error, 0, 0.0, "", answers)]

    def _parts(self, wrong: Wrong) -> Iterator[Answers]:
        size = -(-self._whole // STEPS)
        ends = range(size, self._whole, size)
        return (Answers.of(WRONG * wrong[:end], self._whole) for end in ends)


def drawn(table: TableProblem, seed: int) -> Callable[[Genotype], Wrong]:
    """The random answers of a table's networks to `2 * WHOLE` images, as a function."""
    hardness = np.random.default_rng([seed, 0]).standard_normal(2 * WHOLE)

    def answers(genotype: Genotype) -> Wrong:
        own = np.random.default_rng([seed, 1, *genotype]).standard_normal(2 * WHOLE)
        trouble = np.sqrt(ALIKE) * hardness + np.sqrt(1 - ALIKE) * own
        return trouble > norm.isf(float(table.loss(np.array([genotype]))[0]) / 100)

    return answers


def searched(
    problem: Problem, name: str, seed: int, evaluate: StoppingEvaluator, *, stop: bool
) -> Iterator[Evaluation]:
    """The evaluations of a search, without an end."""
    searcher = searcher_named(name, problem, seed=seed)
    stopping = EarlyStopping(problem, searcher, evaluate)
    while asked := stopping.ask(BATCH):
        told = flat(stopping(asked) if stop else evaluate(asked))
        stopping.tell(told)
        yield from told


@dataclass(frozen=True)
class Way:
    """A way to spend images: on whole or stopped evaluations, and on the front again or not."""

    name: str
    stop: bool
    again: bool = False


WAYS = (
    Way("all images", stop=False),
    Way("early stop", stop=True),
    Way("early stop, then the front again", stop=True, again=True),
)


def run(table: TableProblem, name: str, seed: int, way: Way) -> tuple[float, ...]:
    """The result of one search: evaluations, images, attained share, optimism.

    Images are counted in whole evaluations. The attained share is that of the exact hypervolume
    which the true errors have if, for every limit on the cost, the subnet of the front with the
    least measured error is picked. Optimism is the true error of the front minus the measured one.
    """
    answers = drawn(table, seed)
    evaluate, again = Shown(answers, WHOLE), Shown(answers, WHOLE, WHOLE)
    found: dict[Genotype, Evaluation] = {}
    for evaluation in searched(table.problem, name, seed, evaluate, stop=way.stop):
        found[evaluation.genotype] = evaluation
        if len(found) % BATCH == 0 and evaluate.images >= EVALUATIONS * WHOLE:
            break
    evaluated = len(found)
    space = table.problem.space
    measured = Measurements.of([*found.values()], space)
    while way.again and (fresh := unsettled(table.problem, measured, 2 * WHOLE)):
        found |= {evaluation.genotype: evaluation for evaluation in flat(again(fresh))}
        measured = Measurements.of([*found.values()], space)
    front = Measurements.of(measured_front(table.problem.goals[0], measured), space)
    rows, believed, true = front.rows, front.losses, table.loss(front.rows)
    share = attained(true, table.cost(rows), table.reference) / table.exact
    images = (evaluate.images + again.images) / WHOLE
    return evaluated, images, share, float(np.mean(true - believed))


def attained(losses: FloatArray, costs: FloatArray, reference: FloatArray) -> float:
    """The hypervolume of a front with its true losses, for `reference`; costs ascend."""
    reach = np.minimum(np.append(costs, reference[1]), reference[1])
    return float(np.diff(reach) @ np.maximum(reference[0] - losses, 0.0))


def on_tables(seeds: int, names: Sequence[str]) -> None:
    """Print the results of all ways to spend images on tables."""
    print(f"Tables, {WHOLE} images an evaluation, as many held back, {seeds} seeds:\n")
    print("| table | searcher | way | evaluations | images / 1,000 | attained | optimism, points |")
    print("|---|---|---|---|---|---|---|")
    for table in map(load, TABLES):
        for name in names:
            for way in WAYS:
                each = np.array([run(table, name, seed, way) for seed in range(seeds)])
                (count, images, share, optimism), spread = each.mean(axis=0), each.std(axis=0)[2]
                print(
                    f"| {table.name} | {name} | {way.name} | {count:.0f} | {images:.0f} | "
                    f"{share:.3f} ± {spread:.3f} | {optimism:+.2f} |"
                )


def on_digits(seeds: int, names: Sequence[str], folder: Path) -> None:
    """Print what early stopping saves on a trained supernet, at equal evaluations."""
    keep = ['targets=[{name="edge-npu"},{name="bit-serial"}]', "compute.threads=1"]
    recipe = load_recipe(Path("runs/digits.toml"), keep)
    with RunFolder(folder).open(recipe, resume=True) as files:
        plan = prepare(recipe, files)
        with evaluator_of(plan, trained(plan, Silent())) as measured:

            @cache
            def answers(genotype: Genotype) -> Wrong:
                ((evaluation,),) = measured([genotype])
                assert evaluation.answers is not None
                return evaluation.answers.losses > 0

            print(f"\nSupernet of runs/digits.toml, {EVALUATIONS} evaluations, {seeds} seeds:\n")
            print("| searcher | images shown | stopped | hypervolume, of that with all images |")
            print("|---|---|---|---|")
            for name in names:
                each = [saved(plan.problem, name, seed, answers) for seed in range(seeds)]
                images, stopped, volume = np.mean(each, axis=0)
                spread = np.std(each, axis=0)[2]
                print(f"| {name} | {images:.0%} | {stopped:.0%} | {volume:.3f} ± {spread:.3f} |")


def saved(
    problem: Problem, name: str, seed: int, answers: Callable[[Genotype], Wrong]
) -> tuple[float, float, float]:
    """The shares of images and evaluations that were stopped, and the relative hypervolume.

    The hypervolume is relative to that of the search without early stopping.
    """
    whole = len(answers(problem.space.largest))
    found: list[list[Evaluation]] = []
    for stop in (False, True):
        evaluate = Shown(answers, whole)
        stream = searched(problem, name, seed, evaluate, stop=stop)
        found.append(list(islice(stream, EVALUATIONS)))
    stopped = float(np.mean([not one.complete for one in found[1]]))
    volumes = [volume(problem, each) for each in found]
    ratio = float(np.mean([mine / other for other, mine in zip(*volumes, strict=True)]))
    return evaluate.images / (whole * EVALUATIONS), stopped, ratio


def volume(problem: Problem, evaluations: Sequence[Evaluation]) -> list[float]:
    """The hypervolume for every goal, up to 10 % error and the cost of the largest network."""
    largest = np.array([problem.space.largest])
    result: list[float] = []
    for goal in problem.goals:
        measured = Measurements.of(evaluations, problem.space)
        front = Measurements.of(measured_front(goal, measured), problem.space)
        points = np.column_stack([front.losses, goal.values(front.rows)])
        result.append(hypervolume(points, np.array([10.0, *goal.values(largest)[0]])))
    return result


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--on-tables", nargs="+", default=["random", "nsga2", "guided"])
    parser.add_argument("--on-digits", nargs="+", default=["random", "nsga2", "guided"])
    parser.add_argument("--run", type=Path, default=Path("runs/search-benchmark"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    on_tables(options.seeds, options.on_tables)
    on_digits(options.seeds, options.on_digits, options.run)


if __name__ == "__main__":
    main()
