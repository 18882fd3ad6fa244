"""Early stopping on learning curves: predictions of the final loss, and epochs saved.

    python -m benchmarks.learning_curves [--trials 100]

The data are 341 complete curves of recurrent cells on WikiText-2 (NAS-Bench-NLP), with 50 epochs
each, as logarithms of the validation loss. The first table has the rank correlation of predictions
with the final loss at 10, 25 and 50 % of the epochs. For the second, 100 curves come one after the
other, and a rule decides after 5, 12 and 25 epochs whether a curve is stopped. The data are not
part of this project; `ELASTIC_NAS_TABLES` names their folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.tables import ROOT

FloatArray = NDArray[np.float64]
Ending = Callable[[FloatArray], FloatArray]

LOOKS = (5, 12, 25)
KNOWN = 20
FIRST = 10
PER_TRIAL = 100
EXPONENTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)


def load() -> FloatArray:
    """All complete curves, `(curves, epochs)`."""
    from pyarrow import parquet

    table = parquet.read_table(ROOT / "nasbench_nlp_curves/wikitext2_curves.parquet")
    losses = table.column("val_losses").to_pylist()
    longest = max(map(len, losses))
    return np.log(np.array([curve for curve in losses if len(curve) == longest]))


def last_value(parts: FloatArray) -> FloatArray:
    """The last loss of each curve so far, as a prediction of its end."""
    return parts[:, -1]


def power_law(parts: FloatArray, *, epochs: int = 50) -> FloatArray:
    """The end of the power law `c + a t**-b` that fits each curve best, with `a` not negative."""
    steps = np.arange(1.0, parts.shape[1] + 1)
    ends, errors = np.empty(len(parts)), np.full(len(parts), np.inf)
    for exponent in EXPONENTS:
        terms = np.column_stack([np.ones_like(steps), steps**-exponent])
        (level, height), *_ = np.linalg.lstsq(terms, parts.T, rcond=None)
        error = ((parts.T - terms @ np.stack([level, height])) ** 2).sum(axis=0)
        better = error < errors
        errors[better] = error[better]
        ends[better] = (level + np.maximum(height, 0.0) * epochs**-exponent)[better]
    return ends


def regression(parts: FloatArray, known: FloatArray, finals: FloatArray) -> FloatArray:
    """The end predicted by ridge regression on the last loss and its fall since half the epochs."""

    def features(curves: FloatArray) -> FloatArray:
        half = curves[:, max(0, curves.shape[1] // 2 - 1)]
        return np.column_stack([np.ones(len(curves)), curves[:, -1], half - curves[:, -1]])

    terms = features(known)
    penalty = len(known) * np.diag([1e-9, 1e-3, 1e-3])
    return features(parts) @ np.linalg.solve(terms.T @ terms + penalty, terms.T @ finals)


def chance(guess: float, known: FloatArray, finals: FloatArray, best: float) -> float:
    """The estimated probability that a curve ends below `best`, if its predicted end is `guess`.

    For complete curves, the difference between their predicted end at the same epoch and their
    real end is known. The estimate is the share of curves whose difference would be enough; the
    curve in question counts as one of these. If curves come in random order, the estimate is valid
    whatever they look like (conformal prediction, Vovk et al. 2005).
    """
    fell = known - finals
    return (1 + int((fell >= guess - best).sum())) / (len(finals) + 1)


def stopped_search(
    curves: FloatArray, order: Sequence[int], ending: Ending, *, least: float
) -> tuple[float, bool]:
    """The share of epochs used, and whether the best curve of all was lost."""
    guesses = {epoch: ending(curves[:, :epoch]) for epoch in LOOKS}
    finals, whole, used = curves[:, -1], list[int](), 0
    for index in order:
        best = finals[whole].min() if len(whole) >= FIRST else np.inf
        hopeless = (
            epoch
            for epoch, guess in guesses.items()
            if chance(guess[index], guess[whole], finals[whole], best) <= least
        )
        end = next(hopeless, curves.shape[1])
        used += end
        if end == curves.shape[1]:
            whole.append(index)
    return used / (curves.shape[1] * len(order)), bool(finals[whole].min() > finals[order].min())


def halving_search(curves: FloatArray, order: Sequence[int], *, kept: float) -> tuple[float, bool]:
    """Asynchronous successive halving: at each check, the best share `kept` so far continues.

    Returns the share of epochs used, and whether the best curve of all was lost.
    """
    reached: dict[int, list[float]] = {epoch: [] for epoch in LOOKS}
    whole, used = list[int](), 0
    for index in order:
        end = curves.shape[1]
        for epoch in LOOKS:
            reached[epoch].append(curves[index, epoch - 1])
            if curves[index, epoch - 1] > np.quantile(reached[epoch], kept):
                end = epoch
                break
        used += end
        if end == curves.shape[1]:
            whole.append(index)
    finals = curves[:, -1]
    return used / (curves.shape[1] * len(order)), bool(finals[whole].min() > finals[order].min())


def ranks(curves: FloatArray, trials: int) -> None:
    """Print rank correlations with the final loss."""
    rng = np.random.default_rng(0)
    print(f"| Spearman with the final loss | {' | '.join(f'{e} epochs' for e in LOOKS)} |")
    print("|---|" + "---|" * len(LOOKS))
    for name, ending in (("last value", last_value), ("power law", power_law)):
        cells = (spearmanr(ending(curves[:, :e]), curves[:, -1])[0] for e in LOOKS)
        print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    found = np.zeros((trials, len(LOOKS)))
    for trial in range(trials):
        mixed = curves[rng.permutation(len(curves))]
        known, rest = mixed[:KNOWN], mixed[KNOWN:]
        for look, epoch in enumerate(LOOKS):
            guess = regression(rest[:, :epoch], known[:, :epoch], known[:, -1])
            found[trial, look] = spearmanr(guess, rest[:, -1])[0]
    cells = (f"{cell:.3f}" for cell in found.mean(axis=0))
    print(f"| regression on {KNOWN} whole curves | {' | '.join(cells)} |\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    trials = parser.parse_args().trials
    curves, rng = load(), np.random.default_rng(1)
    ranks(curves, trials)
    orders = [rng.permutation(len(curves))[:PER_TRIAL] for _ in range(trials)]
    print("| rule | epochs used | best curve lost |")
    print("|---|---|---|")
    for name, ending in (("last value", last_value), ("power law", power_law)):
        for least in (0.2, 0.1, 0.05):
            each = [stopped_search(curves, order, ending, least=least) for order in orders]
            used, lost = np.mean(each, axis=0)
            print(f"| chance by {name} at most {least:.0%} | {used:.1%} | {lost:.0%} of trials |")
    for kept in (0.2, 1 / 3, 0.5):
        used, lost = np.mean([halving_search(curves, o, kept=kept) for o in orders], axis=0)
        print(f"| successive halving, best {kept:.0%} go on | {used:.1%} | {lost:.0%} of trials |")


if __name__ == "__main__":
    main()
