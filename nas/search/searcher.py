"""The protocol of searchers: ask for genotypes, tell their evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nas.evaluation.evaluation import Evaluation
from search_spaces.space import Genotype


class Searcher(Protocol):
    """A method that proposes genotypes and learns from their evaluations.

    Its seed and the evaluations told determine its proposals. A killed search is therefore
    resumed by a new searcher that is asked again and answered from the archive.
    """

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` canonical genotypes, none evaluated or proposed before.

        There are fewer than `count` only if the space has no others; an empty list ends the
        search. Many proposals may still be without an evaluation: an asynchronous search asks for
        the genotypes of free workers while others are being evaluated.
        """
        ...

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations, in any order, also of genotypes that were never proposed here."""
        ...
