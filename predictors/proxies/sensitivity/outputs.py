"""The distance of the output when one tensor is rounded: one forward pass per tensor and precision.

ZeroQ ranks policies by a sum of such distances (Cai et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from predictors.proxies.sensitivity.study import Entry, Study


def output_distance(study: Study, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, float]]:
    """The distance of the output from that in full precision with one tensor rounded."""
    for entry in wanted:
        yield entry, together(study, [entry])


def together(study: Study, entries: Sequence[Entry]) -> float:
    """The distance of the output with all tensors of `entries` rounded, at least 0."""
    found = [
        float(study.distance(study.run(batch, entries).double(), reference.double()))
        for batch, reference in zip(study.batches, study.references(), strict=True)
    ]
    sizes = [len(reference) for reference in study.references()]
    return max(float(np.average(found, weights=sizes)), 0.0)
