"""Zen-score: how far a small change of a random input moves the features; needs no data."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from predictors.proxies.layers import paths
from predictors.proxies.probe import (
    AS_TRAINED,
    UNQUANTIZED,
    Function,
    ProbedModule,
    each,
    probe,
    tensors_of,
)
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject

_STEP = 0.01
_VARIANCES: Mapping[Function, Callable[[Tensor, Any], Tensor]] = {
    F.batch_norm: lambda x, _: x.var((0, *range(2, x.ndim)), correction=0),
    F.group_norm: lambda x, groups: x.reshape(len(x), groups, -1).var(2, correction=0),
    F.layer_norm: lambda x, shape: x.flatten(x.ndim - len(shape)).var(-1, correction=0),
    F.rms_norm: lambda x, shape: x.flatten(x.ndim - len(shape)).square().mean(-1),
}
"""A norm of torch -> the variances by which it divides, of its first two arguments."""


def zen(subject: Subject) -> Mapping[str, Value]:
    """The proxy `zen`: log E|f(x + 0.01 e) - f(x)| + the sum over norms of log s (Lin et al. 2021).

    x, e and all weights are drawn from the standard normal distribution. f are the features that
    the last block gives, in a network without blocks what the last layer reads, and the mean of |.|
    is over their elements. s is the root of the mean variance by which a norm before the features
    divides; its logarithm undoes the norm. Batch norms count as published, and norms of other kinds
    in the same way. For a network that reads tokens, x are their embeddings. The values of layers
    are the log s of norms. Cost: two forward passes.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    for dtype in (torch.float32, torch.float64):  # the first overflows in deep networks
        still, scales = _features(subject, 0.0, dtype)
        change = float((_features(subject, _STEP, dtype)[0] - still).abs().double().mean())
        if math.isfinite(change):
            break
    value = math.log(change) + sum(scales.values()) if change > 0 else -math.inf
    return {"zen": Value(value, scales)}


def _features(
    subject: Subject, step: float, dtype: torch.dtype
) -> tuple[Tensor, Mapping[str, float]]:
    """The features, and the log s of norms before them; `step` times another input is added."""
    generator, scales = subject.generator(), defaultdict[str, float](float)
    shapes = {x.shape for x in tensors_of(subject.inputs)}

    def drawn(x: Tensor) -> Tensor:
        first, second = (torch.randn(x.shape, generator=generator) for _ in range(2))
        return (first + step * second).to(x.device, dtype)

    def embedded(indices: Tensor, weight: Tensor, *args: Any, **options: Any) -> Tensor:
        output = F.embedding(indices, weight, *args, **options)
        return drawn(output) if indices.shape in shapes else output

    def entered(x: Tensor) -> Tensor:
        return drawn(x) if x.is_floating_point() else x

    with paths(subject.module) as path, _seen(subject, scales) as seen:
        norms = {norm: _measured(norm, path, scales) for norm in _VARIANCES}
        routes = {**UNQUANTIZED, **norms, F.embedding: embedded}
        with probe(subject.module, routes, dtype=dtype) as network, torch.no_grad():
            _fill(network, generator)
            output = network(each(subject.inputs, entered))
    return seen[-1] if seen else (output, dict(scales))


@contextmanager
def _seen(
    subject: Subject, scales: Mapping[str, float]
) -> Iterator[list[tuple[Tensor, Mapping[str, float]]]]:
    """A context that notes what blocks give, with the scales up to there.

    Without blocks, what every layer but the first reads is noted.
    """
    found: list[tuple[Tensor, Mapping[str, float]]] = []
    ran: list[nn.Module] = []

    def gave(_module: nn.Module, _args: Any, output: Any) -> None:
        found.append((tree_leaves(output)[0].clone(), dict(scales)))

    def reads(module: nn.Module, args: Any) -> None:
        if ran:
            found.append((args[0].clone(), dict(scales)))
        ran.append(module)

    with ExitStack() as hooks:
        for part in subject.blocks.values():
            if subject.blocks == subject.layers:
                hooks.callback(part.register_forward_pre_hook(reads).remove)
            else:
                hooks.callback(part.register_forward_hook(gave).remove)
        yield found


def _fill(network: ProbedModule, generator: torch.Generator) -> None:
    """Draw all weights; other parameters become 0, if they are biases, or 1."""
    for name, parameter in network.parameters.items():
        if name in network.weights:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def _measured(norm: Function, path: Callable[[], str], scales: dict[str, float]) -> Function:
    instead = AS_TRAINED.get(norm, norm)

    def measured(x: Tensor, second: Any, *args: Any, **options: Any) -> Tensor:
        mean = float(_VARIANCES[norm](x, second).double().mean())
        if mean > 0:
            scales[path()] += math.log(mean) / 2
        return instead(x, second, *args, **options)

    return measured


ZEN = Proxy(zen, {"zen": True})
