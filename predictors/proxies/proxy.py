"""Zero-cost proxies: their type, and a way to examine a module without changing it."""

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

Inputs = Tensor | Mapping[str, Tensor]
Batch = tuple[Inputs, Tensor]
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
    torch.tanh,
    Tensor.tanh,
)


@dataclass(frozen=True)
class Proxy:
    """A function that scores an untrained or shared-weight module without training it.

    Attributes:
        score: Called with a module, a batch and a loss, returns values by name. The batch is inputs
            and targets; inputs are one tensor `(n, ...)` or tensors by argument of the module. The
            loss maps outputs and targets to a scalar. The function leaves the module unchanged,
            also after an error. It draws no random number, and the same arguments give the same
            values.
        larger_is_better: For every name that `score` returns, whether a larger value promises a
            smaller loss.
    """

    score: Callable[[nn.Module, Batch, Loss], Mapping[str, float]]
    larger_is_better: Mapping[str, bool]


@dataclass(frozen=True)
class ProbedModule:
    """A module that runs on copies of its parameters and buffers.

    Attributes:
        module: The original module.
        parameters: Copies of the parameters by name; gradients are taken with respect to these.
        buffers: Copies of the buffers by name; the module writes into these.
    """

    module: nn.Module
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    @property
    def weights(self) -> list[Tensor]:
        """The parameters with two or more dimensions: weights of convolutions and linear maps.

        Raises:
            ValueError: If there are none.
        """
        found = [parameter for parameter in self.parameters.values() if parameter.ndim >= 2]
        if not found:
            raise ValueError(
                f"a gradient proxy needs a module with weights of two or more dimensions, given "
                f"{type(self.module).__name__} with {sorted(self.parameters)}; score it before "
                "its weights are turned into constants"
            )
        return found

    def __call__(self, inputs: Inputs) -> Tensor:
        """The output `(n, ...)` of the module."""
        # Autograd refuses tensors made in inference mode.
        inputs = each(inputs, lambda x: x.clone() if x.is_inference() else x)
        tensors = {**self.parameters, **self.buffers}
        if isinstance(inputs, Tensor):
            return functional_call(self.module, tensors, (inputs,))
        return functional_call(self.module, tensors, kwargs=dict(inputs))


def each(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with `function` applied to every tensor."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    return {name: function(tensor) for name, tensor in inputs.items()}


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """The tensors of the inputs."""
    return [inputs] if isinstance(inputs, Tensor) else [*inputs.values()]


@contextmanager
def probe(
    module: nn.Module,
    routes: Mapping[Function, Function],
    *,
    dtype: torch.dtype | None = None,
) -> Iterator[ProbedModule]:
    """A context in which a module runs on copies of its tensors and torch functions are replaced.

    The module is in evaluation mode, so dropout is off, and gradients are on. How a batch norm
    behaves depends on `routes`.

    Args:
        module: Any module. Only its training flags change, and they are restored at the end.
        routes: Torch function -> function that is called instead, also inside stock layers.
        dtype: The dtype of the copies of floating-point tensors; unchanged where left out.
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
    """A torch function mode that calls `routes[function]` in place of each function in `routes`."""

    def __init__(self, routes: Mapping[Function, Function]) -> None:
        super().__init__()
        self.routes = routes

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.routes.get(func, func)(*args, **(kwargs or {}))


def _batch_statistics(x: Tensor, _mean: Any, _variance: Any, **options: Any) -> Tensor:
    """`F.batch_norm` with the statistics of the batch.

    Torch passes all arguments but the first three by keyword.
    """
    return F.batch_norm(x, None, None, **{**options, "training": True})


def _straight_through(x: Tensor) -> Tensor:
    """The rounded `x`, with the gradient of the identity."""
    return x + (torch.round(x) - x).detach()


ROUNDINGS: tuple[Function, ...] = (torch.round, torch.round_, Tensor.round, Tensor.round_)

# Running statistics mean nothing in an untrained network. Proxies therefore normalize by the batch,
# as their authors do, and neither read nor write the running statistics of the module. A module for
# inference rounds in many places; the gradient must pass through all of them.
AS_TRAINED: Mapping[Function, Function] = {
    F.batch_norm: _batch_statistics,
    **dict.fromkeys(ROUNDINGS, _straight_through),
}
