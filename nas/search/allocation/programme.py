"""The integer programme: the least summed loss within several limits, with ties and joint effects.

The solver is HiGHS (Huangfu and Hall 2018), by `scipy.optimize.milp`. A joint effect of several
choices, such as the BitOPs of a weight and an activation or the interaction of two layers, has one
further variable per combination, whose sums are tied to the picks of each choice. The programme is
therefore exact and linear, also where CLADO (Deng et al. 2023) solves a quadratic one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp
from scipy.sparse import csr_array

from nas.problem.goals import ArrayCost
from nas.search.allocation.options import is_sum, lookups, require_choices
from nas.search.allocation.unreachable import Unreachable
from search_spaces.lookups import Lookup, separated
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
Tie = tuple[str, str]

_ROUNDS = 4
_SLACK = 1e-9  # sums in another order differ in their last digits
_MARGIN = 4e-6  # of a limit: more than HiGHS lets a row be violated


@dataclass(frozen=True)
class Answer:
    """The picks of an integer programme.

    Attributes:
        picks: Choice name -> option index.
        loss: The summed loss of the picks.
        bound: A value below which no picks are; equal to `loss`, up to rounding, unless the time
            ran out.
    """

    picks: Mapping[str, int]
    loss: float
    bound: float


def programme(
    counts: Mapping[str, int],
    loss: Sequence[Lookup],
    costs: Mapping[str, Sequence[Lookup]],
    *,
    limits: Mapping[str, float],
    ties: Iterable[Tie] = (),
    seconds: float = 60.0,
) -> Answer:
    """The picks with the least summed loss within all limits.

    Args:
        counts: Choice name -> the number of its options.
        loss: Lookups over those choices, whose sum is the loss. An infinite entry is not allowed.
        costs: Name of a cost -> lookups whose sum is the cost. An infinite entry is not allowed.
        limits: Name of a cost -> its upper limit.
        ties: Pairs of choices that get the same option.
        seconds: The time after which the best picks so far are given.

    Raises:
        ValueError: A limit has no cost, a tie joins choices with unlike numbers of options, or the
            time ran out before any picks were found.
        Unreachable: No picks are within all limits.
    """
    if unknown := sorted(set(limits) - set(costs)):
        raise ValueError(f"limits of {unknown} need costs of these names, given {sorted(costs)}")
    model = _Model(counts, [*loss, *(table for name in limits for table in costs[name])], ties)
    objective = model.row(loss)
    rows = {name: model.row(costs[name]) for name in limits}
    found = model.within(objective, rows, limits, seconds)
    if found is None:
        raise Unreachable(limits, dict(model.least(rows, limits, seconds)))
    picks, bound = found
    return Answer(picks, float(sum(table.at(picks) for table in loss)), bound)


def programmed(
    space: SearchSpace,
    genotype: Genotype,
    *,
    loss: ArrayCost,
    costs: Mapping[str, ArrayCost],
    limits: Mapping[str, float],
    choices: Collection[str],
    ties: Iterable[Tie] = (),
) -> Genotype:
    """The `genotype` with new picks for some choices, of least loss within all limits.

    The result is optimal where loss and costs are compiled, also where several choices act
    together. A cost that is no sum is measured around one network after the other, a few times, and
    the best network found within the limits is returned.

    Args:
        space: The space.
        genotype: The network whose other picks stay as they are.
        loss: The loss of `(n, choices)` genotypes as `(n,)`, such as summed sensitivities.
        costs: Name of a cost -> the cost of genotypes, in any unit.
        limits: Name of a cost -> its upper limit.
        choices: The names of the choices to pick again, such as all that hold precisions.
        ties: Pairs of choices that get the same option, beside those of one name.

    Raises:
        InvalidGenotype: The space has no choice of a given name.
        Unreachable: No network that was found is within all limits.
    """
    require_choices(space, choices)
    counts = {name: len(space.choices[space.column[name]].options) for name in choices}
    exact = is_sum(loss) and all(is_sum(costs[name]) for name in limits if name in costs)
    current, found, ties = space.canonical(genotype), list[Genotype](), tuple(ties)
    for _ in range(1 if exact else _ROUNDS):
        here = functools.partial(lookups, space=space, genotype=current, choices=choices)
        tables = {name: here(cost) for name, cost in costs.items()}
        try:
            answer = programme(counts, here(loss), tables, limits=limits, ties=ties)
        except Unreachable as short:
            if exact:
                raise
            # Only near this network are they out of reach; go on from a cheaper one.
            cheap = [table for name in short.least for table in tables[name]]
            answer = programme(counts, cheap, {}, limits={}, ties=ties)
        current = as_genotypes(space.canonical_array(_with(space, current, answer.picks)))[0]
        found.append(current)
    rows = np.array(found)
    over = {name: costs[name](rows) - limit * (1 + _SLACK) for name, limit in limits.items()}
    within = np.all([excess <= 0 for excess in over.values()], axis=0)
    if not within.any():
        raise Unreachable(limits, {name: float(costs[name](rows).min()) for name in limits})
    return found[int(np.where(within, loss(rows), np.inf).argmin())]


def _with(space: SearchSpace, genotype: Genotype, picks: Mapping[str, int]) -> IntArray:
    row = np.array([genotype])
    for name, pick in picks.items():
        row[0, space.column[name]] = pick
    return row


class _Model:
    """The variables of a programme, and the rows that make them picks.

    Args:
        counts: Choice name -> the number of its options.
        tables: All lookups of the programme.
        ties: Pairs of choices that get the same option.
    """

    def __init__(
        self, counts: Mapping[str, int], tables: Iterable[Lookup], ties: Iterable[Tie]
    ) -> None:
        self.counts, self.starts, self.size = dict(counts), dict[tuple[str, ...], int](), 0
        for name, count in counts.items():
            self._add((name,), count)
        self.picked = self.size
        self.equal: list[tuple[dict[int, float], float]] = []
        self.banned: list[list[int]] = []
        for name in counts:
            self.equal.append((dict.fromkeys(self._options(name), 1.0), 1.0))
        for one, other in ties:
            self._tie(one, other)
        for table in tables:
            for part in _parts(table):
                self._join(part.choices, part.values.shape)
            places = np.argwhere(np.isinf(table.values))
            self.banned += [self._ends(table.choices, place) for place in places.tolist()]

    def row(self, tables: Iterable[Lookup]) -> tuple[FloatArray, float]:
        """The coefficients of a sum of lookups, `(variables,)`, and the constant beside them."""
        row, constant = np.zeros(self.size), 0.0
        for table in tables:
            for part in _parts(table):
                if part.choices:
                    start = self.starts[part.choices]
                    row[start : start + part.values.size] += part.values.ravel()
                else:
                    constant += float(part.values)
        return row, constant

    def within(
        self,
        objective: tuple[FloatArray, float],
        rows: Mapping[str, tuple[FloatArray, float]],
        limits: Mapping[str, float],
        seconds: float,
    ) -> tuple[dict[str, int], float] | None:
        """The picks of least objective within the limits, and a bound; None without any picks.

        HiGHS may overstep a row by a millionth. Where it did, the limits are a little lower in a
        second try.
        """
        bounds = {name: limit + _SLACK * abs(limit) for name, limit in limits.items()}
        for margin in (0.0, _MARGIN):
            held = {n: limit - margin * abs(limit) for n, limit in bounds.items()}
            found = self._solve(objective[0], rows, held, seconds)
            if found is None:
                return None
            picks = self._picks(found.x)
            at = self._place(picks)
            spent = {name: row @ at + constant for name, (row, constant) in rows.items()}
            if all(spent[name] <= limit for name, limit in bounds.items()):
                bound = float(objective[0] @ at) if found.mip_gap == 0 else found.mip_dual_bound
                return picks, bound + objective[1]
        return None

    def least(
        self,
        rows: Mapping[str, tuple[FloatArray, float]],
        limits: Mapping[str, float],
        seconds: float,
    ) -> Iterator[tuple[str, float]]:
        """The costs that are too high at their least, within the other limits if that can be."""
        for name in limits:
            others = {other: limit for other, limit in limits.items() if other != name}
            kept = {other: rows[other] for other in others}
            found = self.within(rows[name], kept, others, seconds)
            found = found or self.within(rows[name], {}, {}, seconds)
            if found is not None:
                value = float(rows[name][0] @ self._place(found[0]) + rows[name][1])
                if value > limits[name]:
                    yield name, value

    def _solve(
        self,
        objective: FloatArray,
        rows: Mapping[str, tuple[FloatArray, float]],
        limits: Mapping[str, float],
        seconds: float,
    ) -> OptimizeResult | None:
        held = [(list(row), list(row.values())) for row, _ in self.equal]
        held += [(ends, [1.0] * len(ends)) for ends in self.banned]
        high: Any = np.array([v for _, v in self.equal] + [len(e) - 1.0 for e in self.banned])
        low: Any = np.concatenate([high[: len(self.equal)], np.full(len(self.banned), -np.inf)])
        constraints = [LinearConstraint(_sparse(held, self.size), low, high)]
        for name, limit in limits.items():
            row, constant = rows[name]
            scale = np.abs(row).max(initial=0.0) or 1.0
            constraints.append(LinearConstraint(row[None] / scale, ub=(limit - constant) / scale))
        size = np.abs(objective).max(initial=0.0) or 1.0
        found = milp(
            objective / size,
            constraints=constraints,
            integrality=(np.arange(self.size) < self.picked).astype(float),
            bounds=Bounds(0, 1),
            options={"time_limit": seconds, "mip_rel_gap": 0.0},
        )
        if found.x is None and found.status != 2:
            raise ValueError(
                f"HiGHS found no picks in {seconds:g} s: {found.message}; give more seconds or "
                "fewer choices"
            )
        if found.x is None:
            return None
        found.mip_dual_bound = (found.mip_dual_bound or 0.0) * size
        return found

    def _picks(self, x: FloatArray) -> dict[str, int]:
        return {
            name: int(np.argmax(x[self.starts[name,] : self.starts[name,] + count]))
            for name, count in self.counts.items()
        }

    def _place(self, picks: Mapping[str, int]) -> FloatArray:
        """The variables of picks, `(variables,)`."""
        at = np.zeros(self.size)
        for choices, start in self.starts.items():
            shape = tuple(self.counts[name] for name in choices)
            at[start + np.ravel_multi_index(tuple(picks[name] for name in choices), shape)] = 1.0
        return at

    def _add(self, choices: tuple[str, ...], size: int) -> int:
        self.starts[choices] = self.size
        self.size += size
        return self.starts[choices]

    def _options(self, name: str) -> range:
        return range(self.starts[name,], self.starts[name,] + self.counts[name])

    def _tie(self, one: str, other: str) -> None:
        if self.counts[one] != self.counts[other]:
            raise ValueError(
                f"choices {one!r} and {other!r} are tied, but have {self.counts[one]} and "
                f"{self.counts[other]} options; give both the same options"
            )
        pairs = zip(self._options(one), self._options(other), strict=True)
        self.equal += [({mine: 1.0, theirs: -1.0}, 0.0) for mine, theirs in pairs]

    def _join(self, choices: tuple[str, ...], shape: tuple[int, ...]) -> None:
        """Add a variable for each combination of several choices."""
        if len(choices) < 2 or choices in self.starts:
            return
        numbers = np.arange(np.prod(shape)).reshape(shape)
        numbers += self._add(choices, numbers.size)
        for axis, name in enumerate(choices):
            for option, mine in enumerate(self._options(name)):
                row = dict.fromkeys(numbers.take(option, axis=axis).ravel().tolist(), 1.0)
                self.equal.append(({**row, mine: -1.0}, 0.0))

    def _ends(self, choices: tuple[str, ...], place: Sequence[int]) -> list[int]:
        return [self.starts[name,] + option for name, option in zip(choices, place, strict=True)]


def _parts(table: Lookup) -> list[Lookup]:
    finite = np.where(np.isinf(table.values), 0.0, table.values)
    return separated(Lookup(table.choices, finite))


def _sparse(rows: Sequence[tuple[Sequence[int], Sequence[float]]], size: int) -> csr_array:
    lengths = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = list(itertools.chain.from_iterable(columns for columns, _ in rows))
    values = list(itertools.chain.from_iterable(values for _, values in rows))
    return csr_array((values, columns, lengths), shape=(len(rows), size))
