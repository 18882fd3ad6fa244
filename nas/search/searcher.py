"""What a searcher is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nas.evaluation.evaluation import Evaluation
from search_spaces.space import Genotype


class Searcher(Protocol):
    """Proposes genotypes and learns from their evaluations.

    A searcher is deterministic in its seed and in what it was told, so a killed search is resumed
    by asking anew and answering from the archive.
    """

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` canonical genotypes, none evaluated or proposed before.

        Those that were proposed and not told yet may be many: an asynchronous search asks for one
        while others are under way. Fewer only where the space has no more to offer; an empty list
        ends the search.
        """
        ...

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn evaluations, in any order; those of others, which were never asked for, too."""
        ...
