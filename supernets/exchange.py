"""First-order estimates of how the loss changes if a subnet is exchanged for a similar subnet.

A subnet runs forward and backward. Where the other subnet computes something else from the same
inputs, the difference of both outputs, times the gradient of the loss there, estimates the change
of the loss: the gradient of a binary gate in ProxylessNAS (Cai et al. 2019, section 3.2). Each
layer computes all its channels and reads only the first channels of its input that the subnet has,
so that wider options can be compared too (Single-Path NAS, Stamoulis et al. 2019: options are
parts of the same kernel).
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

from search_spaces.ops import Op, Shape
from search_spaces.space import Genotype
from supernets.assemble import Step
from supernets.inputs import Inputs
from supernets.supernet import Supernet, subnet_of

Loss = Callable[[Tensor], Tensor]
_IMAGES = 4  # the number of axes of a batch of images


def exchanged(
    supernet: Supernet,
    inputs: Inputs | Tensor,
    loss: Loss,
    *,
    genotype: Genotype,
    others: Sequence[Genotype],
) -> tuple[float, NDArray[np.float64]]:
    """The loss of `genotype`, and first-order estimates of the differences for `others`.

    Estimates are good for genotypes that differ in one or two picks. If a genotype computes at
    another resolution, its outputs are resized before they are compared, and the effect of the
    resolution on later layers is ignored.

    Args:
        supernet: The supernet; its weights and their gradients are not changed.
        inputs: A batch as `Supernet.forward` takes it.
        loss: A function from the output `(batch, ...)` to a scalar.
        genotype: The subnet that runs.
        others: The genotypes to compare with, canonical.

    Returns:
        The loss, and the estimated loss of each other genotype less this loss, `(others,)`.
    """
    subnet = subnet_of(supernet.space, genotype)
    steps, given = subnet.steps, subnet.fed(inputs)
    values = {address: _followed(tensor) for address, tensor in given.items()}
    for step in steps:
        values[step.address] = _value(supernet, step, [values[read] for read in step.reads])
    value = loss(values[steps[-1].address])
    made = {address: made for address, made in values.items() if address not in given}
    gradients = torch.autograd.grad(value, list(made.values()))
    base = _Base(
        supernet,
        {step.address: step for step in steps},
        {address: made.detach() for address, made in values.items()},
        dict(zip(made, gradients, strict=True)),
    )
    with torch.no_grad():
        changes = [base.change(other) for other in others]
    return float(value.detach()), torch.stack(changes).double().numpy(force=True)


def _followed(tensor: Tensor) -> Tensor:
    """The tensor, with a gradient if it is not of tokens: a resize right behind needs one."""
    return tensor.detach().requires_grad_(tensor.is_floating_point())


@dataclass(frozen=True, eq=False)
class _Base:
    """A subnet that ran: the output of every node, and the gradient of the loss by each output."""

    supernet: Supernet
    steps: Mapping[str, Step]
    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]

    def change(self, other: Genotype) -> Tensor:
        """The estimated change of the loss, a sum over the nodes that both subnets have.

        Nodes that only `other` has are computed too, since later nodes read them.
        """
        total = next(iter(self.gradients.values())).new_zeros(())
        values = dict(self.values)
        for step in subnet_of(self.supernet.space, other).steps:
            own = self.steps.get(step.address)
            if own is not None and _work(own) == _work(step):
                continue
            made = _value(self.supernet, step, [values[read] for read in step.reads])
            if own is None:
                values[step.address] = made
                continue
            known = values[step.address]
            change = _like(made, known, step.op) - known
            total = total + (self.gradients[step.address] * change).sum()
        return total


def _work(step: Step) -> tuple[Any, ...]:
    """A key that is equal for nodes that differ only in output width and image size."""
    if _has_all_channels(step):
        return step.reads, replace(step.op, out=0), _channels_read(step)  # pyright: ignore[reportCallIssue]
    return step.reads, step.op


def _has_all_channels(step: Step) -> bool:
    """Whether a node computes its output in all channels; not if these are features of heads."""
    if not step.op.mixes_channels:
        return False
    roles = step.op.parameters(*step.inputs)["weight"].roles
    return roles.count("out") == roles.count("in") == 1


def _channels_read(step: Step) -> int:
    return step.inputs[0][step.op.channel_axis]


def _value(supernet: Supernet, step: Step, read: list[Tensor]) -> Tensor:
    """The output of a node in all channels of the supernet; the subnet's channels come first."""
    shared, op = supernet.node(step.address), step.op
    if _has_all_channels(step):
        axis = op.channel_axis % len(step.inputs[0]) + 1
        read = [_first(value, _channels_read(step), axis) for value in read]
        return shared.compute(_widest(step, len(shared.tensors["weight"])), read)
    if op.channelwise:
        # An absent node hands on its first input, which may have been computed in fewer channels.
        read = _alike(read, step.inputs)
        shapes = tuple(tuple(value.shape[1:]) for value in read)
        return shared.compute(replace(step, inputs=shapes), read)
    exact = zip(read, step.inputs, strict=True)
    return shared.compute(step, [_fitted(*pair) for pair in exact])


def _widest(step: Step, every: int) -> Step:
    """The node with all output channels; unchanged if it has groups, which depend on the width."""
    weight = step.op.parameters(*step.inputs)["weight"]
    if weight.shape[weight.roles.index("in")] < _channels_read(step):
        return step
    return replace(step, op=replace(step.op, out=every))  # pyright: ignore[reportCallIssue]


def _alike(read: list[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
    """Tensors filled up with zeros to one length along each axis along which `shapes` are equal."""
    for axis, lengths in enumerate(zip(*shapes, strict=True), 1):
        if len(set(lengths)) == 1:
            most = max(value.shape[axis] for value in read)
            read = [_first(value, most, axis) for value in read]
    return read


def _first(value: Tensor, length: int, axis: int) -> Tensor:
    """The first `length` entries along an axis, filled up with zeros."""
    missing = length - value.shape[axis]
    if missing > 0:
        return F.pad(value, (0, 0) * (value.ndim - 1 - axis) + (0, missing))
    return value.narrow(axis, 0, length)


def _fitted(value: Tensor, shape: Shape) -> Tensor:
    """The first entries of `value` along every axis, so many as `shape` says, without the batch."""
    for axis, length in enumerate(shape, 1):
        value = _first(value, length, axis)
    return value


def _like(value: Tensor, wanted: Tensor, op: Op) -> Tensor:
    """The output of `op` with as many channels as `wanted`; images are also resized to its size."""
    value = _first(value, wanted.shape[1], 1)
    is_image = value.ndim == _IMAGES and op.channel_axis == 0
    if is_image and value.shape != wanted.shape:
        return F.interpolate(value, wanted.shape[2:], mode="bilinear")
    return _fitted(value, wanted.shape[1:])
