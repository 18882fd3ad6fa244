"""A user's network before any work: whether it can be used, and if not, why."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_SHOWN = 3


class OwnModelError(ValueError):
    """A network, its data or its metric that cannot be used; the message says why and what to do.

    Where several things are wrong, the message tells all of them.
    """


def require_model(model: object) -> nn.Module:
    """The network itself, if it can be used as it is: float32, on the CPU, in evaluation mode.

    Raises:
        OwnModelError: It cannot; everything that is wrong is listed.
    """
    if not isinstance(model, nn.Module):
        raise OwnModelError(
            f"a model is a torch module, given {type(model).__name__}; give the network itself, "
            "not its weights or its class"
        )
    if faults := [*_faults(model)]:
        raise OwnModelError(f"the model cannot be used as it is: {'; '.join(faults)}")
    return model


def _faults(model: nn.Module) -> Iterator[str]:
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if not any(True for _ in model.parameters()):
        yield "it has no parameters, so there is nothing to quantize; give a trained network"
    training = [name or "the model" for name, part in model.named_modules() if part.training]
    if training:
        yield f"it is in training mode ({listed(training)}); call model.eval()"
    elsewhere = [name for name, tensor in held.items() if tensor.device.type != "cpu"]
    if elsewhere:
        where = held[elsewhere[0]].device
        yield f"it is on the device {where} ({listed(elsewhere)}); give model.cpu()"
        return  # whose values cannot be read
    floats = {name: tensor for name, tensor in held.items() if tensor.is_floating_point()}
    other = [name for name, tensor in floats.items() if tensor.dtype != torch.float32]
    if other:
        kind = str(floats[other[0]].dtype).removeprefix("torch.")
        yield f"it holds numbers of the type {kind} ({listed(other)}); give model.float()"
    broken = [name for name, tensor in floats.items() if not bool(tensor.isfinite().all())]
    if broken:
        yield f"it holds NaN or infinity ({listed(broken)}); load weights of a whole training"


def require_layers(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The names of layers that are to be left alone, if the network has all of them.

    A name is the path of a module, such as `layer4.1`, and stands for all layers in it too.

    Raises:
        OwnModelError: The network has no module of a name; similar names are told.
    """
    known = [name for name, _ in model.named_modules() if name]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, _SHOWN, 0.4) or known[:_SHOWN]
            raise OwnModelError(
                f"the model has no layer {name!r}, which is to be left alone; similar names are "
                f"{', '.join(near)}, and model.named_modules() tells all {len(known)}"
            )
    return tuple(names)


def forward_names(model: nn.Module) -> tuple[tuple[str, ...], int]:
    """The names of the arguments that `forward` takes by position, and how many it needs."""
    taken = [
        parameter
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    needed = sum(parameter.default is parameter.empty for parameter in taken)
    return tuple(parameter.name for parameter in taken), needed


def called(model: nn.Module, given: Any) -> Any:
    """The output of a network for a batch: a tensor, a sequence of tensors, or some by name."""
    with torch.no_grad():
        if isinstance(given, Tensor):
            return model(given)
        return model(**given) if isinstance(given, dict) else model(*given)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    left = len(names) - _SHOWN
    return ", ".join([*names[:_SHOWN], *([f"and {left} more"] if left > 0 else [])])
