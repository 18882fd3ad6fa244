"""The channels of a trained network in the order of a score that is looked up by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from nas.parts import Parts
from search_spaces.graph import Graph
from supernets.inputs import Inputs
from supernets.slimming import sorted_by


def sorted_tensors(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    calibration: Sequence[Inputs | Tensor],
    *,
    importance: str | None = None,
) -> dict[str, Tensor]:
    """The tensors of a network that computes the same, the most important channels first.

    They belong to `search_spaces.slimming.slimmed(graph)`, whose space can be trained, or used with
    `post_training` and the rewrite `least-squares`.

    Args:
        graph: The resolved graph, such as a traced one.
        tensors: Its parameters and the statistics of norms, by `ADDRESS.NAME`.
        calibration: Batches of inputs without labels; at least one.
        importance: The name of a part of the kind `importance`; the default one if left out.

    Raises:
        PartError: If there is no such score, or it cannot be loaded.
        ValueError: As `supernets.slimming.sorted_by` does.
    """
    known = Parts("importance")
    score = known[importance or known.default]
    return sorted_by(score, graph, tensors=tensors, batches=calibration)
