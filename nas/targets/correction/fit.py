"""The fit of a calibration to a few whole networks: ridge regression towards no correction."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.targets.correction.correction import Calibration, FloatArray, PredictionError

LEAST_NETWORKS = 5
# The prior, as standard deviations: of a network's relative error, of the common factor, of the
# factor of each kind, and of the overhead in us. Leave-one-out selects among the values of the last
# three, from no freedom at all to much.
_NOISE = 0.02
_SCALES = (0.0, 0.2)
_KINDS = (0.0, 0.03, 0.1, 0.3)
_OVERHEADS_US = (0.0, 0.5, 2.0)
_SLACK = 1.05  # a freer fit must be better by this much
_CLIP = 0.2  # the largest relative error that counts where fits are compared
_HUBER = 1.5  # robust standard deviations
_LEAST_DEVIATION = 0.01
_ITERATIONS = 4
_NORMAL_MAD = 1.4826
_LEAST_FACTOR = 0.2


@dataclass(frozen=True)
class Sums:
    """The latencies of one measured network, from its kernels and end to end.

    Attributes:
        by_kind: Kind of kernel -> summed milliseconds of its kernels, each measured alone.
        kernels: The number of kernels.
        fixed_ms: Predicted milliseconds beside the kernels, such as conversions between them.
        measured_ms: Milliseconds of the whole network.
    """

    by_kind: Mapping[str, float]
    kernels: int
    fixed_ms: float
    measured_ms: float

    @property
    def predicted_ms(self) -> float:
        """The latency in ms as a sum without corrections."""
        return sum(self.by_kind.values()) + self.fixed_ms


def fit(networks: Sequence[Sums]) -> Calibration:
    """The corrections that best predict each of `networks` from all others.

    The latency `scale * sum(correction[kind] * by_kind) + overhead * kernels + fixed` is fitted by
    ridge regression on relative errors (Hoerl and Kennard 1970). The penalty pulls towards factors
    of 1 and no overhead; its strength is chosen by leave-one-out. Huber's weights reduce the
    influence of outliers.

    Raises:
        ValueError: If there are fewer than 5 networks.
    """
    if len(networks) < LEAST_NETWORKS:
        raise ValueError(f"a calibration needs {LEAST_NETWORKS} networks, given {len(networks)}")
    kinds = sorted({kind for network in networks for kind in network.by_kind})
    measured = np.array([network.measured_ms for network in networks])
    alone = np.array([[network.by_kind.get(kind, 0.0) for kind in kinds] for network in networks])
    count = np.array([network.kernels for network in networks])
    # Columns for the common factor, the factor of each kind and the overhead; all are relative to
    # the measured latency.
    columns = np.column_stack([alone.sum(1), alone, count / 1e3]) / measured[:, None]
    before = np.array([network.predicted_ms for network in networks])
    missing = 1 - before / measured
    deviations = _best_freedom(columns, missing)
    off = _left_out(columns, missing, deviations)
    weights = _solve(columns, missing, deviations)
    scale = max(1 + weights[0], _LEAST_FACTOR)
    return Calibration(
        scale=float(scale),
        corrections={
            kind: max(float((1 + weights[0] + own) / scale), _LEAST_FACTOR)
            for kind, own in zip(kinds, weights[1:-1], strict=True)
            if own
        },
        overhead_us=float(weights[-1]),
        error=PredictionError.of(measured * (1 - off), measured),
        before=PredictionError.of(before, measured),
    )


def _best_freedom(columns: FloatArray, missing: FloatArray) -> FloatArray:
    """The prior standard deviations of all weights, `(columns,)`.

    They are the smallest ones with which networks that are left out are predicted well.
    """
    kinds = columns.shape[1] - 2
    tried = [
        np.array([scale, *[own] * kinds, overhead])
        for own, overhead, scale in itertools.product(_KINDS, _OVERHEADS_US, _SCALES)
    ]
    scores = np.array(
        [np.abs(_left_out(columns, missing, d)).clip(max=_CLIP).mean() for d in tried]
    )
    return tried[int(np.argmax(scores <= _SLACK * scores.min()))]


def _left_out(columns: FloatArray, missing: FloatArray, deviations: FloatArray) -> FloatArray:
    """The relative error of each network's prediction from all others, `(networks,)`."""
    off = np.empty(len(missing))
    for left in range(len(missing)):
        rest = np.arange(len(missing)) != left
        weights = _solve(columns[rest], missing[rest], deviations)
        off[left] = missing[left] - columns[left] @ weights
    return off


def _solve(columns: FloatArray, missing: FloatArray, deviations: FloatArray) -> FloatArray:
    """The weights of all columns, `(columns,)`; 0 where the prior standard deviation is 0."""
    weights = np.zeros(columns.shape[1])
    free = deviations > 0
    if not free.any():
        return weights
    scaled = columns[:, free] * deviations[free]
    trust = np.ones(len(missing))
    solved = np.zeros(scaled.shape[1])
    for _ in range(_ITERATIONS):
        trusted = scaled * trust[:, None]
        square = scaled.T @ trusted + np.eye(scaled.shape[1]) * _NOISE**2
        solved = np.linalg.solve(square, trusted.T @ missing)
        left = np.abs(missing - scaled @ solved)
        width = _HUBER * max(_NORMAL_MAD * float(np.median(left)), _LEAST_DEVIATION)
        trust = np.minimum(1.0, width / np.maximum(left, 1e-12))
    weights[free] = solved * deviations[free]
    return weights
