"""A pretended GPU: tensors that live on the CPU and are told from those that only seem to be there.

Device discipline can then be shown on any machine: what mixes the two, or reads a tensor there as a
numpy array, fails as it would on a real device.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("cuda", 0)
_BACK = {torch.Tensor.numpy, torch.Tensor.__array__}
# What a CUDA build lets cross: copies, and indices that lie on the CPU.
_CROSSING = {"aten::copy_", "aten::_to_copy", "aten::index.Tensor", "aten::index_put_"}


class PretendedDevice:
    """A context in which `DEVICE` can be used; `holds` says whether a tensor is there."""

    def __init__(self) -> None:
        self._storages: dict[int, torch.UntypedStorage] = {}
        self.idle = False
        self._modes = (_Functions(self), _Operations(self))

    def __enter__(self) -> "PretendedDevice":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def holds(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._storages

    def take(self, tensor: Tensor) -> Tensor:
        """`tensor`, which counts as one of the device from now on."""
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = storage
        return tensor

    def copied(self, tensor: Tensor, *, here: bool) -> Tensor:
        """A copy of `tensor`, on the device or off."""
        self.idle = True
        try:
            copy = tensor.clone()
        finally:
            self.idle = False
        return self.take(copy) if here else copy


class _Functions(TorchFunctionMode):
    """What names a device: moves, factories, and the question where a tensor is."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, device = dict(kwargs or {}), self._device
        if func == torch.Tensor.device.__get__:
            return DEVICE if device.holds(args[0]) else func(*args)
        if func in _BACK and device.holds(args[0]):
            if kwargs.get("force"):
                return func(device.copied(args[0].detach(), here=False))
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use .cpu() first")
        if func is torch.Tensor.cpu:
            return self._moved(args[0], torch.device("cpu"))
        if func is torch.Tensor.to:
            return self._to(args, kwargs)
        wanted = kwargs.get("device")
        if wanted is not None and torch.device(wanted).type == DEVICE.type:
            return device.take(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)

    def _to(self, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """`Tensor.to` with a device, a dtype or another tensor; how it copies does not matter."""
        tensor, *rest = args
        rest += [kwargs.get("device"), kwargs.get("dtype")]
        here = self._device.holds(tensor)
        target = DEVICE if here else torch.device("cpu")
        kept: list[Any] = []
        for value in rest:
            if isinstance(value, Tensor):
                target = DEVICE if self._device.holds(value) else torch.device("cpu")
                kept.append(value.dtype)
            elif isinstance(value, str | torch.device):
                target = torch.device(value)
            elif isinstance(value, torch.dtype):
                kept.append(value)
        moved = self._moved(tensor, target)
        return torch.Tensor.to(moved, *kept) if kept else moved

    def _moved(self, tensor: Tensor, target: torch.device) -> Tensor:
        here = target.type == DEVICE.type
        return (
            tensor if self._device.holds(tensor) == here else self._device.copied(tensor, here=here)
        )


class _Operations(TorchDispatchMode):
    """What computes: operands must all be on the device or all off it."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, device = kwargs or {}, self._device
        if device.idle:
            return func(*args, **kwargs)
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [device.holds(tensor) for tensor in read]
        strangers = [t for t, on in zip(read, there, strict=True) if not on and t.dim()]
        if any(there) and strangers and func.name() not in _CROSSING:
            raise RuntimeError(
                f"{func.name()} got tensors on two devices, of shapes "
                f"{[tuple(tensor.shape) for tensor in read]}, on the device: {there}"
            )
        made = func(*args, **kwargs)
        if there and (there[0] if func.name() in _CROSSING else any(there)):
            for tensor in tree_leaves(made):
                if isinstance(tensor, Tensor):
                    device.take(tensor)
        return made
