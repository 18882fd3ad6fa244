"""An object in two parts for other processes: its tensors as arrays, and all else as bytes."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.evaluation.connection import require_ray
from nas.evaluation.evaluation import Arrays


def apart(held: Any, shared: Iterable[Tensor]) -> tuple[bytes, Arrays]:
    """An object as bytes and as the arrays of its large tensors, which processes can share.

    Functions that other processes cannot import, such as those of a notebook, go along.

    Args:
        held: The object.
        shared: The tensors that become arrays, on the CPU; nobody may write to them.
    """
    tensors = [*shared]
    names = {id(tensor): str(number) for number, tensor in enumerate(tensors)}

    class Apart(require_ray().cloudpickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            return names.get(id(obj))

    file = io.BytesIO()
    Apart(file).dump(held)
    arrays = {names[id(one)]: one.detach().contiguous().numpy() for one in tensors}
    return file.getvalue(), arrays


def joined(frame: bytes, arrays: Arrays) -> Any:
    """The object that `apart` took apart, whose large tensors lie in the memory of the arrays."""

    class Joined(pickle.Unpickler):
        def persistent_load(self, pid: str) -> Tensor:
            return shared_tensor(arrays[pid])

    with warnings.catch_warnings():  # torch's own description of a single output warns of itself
        warnings.filterwarnings("ignore", r"`isinstance\(treespec", FutureWarning)
        return Joined(io.BytesIO(frame)).load()


def shared_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of `array`, which is read-only in a worker."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
