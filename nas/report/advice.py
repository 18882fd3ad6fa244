"""What a reader should do or doubt after a run, as sentences: all are found from the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from nas.facts.noise import CHANCE, FEW_SAMPLES, Interval
from nas.report.data import Results, TargetResult
from nas.report.subnets import FrontPoint, Largest
from nas.report.words import Words

_LOST = 0.02  # of a constant answer's error: the loss by rounding to 8 bits that is told
_POOR_SHARE, _POOR = 0.4, 0.8  # of a constant answer's error: a network that learned little
_CHECKS = 3  # measured latencies from which a common direction is told


def advice(results: Results) -> Iterator[str]:
    """Sentences on the run as a whole: rounding, the largest network, and the validation split."""
    if results.largest is not None:
        yield from _rounding(results, results.largest)
        yield from _poor(results.words, results.largest)
        yield from _few(results.words, results.largest.interval)


def doubts(words: Words, target: TargetResult) -> Iterator[str]:
    """Sentences on the figures of one device that do not mean what they seem to mean."""
    steps = [point for point in target.front if point.p_value is not None]
    doubtful = sum(point.p_value >= CHANCE for point in steps if point.p_value is not None)
    if doubtful:
        samples = next((p.interval.samples for p in steps if p.interval is not None), 0)
        count = f"{doubtful} of its {len(steps)} steps lie" if len(steps) > 1 else "its step lies"
        yield (
            f"The order on this front is uncertain: {count} within the noise of {samples:,} "
            f"validation samples ({_smallest(words, target.front)}). Of two such neighbours, the "
            "cheaper one may be as good."
        )
    yield from _one_sided(target)


def _smallest(words: Words, front: Sequence[FrontPoint]) -> str:
    """The smallest difference of two neighbours on a front, in samples where these count."""
    ranked = sorted(front, key=lambda point: point.error)
    pairs = [*pairwise(ranked)]
    wrong = [
        abs(worse.interval.wrong - better.interval.wrong)
        for better, worse in pairs
        if better.interval and worse.interval
        if better.interval.wrong is not None and worse.interval.wrong is not None
    ]
    if len(wrong) == len(pairs):
        least = min(wrong)
        return f"the smallest is {least} sample{'s' * (least != 1)}"
    apart = min(worse.error - better.error for better, worse in pairs)
    return f"the smallest is {words.error.text(apart)}"


def _one_sided(target: TargetResult) -> Iterator[str]:
    """A sentence where measured latencies are all above or all below their prediction."""
    ratios = [check.measured.mean / check.predicted for check in target.cost_checks]
    band = target.latency_band
    if band is None or len(ratios) < _CHECKS:
        return
    off = median(ratios) - 1
    if abs(off) > band.median and (min(ratios) > 1 or max(ratios) < 1):
        yield (
            f"All {len(ratios)} networks that were run as a whole were "
            f"{'slower' if off > 0 else 'faster'} than predicted, half of them by more than "
            f"{abs(off):.1%}: the machine may have been {'busier' if off > 0 else 'less busy'} "
            "than when its kernels were timed. `nas profile` on an idle machine tells."
        )


def _rounding(results: Results, largest: Largest) -> Iterator[str]:
    """A sentence where 8 bits everywhere are far from full precision."""
    words, full, eight = results.words, largest.full_precision, largest.uniform
    if eight is None or largest.p_value is None or largest.p_value >= CHANCE:
        return
    scale = full if largest.constant is None else largest.constant
    if eight - full > _LOST * scale:
        settings = results.recipe.get("training")
        epochs = settings.get("quantized_epochs") if isinstance(settings, dict) else None
        now = "" if epochs is None else f" (now {epochs})"
        yield (
            f"Rounding costs much: the largest network has {words.error.text(full)} "
            f"{words.named('error')} in full precision and {words.error.text(eight)} with 8 bits "
            "everywhere, where a network that learned to be rounded loses next to nothing. Raise "
            f"training.quantized_epochs{now}."
        )


def _poor(words: Words, largest: Largest) -> Iterator[str]:
    """A sentence where even the largest network in full precision learned little."""
    if not largest.constant:
        return
    shares = largest.interval is not None and largest.interval.wrong is not None
    if largest.full_precision > (_POOR_SHARE if shares else _POOR) * largest.constant:
        yield (
            f"The largest network itself is weak: {words.error.text(largest.full_precision)} "
            f"{words.named('error')} in full precision, where one and the same answer to all "
            f"samples has {words.error.text(largest.constant)}. Every subnet shares its weights, "
            "so no search finds a good one: look at the data and their labels, raise "
            "training.float_epochs, or give [space] larger widths."
        )


def _few(words: Words, interval: Interval | None) -> Iterator[str]:
    """A sentence where few validation samples decide."""
    if interval is None or interval.samples >= FEW_SAMPLES:
        return
    span = words.error.span(interval.low, interval.high)
    yield (
        f"The validation split is small: with {interval.samples} samples, the "
        f"{words.error.name} of the largest network may be anything from {span} "
        f"{words.error.unit}".rstrip()
        + ". Small differences between networks are chance there; raise "
        "task.validation_fraction, or give more samples."
    )
