"""Counts of parameters and operations: the baseline that every other proxy has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies.proxy import Batch, Function, Loss, Proxy, each, probe
from search_spaces import costs
from search_spaces.costs import CompiledCost, SpaceKernels

# Function -> multiply-accumulates per output element, given its first two arguments. Torch's own
# counter gives the same numbers, but its first use loads torch's compiler and takes seconds.
_REDUCTION: dict[Function, Callable[[Tensor, Tensor], int]] = {
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), lambda _, weight: weight[0].numel()),
    F.linear: lambda _, weight: weight.shape[-1],
    **dict.fromkeys(
        (torch.matmul, torch.bmm, torch.mm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm),
        lambda left, _: left.shape[-1],
    ),
}


def counts(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """The proxies `params`, the elements of all parameters, and `macs` for one sample.

    MACs are the multiply-accumulates of convolutions, linear maps and matrix products.
    """
    macs: list[int] = []

    def counting(function: Function) -> Function:
        def counted(left: Tensor, right: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            output = function(left, right, *args, **kwargs)
            macs.append(output.numel() * _REDUCTION[function](left, right))
            return output

        return counted

    routes = {function: counting(function) for function in _REDUCTION}
    with probe(module, routes) as network, torch.no_grad():
        network(each(batch[0], lambda x: x[:1]))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return {"params": float(parameters), "macs": float(sum(macs))}


COUNTS = Proxy(counts, {"params": True, "macs": True})


def space_counts(kernels: SpaceKernels) -> dict[str, CompiledCost]:
    """The costs `params`, `macs`, `bitops` and `model_bytes` of every genotype, by name.

    Here `params` counts the deployed network, whose norms are folded; `counts` counts the
    parameters of a module, norms included.
    """
    by_name = {
        "params": costs.parameters,
        "macs": costs.macs,
        "bitops": costs.bitops,
        "model_bytes": costs.model_bytes,
    }
    return {name: kernels.compile(cost) for name, cost in by_name.items()}
