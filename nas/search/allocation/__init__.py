"""Which option each choice gets within a budget: usually the bits of each layer.

Read the modules in this order: `options` (what the options of each choice add), `knapsack` (exact
within one budget), `programme` (exact within several limits), `closed_form` (rates without a
search), `ordered` (bisection on a sorted list of steps, by true evaluations), `seeds` (what they
offer to a search).
"""

from __future__ import annotations

from nas.search.allocation.closed_form import closed_form
from nas.search.allocation.knapsack import allocate, reallocated
from nas.search.allocation.ordered import bisected, descent
from nas.search.allocation.programme import Answer, programme, programmed
from nas.search.allocation.seeds import precision_choices, seeds
from nas.search.allocation.unreachable import Unreachable

__all__ = [
    "Answer",
    "Unreachable",
    "allocate",
    "bisected",
    "closed_form",
    "descent",
    "precision_choices",
    "programme",
    "programmed",
    "reallocated",
    "seeds",
]
