"""Counts of parameters and operations: the baseline that every other proxy has to beat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from predictors.proxies.grid import bits_of
from predictors.proxies.layers import paths
from predictors.proxies.probe import each, probe
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject
from search_spaces import costs
from search_spaces.costs import CompiledCost, SpaceKernels

_aten = torch.ops.aten
# Operator -> the places of the two factors, of which the second may be a weight.
_FACTORS: Mapping[Any, tuple[int, int]] = {
    **dict.fromkeys((_aten.convolution, _aten.mm, _aten.bmm, _aten.mv, _aten.dot), (0, 1)),
    **dict.fromkeys((_aten.addmm, _aten.baddbmm, _aten.addmv), (1, 2)),
}
Counted = Mapping[str, tuple[int, int]]
"""Path of a module -> its multiply-accumulates, and their sum weighted with the bits of both."""


def counts(subject: Subject) -> Mapping[str, Value]:
    """The proxies `params`, the elements of all parameters, and `macs` for one sample.

    MACs are the multiply-accumulates of convolutions, linear maps and matrix products. Cost: one
    forward pass of one sample.
    """
    named = subject.module.named_parameters()
    params = {name: float(parameter.numel()) for name, parameter in named}
    macs = {path: float(found) for path, (found, _) in _counted(subject).items()}
    return {"params": Value.of_parameters(params), "macs": Value.summed(macs)}


def bitops(subject: Subject) -> Mapping[str, Value]:
    """The proxy `bitops` for one sample: MACs times the bits of both factors.

    The bits of a tensor are seen by its values: those of the smallest uniform grid of at most 8
    bits that holds them all, for weights one grid per output channel; else 32. Cost: one forward
    pass of one sample.
    """
    found = {path: float(weighted) for path, (_, weighted) in _counted(subject).items()}
    return {"bitops": Value.summed(found)}


def _counted(subject: Subject) -> Counted:
    return subject.kept(_count)


def _count(subject: Subject) -> Counted:
    # A probe has gradients on, so that no layer runs as one operator that hides its products.
    with (
        paths(subject.module) as path,
        probe(subject.module, {}) as network,
        _Counting(path) as counting,
    ):
        network(each(subject.inputs, lambda x: x[:1]))
    return {path: (macs, weighted) for path, (macs, weighted) in counting.found.items()}


class _Counting(TorchDispatchMode):
    """A mode that counts the products of every operator, by the path of the module that runs."""

    def __init__(self, path: Callable[[], str]) -> None:
        super().__init__()
        self._path = path
        self.found: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator in _FACTORS:
            left, right = (args[place] for place in _FACTORS[operator])
            macs = _macs(operator, left, right, output, args)
            at = self.found[self._path()]
            at[0] += macs
            at[1] += macs * bits_of(left.reshape(1, -1)) * bits_of(_channels(operator, right))
        return output


def _channels(operator: Any, right: Tensor) -> Tensor:
    """A second factor as rows of output channels; a single row if it is no weight."""
    if operator is _aten.convolution:
        return right.flatten(1)
    return right.T if right.ndim == 2 else right.reshape(1, -1)


def _macs(operator: Any, left: Tensor, right: Tensor, output: Tensor, args: Any) -> int:
    if operator is not _aten.convolution:
        return output.numel() * left.shape[-1]
    transposed = args[6]
    return (left if transposed else output).numel() * right[0].numel()


COUNTS = Proxy(counts, {"params": True, "macs": True})
BITOPS = Proxy(bitops, {"bitops": True})


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
