"""Rewrites that round weights layer by layer, towards each layer's output in floats.

All of them walk through the network once. Each layer is rounded against the inputs that the layers
before it, which are rounded already, give it, and towards the outputs of the float network; a
layer whose output is added to another tensor also makes good the error of that tensor. What a
layer should give is first met by float weights in the sense of least squares, which are then
rounded. The bias follows in closed form, so no correction of biases is needed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from search_spaces.quant import One, ScaleFormat
from supernets.deployed import Deployed, Rewrite
from supernets.encoded import EncodedTensor
from supernets.post_training.adaround import ROUNDS, adaptive_rounding
from supernets.post_training.descent import descended
from supernets.post_training.error_feedback import error_feedback
from supernets.post_training.lattice import Lattice, encoded_again, lattice_of, matrices
from supernets.post_training.nearest import nearest
from supernets.post_training.reference import Reference
from supernets.post_training.walk import Layer, walked


def gptq(reference: Reference) -> Rewrite:
    """The rewrite that rounds column by column, with feedback of the error to later columns."""
    return layerwise(reference, _with_feedback)


def adaquant(reference: Reference) -> Rewrite:
    """The rewrite that finds weights, steps and biases of the least output error per layer."""
    return layerwise(reference, _with_descent)


def adaround(reference: Reference, *, rounds: int = ROUNDS) -> Rewrite:
    """The rewrite that learns, in so many `rounds`, whether each weight is rounded up or down."""
    return layerwise(reference, partial(_learned, rounds=rounds))


Solve = Callable[[Tensor, Tensor, Lattice, ScaleFormat], tuple[Tensor, Lattice]]
"""A way to round a matrix: a function of the weight `(groups, out, columns)`, of the second moment
of the inputs `(groups, columns, columns)`, of the lattice of the weight rounded to nearest, and of
the format of steps. Returns values, and the lattice on which they lie."""


def layerwise(reference: Reference, solve: Solve) -> Rewrite:
    """The rewrite that rounds all weights, first to the nearest, then one layer after another.

    Args:
        reference: The float network, whose calibration batches are used.
        solve: Rounds the weight of a layer.
    """
    first = nearest(reference)

    def change(deployed: Deployed, layer: Layer) -> Deployed:
        encoded = deployed.weight(layer.address)
        assert isinstance(encoded, EncodedTensor)
        # The lattice is that of the layer's own weight. The lattice of least squared error for the
        # target was tried: ResNet-20 at 3 bits came out farther from its float network, at a
        # divergence of 0.016 in place of 0.010.
        lattice = lattice_of(encoded, layer.groups)
        gram = layer.moments.gram
        target = layer.moments.target(matrices(layer.base, layer.groups))
        stored = encoded.quant.scales
        near = stored == One()  # numbers so close that there is nothing to solve
        found = (lattice.near(target), lattice) if near else solve(target, gram, lattice, stored)
        found = encoded_again(encoded, *found)
        bias = layer.fitting_bias(torch.from_numpy(found.values()))
        return deployed.changed(layer.address, weight=found, bias=bias)

    def rewritten(deployed: Deployed) -> Deployed:
        exact = replace(deployed, inputs={})
        return walked(first(deployed), exact, reference.batches, change)

    return rewritten


def _with_feedback(
    target: Tensor, gram: Tensor, lattice: Lattice, _: ScaleFormat
) -> tuple[Tensor, Lattice]:
    with torch.no_grad():
        return error_feedback(target, gram, lattice), lattice


def _with_descent(
    target: Tensor, gram: Tensor, lattice: Lattice, stored: ScaleFormat
) -> tuple[Tensor, Lattice]:
    with torch.no_grad():
        start = error_feedback(target, gram, lattice), lattice
        return descended(target, gram, start, stored=stored)


def _learned(
    target: Tensor, gram: Tensor, lattice: Lattice, _: ScaleFormat, *, rounds: int
) -> tuple[Tensor, Lattice]:
    return adaptive_rounding(target, gram, lattice, rounds=rounds), lattice
