"""What a search of another space tells of this one: the losses it measured, as a feature column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.warp import Warp
from search_spaces.choice import Spec, is_open
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class Translation:
    """Networks of one space as the most similar ones of a related space.

    Choices are the same where their names are, options where their values are; a number that the
    other space lacks stands at the nearest one it has, anything else at the same relative place,
    since options ascend in cost. What only the other space decides is as given.

    Args:
        space: Whose networks are translated.
        other: The space they are translated to.
        otherwise: A genotype of `other`, for the choices that `space` lacks.

    Raises:
        ValueError: No choice has two options that both spaces know.
    """

    def __init__(self, space: SearchSpace, other: SearchSpace, *, otherwise: IntArray) -> None:
        self._other = other
        self._otherwise = np.asarray(otherwise)
        self._pairs: list[tuple[int, int, IntArray]] = []
        known = 0
        for theirs, made in enumerate(other.choices):
            mine = space.column.get(made.name)
            if mine is not None:
                options, ours = _essences(made.options), _essences(space.choices[mine].options)
                known = max(known, len({*ours} & {*options}))
                self._pairs.append((mine, theirs, _nearest(ours, options)))
        if known < 2:
            raise ValueError(
                f"spaces {space.name!r} and {other.name!r} have no decision in common: no choice "
                f"shares its name and two options ({_names(space)}; {_names(other)}); give a space "
                "that was built by the same family"
            )

    def __call__(self, genotypes: IntArray) -> IntArray:
        """Canonical genotypes of the other space, `(n, choices)` to `(n, other choices)`."""
        rows = np.tile(self._otherwise, (len(genotypes), 1))
        for mine, theirs, place in self._pairs:
            rows[:, theirs] = place[genotypes[:, mine]]
        return self._other.canonical_array(rows)


class Related:
    """A feature column: the warped loss that another space's evaluations predict.

    Args:
        space: The space whose genotypes are asked for.
        other: The space that was searched.
        genotypes: What was evaluated there, `(n, other choices)`.
        losses: Their losses, `(n,)`.

    Raises:
        ValueError: The spaces have no decision in common.
    """

    def __init__(
        self, space: SearchSpace, other: SearchSpace, *, genotypes: IntArray, losses: FloatArray
    ) -> None:
        best = genotypes[int(np.argmin(losses))]
        self._translate = Translation(space, other, otherwise=best)
        self._predictor = GaussianProcess(OneHot(other))
        self._predictor.fit(genotypes, Warp(losses)(losses))

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The column, `(n, choices)` to `(n,)`."""
        return self._predictor.predict(self._translate(genotypes))[0]


def _essences(options: Sequence[Any]) -> list[Any]:
    """Options by which they are told apart: specs without what is decided within them."""
    return [_essence(option) for option in options]


def _essence(option: Any) -> Any:
    if not isinstance(option, Spec):
        return option
    held = ((field.name, getattr(option, field.name)) for field in fields(option))
    return type(option), *((name, value) for name, value in held if not is_open(value))


def _nearest(options: Sequence[Any], others: Sequence[Any]) -> IntArray:
    """For each option the place of its like among `others`."""
    places = np.rint(np.linspace(0, len(others) - 1, len(options))).astype(np.int64)
    numbers = [other if _is_number(other) else np.inf for other in others]
    for position, option in enumerate(options):
        if option in others:
            places[position] = others.index(option)
        elif _is_number(option) and np.isfinite(numbers).any():
            places[position] = int(np.abs(np.array(numbers) - option).argmin())
    return places


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _names(space: SearchSpace) -> str:
    first = ", ".join(made.name for made in space.choices[:4])
    return f"{space.name} decides {first}" + (", ..." if len(space.choices) > 4 else "")
