"""Evaluated networks as data frames of plain columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search_spaces.space import Genotype, SearchSpace

if TYPE_CHECKING:
    import pandas as pd


def frame_of(
    space: SearchSpace,
    genotypes: Sequence[Genotype],
    figures: Mapping[str, Sequence[float]],
) -> pd.DataFrame:
    """A data frame with one row per network.

    The columns are the figures, then one column per choice with the pick as a plain value (empty
    where the choice is closed), then `genotype`. A choice with the name of a figure has the column
    `choice.NAME`.

    Args:
        space: The space of the networks.
        genotypes: The networks.
        figures: Name of a figure -> its value for each network.
    """
    import pandas as pd

    picks = [space.picks(genotype) for genotype in genotypes]
    columns = {
        f"choice.{name}" if name in figures else name: [one.get(name) for one in picks]
        for name in space.column
    }
    picked = pd.DataFrame(columns, dtype=object).convert_dtypes()
    told = pd.DataFrame({name: list(values) for name, values in figures.items()}, dtype=float)
    last = pd.DataFrame({"genotype": pd.Series(list(genotypes), dtype=object)})
    return pd.concat([told, picked, last], axis=1)
