"""The searchers by the names that recipes and benchmarks give them."""

from __future__ import annotations

from collections.abc import Mapping

from nas.parts import Parts
from nas.problem.goals import Problem
from nas.search.context import Context, Make
from nas.search.searcher import Searcher

SEARCHERS: Mapping[str, Make] = Parts("searcher")
"""Name -> the function that makes such a searcher."""


def searcher_named(
    name: str, problem: Problem, *, seed: int, context: Context | None = None
) -> Searcher:
    """A new searcher.

    Args:
        name: Its name in the table of parts.
        problem: The space, the metric and the goals.
        seed: The seed of all proposals.
        context: The offers of the search; without a supernet, a probe and experience by default.

    Raises:
        PartError: There is no searcher of this name, or a package that it needs is missing.
        ValueError: The searcher needs what the context does not offer.
    """
    return SEARCHERS[name](problem, seed, context or Context())
