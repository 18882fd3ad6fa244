"""Learning curves: forecasts of their ends, epochs saved by them, and their time beside MCMC.

    python -m benchmarks.learning_curves [--trials 100] [--sampled 6] [--own FOLDER]

The data are 341 complete curves of recurrent cells on WikiText-2 (NAS-Bench-NLP), with 50 epochs
each, as logarithms of the validation loss. The prior was chosen by every other curve; the tables
are about the other half. The first table has the rank correlation of forecasts with the final loss
after 5, 12 and 25 epochs, the mean and median log density of the real end, and the share of ends
that the central 90 % hold. For the second, 100 curves come one after the other, and a rule decides
after every epoch from the third on whether a curve is stopped: where a forecast gives it hardly a
chance to beat the best whole curve so far, or by successive halving. The third compares the
prior-fitted forecast with samples of the posterior of the same prior by MCMC (package `emcee`).
The data are not part of this project; `ELASTIC_NAS_TABLES` names their folder. With `--own`, the
first two tables are about the curves that `benchmarks.own_curves` left in FOLDER.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.stats import norm, spearmanr

from benchmarks import own_curves
from benchmarks.tables import ROOT
from nas.parts import Parts
from predictors.curves.forecast import CurveModel, Forecast
from predictors.curves.shapes import FAMILIES, NOISE, WANDERING

FloatArray = NDArray[np.float64]

EPOCHS = 50
LOOKS = (5, 12, 25)
CHECKS = (5, 12, 25)
FIRST = 3
PER_TRIAL = 100
CHANCES = (0.1, 0.05, 0.02)
WALKERS, STEPS = 64, 2000


def load() -> FloatArray:
    """All complete curves, `(curves, epochs)`."""
    from pyarrow import parquet

    table = parquet.read_table(ROOT / "nasbench_nlp_curves/wikitext2_curves.parquet")
    losses = table.column("val_losses").to_pylist()
    longest = max(map(len, losses))
    return np.log(np.array([curve for curve in losses if len(curve) == longest]))


def forecasts(curves: FloatArray, models: Mapping[str, CurveModel]) -> None:
    """Print how well forecasts rank curves, and how likely the real ends are in them."""
    print("| forecast | epochs known | Spearman | log density, mean | median | within 90 % |")
    print("|---|---|---|---|---|---|")
    ends = curves[:, -1]
    for name, model in models.items():
        for known in LOOKS:
            found = model(curves[:, :known], EPOCHS)
            density = found.log_density(ends)
            below = chances_below(found, ends)
            rank = spearmanr(found.mean, ends)[0]
            within = ((below > 0.05) & (below < 0.95)).mean()
            print(
                f"| {name} | {known} | {rank:.3f} | {density.mean():.2f} | "
                f"{np.median(density):.2f} | {within:.0%} |"
            )


def chances_below(found: Forecast, values: FloatArray) -> FloatArray:
    """The probability that each forecast gives to an end below that of `values`, `(n,)`."""
    standard = (values[:, None] - found.means) / found.deviations
    return (found.weights * norm.cdf(standard)).sum(axis=1)


def stopped_search(
    curves: FloatArray, order: Sequence[int], seen: Sequence[Forecast], *, least: float
) -> tuple[float, bool]:
    """The share of epochs used, and whether the best curve of all was lost.

    Args:
        curves: All curves.
        order: The curves of this search, one after the other.
        seen: The forecasts of all curves after each epoch from `FIRST` on.
        least: The least chance to become the best with which a curve goes on.
    """
    best, used = np.inf, 0
    for index in order:
        end = EPOCHS
        for epoch, found in enumerate(seen, FIRST) if np.isfinite(best) else ():
            standard = (best - found.means[index]) / found.deviations[index]
            if found.weights[index] @ norm.cdf(standard) < least:
                end = epoch
                break
        used += end
        if end == EPOCHS:
            best = min(best, curves[index, -1])
    return used / (EPOCHS * len(order)), bool(best > curves[order, -1].min())


def halving_search(curves: FloatArray, order: Sequence[int], *, kept: float) -> tuple[float, bool]:
    """Asynchronous successive halving: at each check, the best share `kept` so far continues.

    Returns the share of epochs used, and whether the best curve of all was lost.
    """
    reached: dict[int, list[float]] = {epoch: [] for epoch in CHECKS}
    whole, used = list[int](), 0
    for index in order:
        end = curves.shape[1]
        for epoch in CHECKS:
            reached[epoch].append(curves[index, epoch - 1])
            if curves[index, epoch - 1] > np.quantile(reached[epoch], kept):
                end = epoch
                break
        used += end
        if end == curves.shape[1]:
            whole.append(index)
    finals = curves[:, -1]
    return used / (curves.shape[1] * len(order)), bool(finals[whole].min() > finals[order].min())


def log_posterior(point: FloatArray, curve: FloatArray) -> FloatArray:
    """The log posterior of parameters `(n, 13)` of the prior, given the first values of a curve.

    The parameters are the level and the logarithm of the height; a logarithm of each parameter of
    the families; the logarithm of a gamma variable for the share of each; and those of the noises.
    """
    time_ = np.arange(1.0, EPOCHS + 1)
    level, height, shares, own, noises = np.split(point, [1, 2, 5, 11], axis=1)
    mixed = np.exp(shares - shares.max(axis=1, keepdims=True))
    mixed /= mixed.sum(axis=1, keepdims=True)
    families = FAMILIES.values()
    shapes = np.stack(
        [one.shape(time_, np.exp(own[:, 2 * i : 2 * i + 2])) for i, one in enumerate(families)]
    )
    clean = np.exp(height) * np.einsum("nf,fnt->nt", mixed, shapes)
    center = np.array([one.center for one in families]).ravel()
    spread = np.array([one.spread for one in families]).ravel()
    prior = norm.logpdf(own, center, spread).sum(axis=1) + (shares - np.exp(shares)).sum(axis=1)
    about = np.array([NOISE, WANDERING])
    prior += norm.logpdf(noises, about[:, 0], about[:, 1]).sum(axis=1)
    fall = clean[:, 0] - clean[:, -1]
    known = len(curve)
    walk = np.minimum(time_[:known, None], time_[:known]) / EPOCHS
    left = curve - level - clean[:, :known]
    found = np.full(len(point), -np.inf)
    for place, (scale, (white, wander)) in enumerate(zip(fall, np.exp(noises), strict=True)):
        if not scale > 0:
            continue
        covariance = scale**2 * (white**2 * np.eye(known) + wander**2 * walk)
        factor = cholesky(covariance + 1e-14 * np.eye(known), lower=True)
        quadratic = left[place] @ cho_solve((factor, True), left[place])
        found[place] = prior[place] - 0.5 * quadratic - np.log(np.diag(factor)).sum()
    return np.where(np.isfinite(found), found, -np.inf)


def sampled(curve: FloatArray, known: int, rng: np.random.Generator) -> tuple[FloatArray, float]:
    """Ends of a curve drawn from the posterior by MCMC, and the CPU seconds that this took."""
    import emcee

    begun = time.process_time()
    center = np.concatenate([np.array(one.center) for one in FAMILIES.values()])
    fall = max(curve[0] - curve[known - 1], 1e-3)
    middle = [curve[known - 1] - 0.3 * fall, np.log(1.3 * fall), *np.zeros(3), *center]
    start = np.array([*middle, NOISE[0], WANDERING[0]]) + 0.1 * rng.standard_normal((WALKERS, 13))
    start[:, 0] = middle[0] + 0.1 * fall * rng.standard_normal(WALKERS)
    sampler = emcee.EnsembleSampler(
        WALKERS, 13, log_posterior, args=(curve[:known],), vectorize=True
    )
    sampler.run_mcmc(start, STEPS)
    kept = np.asarray(sampler.get_chain(discard=STEPS // 2, thin=20, flat=True))
    return ends_of(kept, curve[:known], rng), time.process_time() - begun


def ends_of(points: FloatArray, curve: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An end for each point of the posterior: the shape, the walk given its past, and noise."""
    time_, known = np.arange(1.0, EPOCHS + 1), len(curve)
    walk = np.minimum(time_[:, None], time_) / EPOCHS
    found = []
    for level, height, *rest in points:
        shares = np.exp(rest[:3]) / np.exp(rest[:3]).sum()
        shapes = [
            one.shape(time_, np.exp(np.array([rest[3 + 2 * i : 5 + 2 * i]])))[0]
            for i, one in enumerate(FAMILIES.values())
        ]
        clean = np.exp(height) * shares @ np.stack(shapes)
        white, wander = np.exp(rest[9:]) * (clean[0] - clean[-1])
        covariance = wander**2 * walk + white**2 * np.eye(EPOCHS) + 1e-14 * np.eye(EPOCHS)
        gain = np.linalg.solve(covariance[:known, :known], covariance[:known, -1])
        mean = level + clean[-1] + gain @ (curve - level - clean[:known])
        variance = covariance[-1, -1] - gain @ covariance[:known, -1]
        found.append(mean + np.sqrt(max(variance, 0.0)) * rng.standard_normal())
    return np.array(found)


def beside_mcmc(curves: FloatArray, count: int, model: CurveModel) -> None:
    """Print the time of a forecast and of MCMC, and how far their means lie apart."""
    rng, known = np.random.default_rng(2), 12
    taken = rng.permutation(len(curves))[:count]
    model(curves[:1, :known], EPOCHS)  # the weights are read once
    begun, repeated = time.process_time(), 20
    for _ in range(repeated):
        found = model(curves[taken[:1], :known], EPOCHS)
    alone = (time.process_time() - begun) / repeated
    begun = time.process_time()
    model(curves[:, :known], EPOCHS)
    together = (time.process_time() - begun) / len(curves)
    found = model(curves[taken, :known], EPOCHS)
    drawn = [sampled(curves[index], known, rng) for index in taken]
    seconds = float(np.median([one[1] for one in drawn]))
    densities = []
    for (ends, _), end in zip(drawn, curves[taken, -1], strict=True):
        width = 1.06 * ends.std() * len(ends) ** -0.2  # Silverman 1986, equation 3.28
        densities.append(np.log(norm.pdf(end, ends, width).mean() + 1e-300))
    own = found.log_density(curves[taken, -1])
    print("| forecast after 12 epochs | CPU seconds a curve | log density, median |")
    print("|---|---|---|")
    print(
        f"| MCMC, {WALKERS} walkers, {STEPS} steps | {seconds:.1f} | {np.median(densities):.2f} |"
    )
    print(f"| prior-fitted, alone | {alone:.5f} | {np.median(own):.2f} |")
    print(f"| prior-fitted, {len(curves)} together | {together:.6f} | |")
    print(f"\nMCMC takes {seconds / alone:,.0f} and {seconds / together:,.0f} times as long.")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--sampled", type=int, default=6)
    parser.add_argument("--own", type=Path)
    options = parser.parse_args()
    curves = own_curves.load(options.own) if options.own else load()[1::2]
    rng = np.random.default_rng(1)
    models: Mapping[str, Callable] = Parts("curve")
    forecasts(curves, models)
    orders = [rng.permutation(len(curves))[:PER_TRIAL].tolist() for _ in range(options.trials)]
    print("\n| rule | epochs used | best curve lost |")
    print("|---|---|---|")
    for name, model in models.items():
        seen = [model(curves[:, :epoch], EPOCHS) for epoch in range(FIRST, EPOCHS)]
        for least in CHANCES:
            each = [stopped_search(curves, order, seen, least=least) for order in orders]
            used, lost = np.mean(each, axis=0)
            print(f"| {name}, chance at least {least:.0%} | {used:.1%} | {lost:.0%} of trials |")
    for kept in (0.2, 1 / 3, 0.5):
        used, lost = np.mean([halving_search(curves, o, kept=kept) for o in orders], axis=0)
        print(f"| successive halving, best {kept:.0%} go on | {used:.1%} | {lost:.0%} of trials |")
    if not options.own:
        print()
        beside_mcmc(curves, options.sampled, models["prior-fitted"])


if __name__ == "__main__":
    main()
