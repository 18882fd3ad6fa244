"""Ranges of activations: the scale and the zero point of every quantized input, from samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.quant import Quant
from supernets.assemble import Slot
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


def shared_ranges(reference: Reference) -> Rewrite:
    """`ranges` in which all inputs of an addition or a concatenation have one scale.

    Some devices add and concatenate integer codes as they are.
    """
    return _Ranges(reference, least_error, shared=True)


class _Ranges:
    """A rewrite that sets the scales of all inputs that have a precision.

    Args:
        reference: The float network and its calibration batches.
        fit: The function that finds a scale.
        shared: Whether the inputs of an operator that does not multiply them have one scale.
    """

    def __init__(self, reference: Reference, fit: Fit, *, shared: bool = False) -> None:
        self._reference, self._fit, self._shared = reference, fit, shared
        self._kept: dict[tuple[tuple[int, ...], Quant], tuple[list[Sample], ActivationScale]] = {}

    def __call__(self, deployed: Deployed) -> Deployed:
        graph = deployed.graph
        nodes = {a: node for a, node in graph.nodes.items() if node.op.activation is not None}
        if not nodes:
            return replace(deployed, inputs={})
        samples = self._reference.samples(replace(deployed, inputs={}))
        whole = {
            (behind_views(graph, source), node.op.activation)
            for node in nodes.values()
            for source in node.inputs
        }
        inputs: dict[Slot, ActivationScale] = {}
        for address, node in nodes.items():
            assert node.op.activation is not None
            read = [
                samples[_read_whole(graph, source, node.op.activation, whole)]
                for source in node.inputs
            ]
            for position, sample in enumerate(read):
                seen = read if self._shared and not node.op.products else [sample]
                inputs[address, position] = self._scale(seen, node.op.activation)
        return replace(deployed, inputs=inputs)

    def _scale(self, seen: list[Sample], quant: Quant) -> ActivationScale:
        key = tuple(map(id, seen)), quant  # samples are kept with the result: ids stay taken
        if key not in self._kept:
            self._kept[key] = (seen, self._fit(joined(seen), quant))
        return self._kept[key][1]


def _read_whole(
    graph: Graph, address: str, quant: Quant, whole: Collection[tuple[str, Quant | None]]
) -> str:
    """The tensor whose scale an input gets that reads the numbers at `address`.

    A part of a tensor that others read whole in the same precision gets their scale: nothing of it
    is clipped, and a device rounds the tensor once. So does what max pooling gives of numbers that
    are rounded in this precision. All others get a scale of their own.

    Args:
        graph: The network.
        address: The operator that is read.
        quant: The precision of the input.
        whole: All tensors that are read, with the precisions of their readers.
    """
    found = address = behind_views(graph, address)
    while (op := graph.nodes[address].op).keeps_values and op.activation in (None, quant):
        address = behind_views(graph, graph.nodes[address].inputs[0])
        if (address, quant) in whole:
            found = address
    return found


def joined(samples: Sequence[Sample]) -> Sample:
    """The samples of several tensors as one."""
    values = torch.cat([sample.values for sample in samples])
    ends = [(sample.low, sample.high) for sample in samples]
    return Sample(values, min(low for low, _ in ends), max(high for _, high in ends))


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
    step = snapped_scales(quant.scales, step)
    return ActivationScale(float(step), int(zero), quant)


def _ends(row: Tensor, cut: float) -> Tensor:
    """The values of `row` `(1, n)` behind which a share `cut` of all values lies, `(1, 2)`."""
    both = torch.tensor([cut, 1.0 - cut], dtype=row.dtype)
    return torch.quantile(row, both, dim=1).T
