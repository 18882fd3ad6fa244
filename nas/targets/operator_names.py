"""The names of operators in target files and latency tables."""

from __future__ import annotations

from nas.parts import Parts
from search_spaces.ops import Op


def operator_types() -> dict[str, type[Op]]:
    """Every operator that a device can run, by class name.

    Raises:
        PartError: An operator of the user has the name of another, or one of an installed package
            cannot be imported.
    """
    kinds: dict[str, type[Op]] = {**Parts("operator")}
    return {name: kind for name, kind in kinds.items() if kind.arity != 0 and not kind.is_view}
