"""A searcher that first proposes networks which others have found."""

from __future__ import annotations

from collections.abc import Sequence

from nas.evaluation.evaluation import Evaluation
from nas.search.searcher import Searcher
from search_spaces.space import Genotype


class Offered:
    """A searcher whose first proposals are given; all later ones are those of another searcher.

    Args:
        searcher: The other searcher, which is told all evaluations.
        first: The canonical genotypes to propose first, as far as nobody has evaluated them.
    """

    def __init__(self, searcher: Searcher, first: Sequence[Genotype]) -> None:
        self._searcher, self._first = searcher, frozenset(first)
        self._left = list(dict.fromkeys(first))

    def ask(self, count: int) -> list[Genotype]:
        """What is left of the first genotypes, then proposals of the other searcher."""
        found, self._left = self._left[:count], self._left[count:]
        while len(found) < count:
            more = self._searcher.ask(count - len(found))
            if not more:
                break
            found += [genotype for genotype in more if genotype not in self._first]
        return found

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Pass the evaluations on; none of their genotypes is proposed first any more."""
        known = {evaluation.genotype for evaluation in evaluations}
        self._left = [genotype for genotype in self._left if genotype not in known]
        self._searcher.tell(evaluations)
