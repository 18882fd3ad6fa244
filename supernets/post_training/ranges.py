"""Ranges of activations: the scale and the zero point of every quantized input, from samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.quant import Quant
from supernets.deployed import Deployed, Rewrite
from supernets.encoded import ActivationScale
from supernets.post_training.observing import Sample, behind_views
from supernets.post_training.reference import Reference
from supernets.rounding import (
    relative_bounds,
    snapped,
    snapped_scales,
    squared_error_steps,
    zero_points,
)

_CUTS = (0.0, 1e-4, 1e-3, 1e-2)
_PERCENTILE = 1e-4
_LEAST_STEP = 1e-12

Fit = Callable[[Sample, Quant], ActivationScale]


def ranges(reference: Reference) -> Rewrite:
    """The rewrite that sets the scales of inputs to the least squared error on samples.

    Zero points are tried with the tails of the distribution cut off at several shares, since few
    values far away would otherwise decide on which side most codes lie.
    """
    return _Ranges(reference, least_error)


def percentile_ranges(reference: Reference) -> Rewrite:
    """The rewrite that lets the codes of inputs span all but one of 10,000 values at either end."""
    return _Ranges(reference, percentile)


class _Ranges:
    """A rewrite that sets the scales of all inputs that have a precision."""

    def __init__(self, reference: Reference, fit: Fit) -> None:
        self._reference, self._fit = reference, fit
        self._kept: dict[tuple[int, Quant], tuple[Sample, ActivationScale]] = {}

    def __call__(self, deployed: Deployed) -> Deployed:
        graph = deployed.graph
        wanted = {
            (address, position): (behind_views(graph, read), node.op.activation)
            for address, node in graph.nodes.items()
            for position, read in enumerate(node.inputs)
        }
        if not any(quant for _, quant in wanted.values()):
            return replace(deployed, inputs={})
        samples = self._reference.samples(replace(deployed, inputs={}))
        inputs = {
            slot: self._scale(samples[source], quant)
            for slot, (source, quant) in wanted.items()
            if quant is not None
        }
        return replace(deployed, inputs=inputs)

    def _scale(self, sample: Sample, quant: Quant) -> ActivationScale:
        key = (id(sample), quant)  # the sample is kept with the result, so its id stays taken
        if key not in self._kept:
            self._kept[key] = (sample, self._fit(sample, quant))
        return self._kept[key][1]


def least_error(sample: Sample, quant: Quant) -> ActivationScale:
    """The scale and zero point of the least squared error on the values of a sample."""
    row = torch.cat([sample.values, torch.tensor([sample.low, sample.high])]).unsqueeze(0)
    tried: dict[int, ActivationScale] = {}
    errors: dict[int, float] = {}
    for cut in (0.0,) if quant.format.symmetric else _CUTS:
        zero = zero_points(_ends(row, cut), quant.format)
        if int(zero) in tried:
            continue
        step = squared_error_steps(row, quant, zero)
        bounds = relative_bounds(quant.format, zero)
        error = (snapped(quant.format, row / step, bounds) * step - row).square().sum()
        tried[int(zero)] = ActivationScale(float(step), int(zero), quant)
        errors[int(zero)] = float(error)
    return tried[min(errors, key=lambda zero: errors[zero])]


def percentile(sample: Sample, quant: Quant) -> ActivationScale:
    """The scale and zero point whose codes span the sample but for the ends of its tails."""
    ends = _ends(sample.values.unsqueeze(0), _PERCENTILE)
    zero = zero_points(ends, quant.format)
    low, high = (float(bound) for bound in relative_bounds(quant.format, zero))
    reached = (float(end) / bound for end, bound in zip(ends[0], (low, high), strict=True) if bound)
    step = torch.tensor([max(*reached, _LEAST_STEP)])
    step = snapped_scales(quant.granularity.scale, step)
    return ActivationScale(float(step), int(zero), quant)


def _ends(row: Tensor, cut: float) -> Tensor:
    """The values of `row` `(1, n)` behind which a share `cut` of all values lies, `(1, 2)`."""
    both = torch.tensor([cut, 1.0 - cut], dtype=row.dtype)
    return torch.quantile(row, both, dim=1).T
