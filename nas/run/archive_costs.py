"""The costs of evaluated networks on the targets of their run, as columns of a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import ArrayCost
from nas.run.folder import RunFolder
from nas.run.plan import THIS_CPU
from nas.run.target_costs import TargetCosts
from nas.targets import TargetError, load_target
from nas.targets.target_files import available
from search_spaces.documents import UnreadableFile
from search_spaces.space import SearchSpace


class ArchiveCosts:
    """The costs of networks of a run's space: shared ones by name, others as `TARGET.COST`.

    A folder may come from another person, so target files that its recipe names are opened only if
    they are among `named`. A run on a table has its costs among its metrics.

    Args:
        folder: The run folder.
        space: The space of the run.
        named: Names or paths of targets that the user has named.

    Attributes:
        left_out: A sentence for each target whose costs are not known.
    """

    def __init__(self, folder: Path, space: SearchSpace, *, named: Collection[str] = ()) -> None:
        self._files, self._costs = RunFolder(folder), TargetCosts(space)
        content = self._files.stored_recipe()
        allowed = {*available(), *named}
        self.left_out: list[str] = []
        self._known: dict[str, ArrayCost] = {}
        if "table" in content:
            return
        self._known |= self._costs.shared
        for name in (section["name"] for section in content["targets"]):
            if name in allowed:
                self._known |= self._on(name)
            else:
                self.left_out.append(
                    f"the costs on {name} are left out: the recipe names this file outside of the "
                    f"folder, which is opened if you give --target {name}"
                )

    def _on(self, name: str) -> Mapping[str, ArrayCost]:
        """The costs of one target alone; none where the target cannot be read or lacks figures."""
        try:
            target = load_target(name, table=self._files.table if name == THIS_CPU else None)
            found = self._costs.on(target)
        except (TargetError, UnreadableFile) as error:
            self.left_out.append(f"the costs on {name} are left out: {error}")
            return {}
        own = found.keys() - self._costs.shared.keys()
        return {f"{target.name}.{cost}": found[cost] for cost in found if cost in own}

    def __call__(self, rows: NDArray[np.integer]) -> dict[str, list[float]]:
        """Name of a cost -> its value for each genotype; infinite where the target refuses it."""
        return {name: cost(rows).tolist() for name, cost in self._known.items()}
