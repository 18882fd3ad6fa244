"""Proxies of weights and their gradients, which share one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from predictors.proxies.layers import channels_last
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject, differentiable, slopes_of


def gradients(subject: Subject) -> Mapping[str, Value]:
    """The proxies `grad_norm` and `snip`.

    `grad_norm` is the sum over weight tensors of |dL/dw|_2 (Abdelfattah et al. 2021). `snip` is the
    sum of |w dL/dw| over all elements (Lee et al. 2019, without its normalization). Cost: one
    forward and one backward pass.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    return {
        "grad_norm": _over_weights(subject, lambda _, slope: slope.norm()),
        "snip": _over_weights(subject, lambda weight, slope: (weight * slope).abs().sum()),
    }


def plain(subject: Subject) -> Mapping[str, Value]:
    """The proxy `plain`: the sum of w dL/dw over all weights, with its sign.

    Its negative is the first-order rise of the loss when all weights vanish (Mozer and Smolensky
    1989), so a smaller value promises a smaller loss. Cost: one forward and one backward pass.
    """
    return {"plain": _over_weights(subject, lambda weight, slope: (weight * slope).sum())}


def fisher(subject: Subject) -> Mapping[str, Value]:
    """The proxy `fisher`: the Fisher information of the channels that layers give.

    It is the sum over channels of half the mean over samples of (sum a dL/da)^2, where the inner
    sum runs over the positions of the channel (Theis et al. 2018; Turner et al. 2020). `L` is the
    mean loss of the batch. Cost: one forward and one backward pass.
    """
    layers: dict[str, float] = {}
    for path, values in subject.given.items():
        pairs = zip(values, subject.slopes.outputs[path], strict=True)
        products = [channels_last(y.detach() * g, subject.layers[path]) for y, g in pairs]
        layers[path] = sum(map(_channel_fisher, products))
    return {"fisher": Value.summed(layers)}


def l2_norm(subject: Subject) -> Mapping[str, Value]:
    """The proxy `l2_norm`: the sum of |w|_2 over weight tensors (Abdelfattah et al. 2021).

    Cost: no pass.
    """
    weights = [(n, p.detach()) for n, p in subject.module.named_parameters() if p.ndim >= 2]
    found = {name: float(weight.double().norm()) for name, weight in weights}
    return {"l2_norm": Value.of_parameters(found)}


def grasp(subject: Subject) -> Mapping[str, Value]:
    """The proxy `grasp`: minus the sum of w (H g) over all weights.

    g is the gradient of the loss and H its Hessian (Wang et al. 2020, at temperature 1). A larger
    value is taken as better, as Abdelfattah et al. 2021 do; in some spaces, the order is reversed.
    Cost: one forward, one backward pass, and one that differentiates it.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    weights = subject.passed.network.weights
    wanted = [*weights.values()]
    with differentiable():
        slopes = slopes_of(subject.value, wanted, again=True)
        flow = torch.stack([(slope * slope.detach()).sum() for slope in slopes]).sum()
    products = slopes_of(flow, wanted)
    pairs = zip(weights.items(), products, strict=True)
    found = {name: -float((w.detach() * turned).double().sum()) for (name, w), turned in pairs}
    return {"grasp": Value.of_parameters(found)}


def _over_weights(subject: Subject, function: Callable[[Tensor, Tensor], Tensor]) -> Value:
    """The sum over weight tensors of a function of the weight and its gradient, in float64."""
    weights = subject.passed.network.weights
    return Value.of_parameters(
        {
            name: float(function(weights[name].detach().double(), slope.double()))
            for name, slope in subject.slopes.weights.items()
        }
    )


def _channel_fisher(products: Tensor) -> float:
    """Half the sum over channels of the mean square of sums over positions."""
    return float(products.double().sum(1).square().mean(0).sum()) / 2


GRADIENTS = Proxy(gradients, {"grad_norm": True, "snip": True})
PLAIN = Proxy(plain, {"plain": False})
FISHER = Proxy(fisher, {"fisher": True})
L2_NORM = Proxy(l2_norm, {"l2_norm": True})
GRASP = Proxy(grasp, {"grasp": True})
