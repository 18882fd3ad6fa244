"""The condition of the neural tangent kernel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from predictors.proxies.layers import path_of
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject, slopes_of

SAMPLES = 16


def ntk_condition(subject: Subject) -> Mapping[str, Value]:
    """The proxy `ntk_condition`: the logarithm of the condition number of the tangent kernel.

    The kernel of samples i and j is the sum over all weights of g_i g_j, where g_i is the gradient
    of the summed output of sample i (Jacot et al. 2018; Chen et al. 2021, TE-NAS). The condition
    number is its largest eigenvalue by its smallest one; a smaller value promises a smaller loss.
    Infinite for a singular kernel. The value of a layer is that of the kernel of its own weights.
    At most 16 samples are used; a single one has no such value. Cost: one forward pass and as many
    backward passes as samples.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    count = min(subject.count, SAMPLES)
    if count < 2:
        return {}
    passed = subject.passed if count == subject.count else subject.part(0, count).passed
    weights = passed.network.weights
    own = torch.eye(count).to(passed.output)
    rows = [slopes_of(passed.output, [*weights.values()], _like(row, passed.output)) for row in own]
    kernels: dict[str, Tensor] = defaultdict(lambda: torch.zeros(count, count).double())
    for name, slopes in zip(weights, zip(*rows, strict=True), strict=True):
        flat = torch.stack([slope.flatten() for slope in slopes]).double()
        kernels[path_of(name)] += (flat @ flat.T).cpu()
    layers = {path: _log_condition(kernel) for path, kernel in kernels.items()}
    whole = torch.stack([*kernels.values()]).sum(0)
    return {"ntk_condition": Value(_log_condition(whole), layers)}


def _like(row: Tensor, output: Tensor) -> Tensor:
    """A factor for each sample, `(n,)`, in the shape of the output `(n, ...)`."""
    return row.reshape(-1, *(1,) * (output.ndim - 1)).expand_as(output)


def _log_condition(kernel: Tensor) -> float:
    """The logarithm of the condition number; infinite for a kernel that is singular or not finite.

    Eigenvalues below the rounding error of gradients in float32 count as zero.
    """
    if not bool(kernel.isfinite().all()):
        return math.inf
    values = torch.linalg.eigvalsh(kernel)
    least, most = float(values[0]), float(values[-1])
    noise = len(kernel) * torch.finfo(torch.float32).eps * most
    return math.log(most / least) if least > noise else math.inf


NTK = Proxy(ntk_condition, {"ntk_condition": False})
