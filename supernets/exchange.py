"""What another genotype would do to a subnet's loss, to first order: the gradient of its picks.

One subnet runs forward and backward. Wherever another one computes something else, from the same
inputs, the difference of the two outputs times the loss's gradient there says by how much the loss
would change: the gradient of a binary gate in ProxylessNAS (Cai et al. 2019, section 3.2). Every
layer computes all its channels and takes the first ones of its input, so that more channels are
compared like fewer (Single-Path NAS, Stamoulis et al. 2019: options are parts of one kernel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.ops import Shape
from search_spaces.space import Genotype
from supernets.assemble import Step
from supernets.supernet import Supernet, subnet_of

Loss = Callable[[Tensor], Tensor]
_IMAGES = 4  # axes of a batch of them


def exchanged(
    supernet: Supernet,
    images: Tensor,
    loss: Loss,
    *,
    genotype: Genotype,
    others: Sequence[Genotype],
) -> tuple[float, NDArray[np.float64]]:
    """The loss of `genotype`, and by how much that of each of `others` differs to first order.

    Good for genotypes that differ in a pick or two. Where they compute at another resolution, the
    difference is resized; what it means for later layers is left out.

    Args:
        supernet: Its weights and their gradients stay as they are.
        images: `(batch, channels, height, width)`.
        loss: A number from the logits `(batch, classes)`.
        genotype: The subnet that runs.
        others: What it is compared with, canonical.
    """
    images = images.detach().requires_grad_()
    steps = subnet_of(supernet.space, genotype).steps
    values: dict[str, Tensor] = {}
    for step in steps:
        values[step.address] = _value(supernet, step, _read(step, values, images))
    value = loss(values[steps[-1].address])
    gradients = torch.autograd.grad(value, list(values.values()))
    base = _Base(
        supernet,
        {step.address: step for step in steps},
        {address: made.detach() for address, made in values.items()},
        dict(zip(values, gradients, strict=True)),
        images.detach(),
    )
    with torch.no_grad():
        changes = [base.change(other) for other in others]
    return float(value.detach()), torch.stack(changes).double().numpy(force=True)


@dataclass(frozen=True, eq=False)
class _Base:
    """A subnet that ran: what every node gave, and the loss's gradient with respect to that."""

    supernet: Supernet
    steps: Mapping[str, Step]
    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    images: Tensor

    def change(self, other: Genotype) -> Tensor:
        """The sum over nodes of both subnets; those of `other` alone are computed on the way."""
        total = self.images.new_zeros(())
        values = dict(self.values)
        for step in subnet_of(self.supernet.space, other).steps:
            own = self.steps.get(step.address)
            if own is not None and _work(own) == _work(step):
                continue
            made = _value(self.supernet, step, _read(step, values, self.images))
            if own is None:
                values[step.address] = made
                continue
            known = values[step.address]
            total = total + (self.gradients[step.address] * (_like(made, known) - known)).sum()
        return total


def _read(step: Step, values: Mapping[str, Tensor], images: Tensor) -> list[Tensor]:
    return [values[address] for address in step.reads] or [images]


def _work(step: Step) -> tuple[Any, ...]:
    """What a node computes, but for the number of its channels and the size of its images."""
    if step.op.mixes_channels:
        return step.reads, replace(step.op, out=0), _channels_read(step)  # pyright: ignore[reportCallIssue]
    return step.reads, step.op


def _channels_read(step: Step) -> int:
    return step.inputs[0][step.op.channel_axis]


def _value(supernet: Supernet, step: Step, read: list[Tensor]) -> Tensor:
    """What a node gives in all its channels; those of the subnet are the first of them."""
    shared, op = supernet.node(step.address), step.op
    if op.mixes_channels:
        axis = op.channel_axis % len(step.inputs[0]) + 1
        read = [_first(value, _channels_read(step), axis) for value in read]
        return shared.compute(_widest(step, len(shared.tensors["weight"])), read)
    if op.channelwise:
        # Where a node is absent, what it hands on may have been computed in fewer channels.
        most = max(value.shape[1] for value in read)
        read = [_first(value, most, 1) for value in read]
        shapes = tuple(tuple(value.shape[1:]) for value in read)
        return shared.compute(replace(step, inputs=shapes), read)
    exact = zip(read, step.inputs, strict=False)  # a source reads the images as they are
    return shared.compute(step, [_fitted(*pair) for pair in exact] or read)


def _widest(step: Step, every: int) -> Step:
    """The node with all its output channels; in groups as it is, since those change with it."""
    weight = step.op.parameters(*step.inputs)["weight"]
    if weight.shape[weight.roles.index("in")] < _channels_read(step):
        return step
    return replace(step, op=replace(step.op, out=every))  # pyright: ignore[reportCallIssue]


def _first(value: Tensor, length: int, axis: int) -> Tensor:
    """The first entries along an axis, and zeros where there are fewer."""
    missing = length - value.shape[axis]
    if missing > 0:
        return F.pad(value, (0, 0) * (value.ndim - 1 - axis) + (0, missing))
    return value.narrow(axis, 0, length)


def _fitted(value: Tensor, shape: Shape) -> Tensor:
    """The first entries of `value` along every axis of a `shape` without the batch."""
    for axis, length in enumerate(shape, 1):
        value = _first(value, length, axis)
    return value


def _like(value: Tensor, wanted: Tensor) -> Tensor:
    """`value` with as many channels as `wanted`, and resized to its size where it is an image."""
    value = _first(value, wanted.shape[1], 1)
    if value.ndim == _IMAGES and value.shape != wanted.shape:
        return F.interpolate(value, wanted.shape[2:], mode="bilinear")
    return _fitted(value, wanted.shape[1:])
