"""The reasons why each device got its subnet, found from the results alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas.facts.noise import WRONG
from nas.problem.choosing import FloatArray, Mask, cheapest, good_enough
from nas.report import text
from nas.report.data import Results, TargetResult
from nas.report.subnets import Chosen
from nas.report.words import Words
from search_spaces.space import Genotype


@dataclass(frozen=True, eq=False)
class Selection:
    """The choice of one device's subnet among those that were evaluated.

    A subnet is given by its position in `Results.evaluated`.

    Attributes:
        words: The words of errors and costs.
        target: The device.
        pick: The subnet chosen.
        row: Its position.
        genotypes: Every subnet, `n` of them.
        errors: Error of every subnet, `(n,)`.
        costs: Cost name -> the cost of every subnet on this device, `(n,)`.
        runs: Whether a subnet was evaluated wholly and runs on this device, `(n,)`.
    """

    words: Words
    target: TargetResult
    pick: Chosen
    row: int
    genotypes: Sequence[Genotype]
    errors: FloatArray
    costs: Mapping[str, FloatArray]
    runs: Mask

    @property
    def cost(self) -> FloatArray:
        """The cost that the choice minimises, the first objective, `(n,)`."""
        return self.costs[self.target.objectives[0]]

    @cached_property
    def within(self) -> Mask:
        """Whether a subnet keeps every limit, `(n,)`."""
        return self._keeping(self.target.limits)

    @cached_property
    def good(self) -> Mask:
        """Whether a subnet keeps every limit and is within the tolerance of the lowest error."""
        return good_enough(self.errors, self.within, tolerance=self.target.tolerance)

    @property
    def best(self) -> int | None:
        """The subnet that would be chosen without a tolerance."""
        return cheapest(self.errors, self.cost, self.within)

    @property
    def runner_up(self) -> int | None:
        """The subnet that would be chosen if the chosen one had not been evaluated."""
        others = self.within & (np.arange(len(self.errors)) != self.row)
        return self._chosen(others)

    @property
    def cheaper(self) -> int | None:
        """The subnet of the front that costs the most of those that cost less than the chosen."""
        front = {point.genotype for point in self.target.front}
        rows = [row for row, genotype in enumerate(self.genotypes) if genotype in front]
        less = [row for row in rows if self.cost[row] < self.cost[self.row]]
        return max(less, key=lambda row: float(self.cost[row]), default=None)

    @cached_property
    def deciding(self) -> tuple[str, ...]:
        """The limits without which, each taken away alone, another subnet would be chosen."""
        return tuple(name for name in self.target.limits if self.without([name]) != self.row)

    def without(self, limits: Collection[str]) -> int | None:
        """The subnet that would be chosen if there were not these `limits`."""
        return self._chosen(self._keeping([n for n in self.target.limits if n not in limits]))

    def exceeded(self, row: int) -> list[str]:
        """The limits that a subnet does not keep."""
        return [n for n, limit in self.target.limits.items() if self.costs[n][row] > limit]

    def _keeping(self, limits: Collection[str]) -> Mask:
        kept = [self.costs[name] <= self.target.limits[name] for name in limits]
        return np.logical_and.reduce([self.runs, *kept])

    def _chosen(self, allowed: Mask) -> int | None:
        return cheapest(self.errors, self.cost, allowed, tolerance=self.target.tolerance)


def selections(results: Results) -> dict[str, Selection]:
    """The choice of every device that has a subnet, by the device's name.

    Devices are left out whose costs or tolerance the results do not hold.
    """
    rows = {point.genotype: row for row, point in enumerate(results.evaluated)}
    errors = np.array([point.metrics["error"] for point in results.evaluated])
    whole = np.array([not point.stopped for point in results.evaluated], dtype=np.bool_)
    found: dict[str, Selection] = {}
    for target in results.targets:
        pick, lengths = target.chosen, {len(values) for values in target.costs.values()}
        if pick is None or pick.genotype not in rows or lengths != {len(errors)}:
            continue
        costs = {name: np.array(values) for name, values in target.costs.items()}
        finite = np.isfinite([costs[name] for name in target.objectives]).all(axis=0)
        row, runs = rows[pick.genotype], whole & finite
        made = Selection(results.words, target, pick, row, [*rows], errors, costs, runs)
        if made.without([]) == made.row:  # not so where an older version kept no tolerance
            found[target.name] = made
    return found


def reasons(made: Selection) -> Iterator[str]:
    """Full sentences: among how many, what decided, how far limits are used, and alternatives."""
    yield _field(made)
    if made.target.limits:
        yield _limits(made)
    yield _error(made)
    if made.target.limits:
        yield _room(made)
    if made.runner_up is not None:
        price = _price(made, made.runner_up)
        yield f"The runner-up is {_figures(made, made.runner_up)}: {price}."
    if made.cheaper is not None and made.cheaper != made.runner_up:
        price = _price(made, made.cheaper)
        yield f"The next cheaper one of the front is {_figures(made, made.cheaper)}: {price}."


def in_short(made: Selection) -> str:
    """The reason in a few words, for a line of the terminal."""
    target, good, named = made.target, int(made.good.sum()), made.words.named
    least = f"{made.words.best(target.objectives[0])} of {good}"
    what = f"lowest {made.words.error.name}"
    if good > 1 and target.tolerance:
        what = f"{least} within {_tolerance(made)} of the {what}"
    elif good > 1:
        what = f"{least} that share the {what}"
    if not target.limits:
        return what
    field = f"{what} among {made.within.sum()} of {made.runs.sum()} within its limits"
    decided = text.listed(map(named, made.deciding))
    return f"{field}; {decided} decided" if decided else field


def _field(made: Selection) -> str:
    runs = int(made.runs.sum())
    others = len(made.errors) - runs
    left_out = f" ({others:,} more were stopped early or do not run here)" if others else ""
    if not made.target.limits:
        return f"Chosen from {runs:,} evaluated subnets{left_out}, without limits."
    within = int(made.within.sum())
    keep = "keeps" if within == 1 else "keep"
    return f"Of {runs:,} evaluated subnets{left_out}, {within:,} {keep} the limits."


def _limits(made: Selection) -> str:
    deciding = text.listed(map(made.words.named, made.deciding))
    limits = made.deciding or tuple(made.target.limits)
    free = made.without(limits)
    if free is None or free == made.row:
        return "The limits changed nothing: without them the same subnet would be chosen."
    if len(made.deciding) == 1:
        subject, without = f"The limit on {deciding} decided", "that limit"
    elif made.deciding:
        subject, without = f"The limits on {deciding} decided, each alone", "those limits"
    else:
        subject, without = "The limits decided together", "limits"
    return f"{subject}; without {without} the choice would be {_figures(made, free)}."


def _error(made: Selection) -> str:
    words, good = made.words, int(made.good.sum())
    least = f"the {words.best(made.target.objectives[0])}"
    lowest = f"the lowest {words.error.name}"
    value = words.error.text(float(made.errors[made.within].min()))
    near = f"at most {_tolerance(made)} above {lowest}, {value}"
    if good == 1:
        far = f"; no other comes within {_tolerance(made)}" if made.target.tolerance else ""
        return f"It alone has {lowest}, {value}{far}."
    if not made.target.tolerance:
        return f"{good} subnets share {lowest}, {value}; of these it has {least}."
    if made.best is None or made.best == made.row:
        return f"{good} subnets are {near}; of these it has {least}, and {lowest} too."
    return (
        f"The tolerance decided: {good} subnets are {near}, and of these it has {least}; without "
        f"tolerance the choice would be {_figures(made, made.best)}."
    )


def _figures(made: Selection, row: int) -> str:
    """The error of a subnet, and those of its costs that decide."""
    words = made.words
    names = dict.fromkeys([*made.target.objectives, *made.deciding])
    costs = (f"{words.named(n)} {words.quantity(n, float(made.costs[n][row]))}" for n in names)
    error = words.error.text(float(made.errors[row]))
    return f"a subnet with {words.error.name} {error}, {', '.join(costs)}"


def _room(made: Selection) -> str:
    """How much of each limit the chosen subnet uses."""
    words, limits = made.words, made.target.limits
    used = (
        f"{words.named(n)} {words.quantity(n, float(made.costs[n][made.row]))} of "
        f"{words.quantity(n, limit)}"
        for n, limit in limits.items()
    )
    return f"It uses {text.listed(used)}."


def _price(made: Selection, row: int) -> str:
    """What another subnet costs and answers, compared with the chosen one."""
    return f"{_apart_in_cost(made, row)} and {_apart_in_error(made, row)}"


def _apart_in_cost(made: Selection, row: int) -> str:
    words, name = made.words, made.target.objectives[0]
    chosen, other = float(made.cost[made.row]), float(made.cost[row])
    if other == chosen:
        return f"the same {words.named(name)}"
    if name in words.metrics:  # a ratio of losses says nothing
        return f"{'worse' if other > chosen else 'better'} {words.named(name)}"
    side = "more" if other > chosen else "less"
    if not chosen:
        return f"{words.quantity(name, abs(other - chosen))} {side} {words.named(name)}"
    share = text.significant(100 * abs(other / chosen - 1), 2)
    return f"{share} % {side} {words.named(name)}"


def _apart_in_error(made: Selection, row: int) -> str:
    words = made.words.error
    apart = float(made.errors[row] - made.errors[made.row])
    if round(apart, words.digits) == 0:
        return f"the same {words.name}"
    told = f"{words.difference(round(abs(apart), words.digits))} {'more' if apart > 0 else 'less'}"
    measured = made.pick.error.measured
    interval = measured and measured.interval
    if interval is None or interval.wrong is None:
        return f"{told} {words.name}"
    count = round(abs(apart) / WRONG * interval.samples)
    return f"{told} {words.name} ({count} of {interval.samples:,} samples)"


def _tolerance(made: Selection) -> str:
    return made.words.error.difference(made.target.tolerance)
