"""What a zero-cost proxy is, and how it looks into a module without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Function = Callable[..., Any]

NONLINEARITIES: tuple[Function, ...] = (
    F.relu,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    Tensor.relu_,
    F.relu6,
    F.hardtanh,
    F.leaky_relu,
    F.elu,
    F.gelu,
    F.silu,
    F.mish,
    F.hardswish,
)


@dataclass(frozen=True)
class Proxy:
    """A score of an untrained or shared-weight module, and which way it points.

    Attributes:
        score: `(module, batch, loss)` -> value by name. Pure: the module is as before whatever
            happens, the same arguments give the same values, no random number is drawn. `batch` is
            images `(n, channels, height, width)` and labels `(n,)`; `loss` maps logits and labels
            to a scalar.
        larger_is_better: For every name that `score` gives, whether a larger value promises a
            smaller loss.
    """

    score: Callable[[nn.Module, Batch, Loss], Mapping[str, float]]
    larger_is_better: Mapping[str, bool]


@dataclass(frozen=True)
class ProbedModule:
    """A module run on copies of its tensors.

    Attributes:
        parameters: Copies by name that gradients are taken with respect to.
        buffers: Copies by name; what the module writes lands in them.
    """

    module: nn.Module
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    @property
    def weights(self) -> list[Tensor]:
        """The parameters of two or more dimensions: convolutions and linear maps, no norm or bias.

        Raises `ValueError` if there are none.
        """
        found = [parameter for parameter in self.parameters.values() if parameter.ndim >= 2]
        if not found:
            raise ValueError(
                f"a gradient proxy needs a module with weights of two or more dimensions, given "
                f"{type(self.module).__name__} with {sorted(self.parameters)}; score it before "
                "its weights are turned into constants"
            )
        return found

    def __call__(self, images: Tensor) -> Tensor:
        """The logits of `images`."""
        if images.is_inference():  # autograd refuses tensors made in inference mode
            images = images.clone()
        return functional_call(self.module, {**self.parameters, **self.buffers}, (images,))


@contextmanager
def probe(
    module: nn.Module,
    routes: Mapping[Function, Function],
    *,
    dtype: torch.dtype | None = None,
) -> Iterator[ProbedModule]:
    """`module` in evaluation mode with gradients on, and the functions rerouted.

    Dropout is off; what a batch norm does is up to the routes.

    Args:
        module: Any module; nothing of it is changed but its training flags, which are restored.
        routes: torch function -> what is called in its place, also inside stock layers.
        dtype: What the copies of floating-point parameters and buffers become; else as they are.
    """
    training = {part: part.training for part in module.modules()}

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().to(dtype if tensor.is_floating_point() else None)

    with torch.inference_mode(mode=False), torch.enable_grad(), _Rerouted(routes):
        try:
            module.eval()
            yield ProbedModule(
                module,
                {name: copy(p).requires_grad_() for name, p in module.named_parameters()},
                {name: copy(buffer) for name, buffer in module.named_buffers()},
            )
        finally:
            for part, flag in training.items():
                part.training = flag


class _Rerouted(TorchFunctionMode):
    """Calls another function in place of each torch function that it knows a route for."""

    def __init__(self, routes: Mapping[Function, Function]) -> None:
        super().__init__()
        self.routes = routes

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.routes.get(func, func)(*args, **(kwargs or {}))


def _batch_statistics(x: Tensor, _mean: Any, _variance: Any, **options: Any) -> Tensor:
    """`F.batch_norm` by the batch; torch hands on all but the first three by keyword."""
    return F.batch_norm(x, None, None, **{**options, "training": True})


def _straight_through(x: Tensor) -> Tensor:
    """Rounds with the gradient of the identity."""
    return x + (torch.round(x) - x).detach()


ROUNDINGS: tuple[Function, ...] = (torch.round, torch.round_, Tensor.round, Tensor.round_)

# Running statistics mean nothing in an untrained network, so the proxies of a batch normalize by
# the batch, as their authors do; the statistics that the module keeps are neither read nor written.
# Rounding, of which a module for inference is full, must let the gradient through.
AS_TRAINED: Mapping[Function, Function] = {
    F.batch_norm: _batch_statistics,
    **dict.fromkeys(ROUNDINGS, _straight_through),
}
