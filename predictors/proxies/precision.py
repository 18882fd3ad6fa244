"""Proxies of precision: how far rounding moves a network, and what its weights' errors may cost.

They compare a network in full precision with its quantized form, as `Subject.both` gives them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject, differentiable, slopes_of, usable

SAMPLES = 16
PROBES = 8


def sqnr(subject: Subject) -> Mapping[str, Value]:
    """The proxy `sqnr`: the signal-to-quantization-noise ratio of the output, in decibels.

    It is 10 log10(sum y^2 / sum (q - y)^2), where y is the output in full precision and q that of
    the quantized network; infinite without a difference. The value of a layer is that of what the
    layer gives. Cost: two forward passes.
    """
    full, rounded = subject.both
    layers = {
        path: _decibels([y for _, y in calls], [q for _, q in rounded.calls[path]])
        for path, calls in full.calls.items()
        if path in subject.layers and path in rounded.calls
    }
    return {"sqnr": Value(_decibels([full.output], [rounded.output]), layers)}


def output_distance(subject: Subject) -> Mapping[str, Value]:
    """The proxy `output_distance`: how far the quantized network's output is from the full one.

    The distance is that of the subject, by default the squared difference as a share of the squared
    output. Cost: two forward passes, those of `sqnr`.
    """
    full, rounded = (one.output.detach() for one in subject.both)
    return {"output_distance": Value(float(subject.distance(rounded, full)))}


def empirical_fisher(subject: Subject) -> Mapping[str, Value]:
    """The proxy `empirical_fisher`: half the sum over weights of mean g^2 times d^2.

    g is the gradient of the loss of one sample in full precision, and d what rounding adds to the
    weight: the expected rise of the loss if the Fisher information is its Hessian (Zandonati et al.
    2022). The first 16 samples are used. Cost: one forward and as many backward passes.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    errors, full = _lossy(subject), subject.both[0]
    named = {name: full.network.weights[name] for name in errors}
    squares = {name: torch.zeros_like(error) for name, error in errors.items()}
    count = min(subject.count, SAMPLES) if errors else 0
    for at in range(count):
        with differentiable():
            one = slice(at, at + 1)
            value = subject.loss(full.output[one], usable(subject.targets)[one])
        for name, slope in zip(named, slopes_of(value, [*named.values()]), strict=True):
            squares[name] += slope.double().square() / count
    found = {n: float((squares[n] * error.square()).sum()) / 2 for n, error in errors.items()}
    return {"empirical_fisher": Value.of_parameters(found)}


def hessian(subject: Subject) -> Mapping[str, Value]:
    """The proxy `hessian`: half the sum over weight tensors of trace H / elements times |d|^2.

    H is the Hessian of the loss by one tensor, and d what rounding adds to it: the expected rise of
    the loss by an error of random direction (HAWQ-V2, Dong et al. 2020). The trace is that of eight
    random sign vectors (Hutchinson 1990); a negative one counts as 0. Cost: one forward, one
    backward pass, and eight of second order.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    errors, full, generator = _lossy(subject), subject.both[0], subject.generator()
    if not errors:
        return {"hessian": Value(0.0)}
    weights = [full.network.weights[name] for name in errors]
    with differentiable():
        value = subject.loss(full.output, usable(subject.targets))
        slopes = slopes_of(value, weights, again=True)
    traces = dict.fromkeys(errors, 0.0)
    for _ in range(PROBES):
        signs = [torch.randint(0, 2, w.shape, generator=generator).to(w) * 2 - 1 for w in weights]
        with differentiable():
            pieces = [(slope * sign).sum() for slope, sign in zip(slopes, signs, strict=True)]
            product = torch.stack(pieces).sum()
        for name, turned, sign in zip(errors, slopes_of(product, weights), signs, strict=True):
            traces[name] += float((turned.double() * sign).sum()) / PROBES
    found = {
        name: max(traces[name], 0.0) / error.numel() * float(error.square().sum()) / 2
        for name, error in errors.items()
    }
    return {"hessian": Value.of_parameters(found)}


def orthogonality(subject: Subject) -> Mapping[str, Value]:
    """The proxy `orthogonality`: 1 less the mean dependence of two layers (Ma et al. 2023, OMPQ).

    The dependence of two layers is <K, L> / (|K| |L|), where K and L hold the inner products of
    what each layer gives for two samples; it lies between 0 and 1. The value of a layer is minus
    the sum of its dependences on all others: OMPQ gives more bits to a larger one. A single layer
    depends on none. A layer that gives something else than samples first is left out. Cost: one
    forward pass.
    """
    kernels = {
        path: _inner(given)
        for path, given in subject.given.items()
        if all(len(y) == subject.count for y in given)
    }
    flat = torch.stack([*kernels.values()]) if kernels else torch.zeros(0, 1).double()
    dependence = flat @ flat.T
    dependence.fill_diagonal_(0.0)
    layers = dict(zip(kernels, (-dependence.sum(1)).tolist(), strict=True))
    pairs = max(len(layers) * (len(layers) - 1), 1)
    return {"orthogonality": Value(1.0 + sum(layers.values()) / pairs, layers)}


def _lossy(subject: Subject) -> Mapping[str, Tensor]:
    """What rounding adds to the weights that it changes, by name; others cost nothing."""
    return {name: error for name, error in subject.weight_errors.items() if bool(error.any())}


def _inner(given: list[Tensor]) -> Tensor:
    """The inner products of samples, as a flat vector of length 1; zeros if all are zero."""
    rows = torch.cat([y.detach().flatten(1).double().cpu() for y in given], dim=1)
    kernel = (rows @ rows.T).flatten()
    return kernel / kernel.norm().clamp_min(1e-300)


def _decibels(full: list[Tensor], rounded: list[Tensor]) -> float:
    pairs = [(y.detach().double(), q.detach().double()) for y, q in zip(full, rounded, strict=True)]
    signal = sum(float(y.square().sum()) for y, _ in pairs)
    noise = sum(float((q - y).square().sum()) for y, q in pairs)
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


SQNR = Proxy(sqnr, {"sqnr": True}, of_precision=True)
OUTPUT_DISTANCE = Proxy(output_distance, {"output_distance": False}, of_precision=True)
EMPIRICAL_FISHER = Proxy(empirical_fisher, {"empirical_fisher": False}, of_precision=True)
HESSIAN = Proxy(hessian, {"hessian": False}, of_precision=True)
ORTHOGONALITY = Proxy(orthogonality, {"orthogonality": True})
