"""NASWOT: how different the activation patterns of the samples of a batch are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject


def naswot(subject: Subject) -> Mapping[str, Value]:
    """The proxy `naswot`: log |det K| (Mellor et al. 2021).

    K[i, j] counts the units that are both active or both inactive for samples i and j. A unit is
    one element of the input of a nonlinearity, and is active where it is positive. For ReLU this is
    the published definition; here it holds for all nonlinearities. The value is minus infinity if
    two samples have the same pattern or the network has no nonlinearity. The value of a layer is
    that of its own units alone. Cost: one forward pass.
    """
    alike = subject.passed.alike
    layers = {path: _log_determinant(kernels) for path, kernels in alike.items()}
    every = [kernel for kernels in alike.values() for kernel in kernels]
    return {"naswot": Value(_log_determinant(every) if every else -math.inf, layers)}


def _log_determinant(kernels: Sequence[Tensor]) -> float:
    return float(torch.linalg.slogdet(torch.stack([*kernels]).sum(0)).logabsdet)


NASWOT = Proxy(naswot, {"naswot": True})
