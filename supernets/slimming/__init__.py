"""Slimming without training: which channels matter, and how a narrower network is repaired.

Read the modules in this order: `readings` (where the channels of a group arrive), the scores of
importance (`by_weights`, `by_gradients`, `by_reading`, `by_trajectory`, `by_relevance`), `sorting`
(the order of channels by a score), `least_squares` (the repair of layers behind a cut, one after
the other), and `joint_repair` (that of all layers together).
"""

from supernets.slimming.least_squares import least_squares
from supernets.slimming.readings import Importance
from supernets.slimming.sorting import sorted_by

__all__ = ["Importance", "least_squares", "sorted_by"]
