"""Losses that were measured in another search space, as a feature column for this space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.gaussian import gaussian
from predictors.warp import Warp
from search_spaces.choice import Spec, is_open
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class Translation:
    """A map from genotypes of one space to the most similar genotypes of a related space.

    Choices of the two spaces match if they have the same name. Options match if they have the same
    value. A number that the other choice does not offer becomes the nearest number that it offers.
    Any other option becomes the one at the same relative position, since options ascend in cost.

    Example: the choice `depth` has the options 2, 3, 4 in one space and 2, 4 in the other. Then
    depth 2 becomes 2, depth 4 becomes 4, and depth 3 becomes 2, the first of the nearest.

    Args:
        space: The space whose genotypes are translated.
        other: The space to which they are translated.
        otherwise: A genotype of `other`. It has the picks for choices that `space` does not have.

    Raises:
        ValueError: If no choice has two options that both spaces offer.
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
        """The most similar genotypes of the other space, canonical, `(n, other choices)`.

        Args:
            genotypes: Genotypes of the first space, `(n, choices)`.
        """
        rows = np.tile(self._otherwise, (len(genotypes), 1))
        for mine, theirs, place in self._pairs:
            rows[:, theirs] = place[genotypes[:, mine]]
        return self._other.canonical_array(rows)


class Related:
    """A feature column for genotypes: the loss of the most similar network of another space.

    A Gaussian process learns the losses that were measured in the other space. Genotypes are
    translated to that space, and the column is the mean that the process predicts, as warped by
    `predictors.warp.Warp`.

    Args:
        space: The space of the genotypes that get the column.
        other: The space in which losses were measured.
        genotypes: The genotypes of `other` that were measured, `(n, other choices)`.
        losses: Their losses, `(n,)`.

    Raises:
        ValueError: If the spaces have no decision in common.
    """

    def __init__(
        self, space: SearchSpace, other: SearchSpace, *, genotypes: IntArray, losses: FloatArray
    ) -> None:
        best = genotypes[int(np.argmin(losses))]
        self._translate = Translation(space, other, otherwise=best)
        self._predictor = gaussian(other)
        self._predictor.fit(genotypes, Warp(losses)(losses))

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The column for `genotypes` `(n, choices)`, as `(n,)`."""
        return self._predictor.predict(self._translate(genotypes))[0]


def _essences(options: Sequence[Any]) -> list[Any]:
    """The options of a choice in a form that can be compared between spaces.

    A spec is reduced to its class and to those of its fields that hold no further choice.
    """
    return [_essence(option) for option in options]


def _essence(option: Any) -> Any:
    if not isinstance(option, Spec):
        return option
    held = ((field.name, getattr(option, field.name)) for field in fields(option))
    return type(option), *((name, value) for name, value in held if not is_open(value))


def _nearest(options: Sequence[Any], others: Sequence[Any]) -> IntArray:
    """For each option, the position of the most similar one among `others`, `(options,)`."""
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
