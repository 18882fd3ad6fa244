"""A way to examine a module without changing it: on copies, with other torch functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
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
    F.prelu,
    F.elu,
    F.celu,
    F.selu,
    F.gelu,
    F.silu,
    F.mish,
    F.hardswish,
    F.softplus,
    torch.tanh,
    Tensor.tanh,
)


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
    def weights(self) -> dict[str, Tensor]:
        """The parameters with two or more dimensions, by name, as of convolutions and linear maps.

        Raises:
            ValueError: If there are none.
        """
        found = {name: tensor for name, tensor in self.parameters.items() if tensor.ndim >= 2}
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
    behaves depends on `routes`. A module that draws random numbers draws the same ones each time,
    and the states of torch's generators are restored. Fused kernels of attention and recurrent
    layers are off, since they cannot be differentiated twice.

    Args:
        module: Any module. Only its training flags change, and they are restored at the end.
        routes: Torch function -> function that is called instead, also inside stock layers.
        dtype: The dtype of the copies of floating-point tensors; unchanged where left out.
    """
    training = {part: part.training for part in module.modules()}
    recurrent = any(isinstance(part, nn.RNNBase) for part in training)

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().to(dtype if tensor.is_floating_point() else None)

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(_devices(module)))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            fused = torch.backends.mkldnn
            stack.callback(setattr, fused, "enabled", fused.enabled)
            fused.enabled = False
        torch.manual_seed(0)
        stack.enter_context(_Rerouted(routes))
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


def _devices(module: nn.Module) -> list[torch.device]:
    """The CUDA devices that hold tensors of a module, whose generators it may use."""
    if not torch.cuda.is_available():
        return []
    held = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    return sorted((device for device in held if device.type == "cuda"), key=str)


class _Rerouted(TorchFunctionMode):
    """A torch function mode that calls `routes[function]` in place of each function in `routes`."""

    def __init__(self, routes: Mapping[Function, Function]) -> None:
        super().__init__()
        self.routes = routes

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.routes.get(func, func)(*args, **(kwargs or {}))


def batch_statistics(x: Tensor, mean: Any, variance: Any, **options: Any) -> Tensor:
    """`F.batch_norm` with the statistics of the batch; a single value per channel has none.

    Torch passes all arguments but the first three by keyword.
    """
    if x.numel() == x.shape[1]:
        return F.batch_norm(x, mean, variance, **{**options, "training": mean is None})
    return F.batch_norm(x, None, None, **{**options, "training": True})


def _straight_through(x: Tensor) -> Tensor:
    """The rounded `x`, with the gradient of the identity."""
    return x + (torch.round(x) - x).detach()


ROUNDINGS: tuple[Function, ...] = (torch.round, torch.round_, Tensor.round, Tensor.round_)


def _hardsigmoid(x: Tensor, *_args: object, **_options: object) -> Tensor:
    """`F.hardsigmoid`, whose gradient torch cannot differentiate."""
    return torch.clamp(x / 6 + 0.5, 0.0, 1.0)


# What keeps values as they are and lets gradients pass, also twice.
DIFFERENTIABLE: Mapping[Function, Function] = {
    F.hardsigmoid: _hardsigmoid,
    **dict.fromkeys(ROUNDINGS, _straight_through),
}

# Running statistics mean nothing in an untrained network. Proxies therefore normalize by the batch,
# as their authors do, and neither read nor write the running statistics of the module. A module for
# inference rounds in many places; the gradient must pass through all of them.
AS_TRAINED: Mapping[Function, Function] = {
    F.batch_norm: batch_statistics,
    **DIFFERENTIABLE,
}


def _same(x: Tensor, *_args: object, **_kwargs: object) -> Tensor:
    return x


CLAMPS: tuple[Function, ...] = (torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_)
FAKE_QUANTIZERS: tuple[Function, ...] = (
    torch.fake_quantize_per_tensor_affine,
    torch.fake_quantize_per_channel_affine,
    torch.fused_moving_avg_obs_fake_quant,
)


def _unrounded(x: Tensor) -> Tensor:
    """`x` in place of its rounded values; the clamp that may follow knows it by a mark."""
    same = x.view_as(x)
    setattr(same, _MARK, True)
    return same


def _unclamped(function: Function) -> Function:
    """A clamp that lets pass what would have been rounded before."""

    def clamped(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return x if hasattr(x, _MARK) else function(x, *args, **options)

    return clamped


_MARK = "_not_rounded"

# Without these functions, a quantized network is one in full precision. A clamp is part of a
# quantizer only after a rounding.
UNQUANTIZED: Mapping[Function, Function] = {
    **dict.fromkeys(ROUNDINGS, _unrounded),
    **{clamp: _unclamped(clamp) for clamp in CLAMPS},
    **dict.fromkeys(FAKE_QUANTIZERS, _same),
}

# With absolute weights and an input of ones, every value is positive, and there a rectifier is
# linear. Norms and fake quantizers would undo the scale that is measured; bounded nonlinearities
# would saturate and hide all layers before them.
LINEAR: Mapping[Function, Function] = {
    **dict.fromkeys(
        (
            *NONLINEARITIES,
            *ROUNDINGS,
            *CLAMPS,
            *FAKE_QUANTIZERS,
            F.batch_norm,
            F.layer_norm,
            F.group_norm,
            F.instance_norm,
            F.rms_norm,
        ),
        _same,
    ),
}
