"""Where a user's network comes from: a function in a module, or a name of torchvision or timm."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.own.model import OwnModelError, listed
from nas.settings.own_modules import import_modules

PACKAGES = ("torchvision", "timm")
_NEAR = 5


@dataclass(frozen=True)
class Named:
    """The name of a network, `WHERE:WHAT`.

    Attributes:
        where: A Python file, an installed module, or `torchvision` or `timm`.
        what: The function or class in the module, or the name in the package.
    """

    where: str
    what: str

    @classmethod
    def read(cls, text: str) -> Named:
        """The name in a text.

        Raises:
            OwnModelError: The text is no name of a network.
        """
        where, colon, what = text.rpartition(":")
        if not (where and colon and what.replace(".", "_").replace("-", "_").isidentifier()):
            raise OwnModelError(
                f"{text!r} names no network; give FILE.py:FUNCTION, MODULE:FUNCTION, "
                "torchvision:NAME or timm:NAME, such as mymodel.py:build"
            )
        return cls(where, what)

    @property
    def runs_code(self) -> bool:
        """Whether making the network runs code of the user's own."""
        return self.where not in PACKAGES


def network_of(
    text: str, *, options: Mapping[str, Any], weights: Path | None, beside: Path
) -> nn.Module:
    """The network of a name, with weights from a file, in evaluation mode on the CPU.

    A network without a file of weights keeps those that its function gives it. Those of torchvision
    and timm are never downloaded: without a file they are random.

    Args:
        text: The name, see `Named`.
        options: Keyword arguments of the function.
        weights: A file of safetensors or numpy arrays, or one of `torch.save` with tensors alone.
        beside: The folder to which the path of a Python file is relative.

    Raises:
        OwnModelError: There is no such network, it cannot be made, or the weights do not fit.
        PartError: A module of the user cannot be imported.
    """
    named = Named.read(text)
    make = _MAKERS.get(named.where, _own)(named, beside)
    try:
        model = make(**options)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise OwnModelError(f"{text} made no network: {told}") from error
    if not isinstance(model, nn.Module):
        raise OwnModelError(
            f"{text} must give a torch module, given {type(model).__name__}; name the function "
            "that makes the network, or its class"
        )
    if weights is not None:
        load_weights(model, weights)
    return model.eval()


def _own(named: Named, beside: Path) -> Callable[..., Any]:
    [found] = import_modules([named.where], beside=beside)
    module = sys.modules[Path(found).stem if found.endswith(".py") else found]
    made: Any = module
    for part in named.what.split("."):
        made = getattr(made, part, None)
    if isinstance(made, nn.Module):
        return lambda **_: made
    if not callable(made):
        known = [name for name, one in vars(module).items() if callable(one) and name[0] != "_"]
        near = difflib.get_close_matches(named.what, known, _NEAR, 0.3) or known[:_NEAR]
        raise OwnModelError(
            f"{named.where} has no function {named.what!r}; there are {', '.join(near) or 'none'}"
        )
    return made


def _torchvision(named: Named, _beside: Path) -> Callable[..., Any]:
    models = _package("torchvision").models
    _require_known(named, models.list_models())
    return lambda **options: models.get_model(named.what, weights=None, **options)


def _timm(named: Named, _beside: Path) -> Callable[..., Any]:
    timm = _package("timm")
    _require_known(named, timm.list_models())
    return lambda **options: timm.create_model(named.what, pretrained=False, **options)


_MAKERS: Mapping[str, Callable[[Named, Path], Callable[..., Any]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise OwnModelError(
            f"the package {name} cannot be imported: {told}; install it, or name a function of "
            "yours that makes the network"
        ) from error


def _require_known(named: Named, known: Sequence[str]) -> None:
    if named.what not in known:
        near = difflib.get_close_matches(named.what, known, _NEAR, 0.3) or known[:_NEAR]
        raise OwnModelError(
            f"{named.where} has no network {named.what!r}; similar ones are {', '.join(near)}"
        )


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the tensors of a file into a network, all of them and no others.

    A prefix such as `module.` that all names have in common is left out, and so is a `state_dict`
    around the tensors. No file runs code.

    Raises:
        OwnModelError: The file cannot be read, or its tensors are not those of the network.
    """
    given, wanted = _state(path), model.state_dict()
    if not wanted.keys() & given.keys():
        heads = {name.partition(".")[0] for name in given}
        if len(heads) == 1:
            given = {name.partition(".")[2]: tensor for name, tensor in given.items()}
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    faults = []
    if missing := sorted(wanted.keys() - given.keys() - optional):
        faults.append(f"missing: {listed(missing)}")
    if unknown := sorted(given.keys() - wanted.keys()):
        faults.append(f"unknown: {listed(unknown)}")
    both = sorted(wanted.keys() & given.keys())
    if other := [name for name in both if wanted[name].shape != given[name].shape]:
        shapes = (f"{n} {tuple(given[n].shape)} for {tuple(wanted[n].shape)}" for n in other)
        faults.append(f"of another shape: {listed([*shapes])}")
    if faults:
        raise OwnModelError(
            f"the weights {path} do not fit the network: {'; '.join(faults)}; give its own "
            "state_dict, or the options with which it was trained"
        )
    model.load_state_dict(given, strict=False)


def _state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, by name."""
    remedy = "give a .safetensors or .npz file, or what torch.save made of a state_dict"
    if not path.is_file():
        raise OwnModelError(f"there is no file of weights {path}; correct the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: torch.from_numpy(array) for name, array in file.items()}
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError) as error:
        told = " ".join(str(error).split())[:300]
        raise OwnModelError(f"the weights {path} cannot be read: {told}; {remedy}") from error
    except Exception as error:  # what pickle and torch raise for files of other kinds
        raise OwnModelError(
            f"the weights {path} are no plain tensors ({type(error).__name__}), and no file is "
            f"read that could run code; {remedy}"
        ) from error
    return _tensors(held, path, remedy)


def _tensors(held: Any, path: Path, remedy: str) -> dict[str, Tensor]:
    """The tensors that `torch.load` found, also inside the state of a training."""
    for key in ("state_dict", "model"):
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not all(isinstance(t, Tensor) for t in held.values()):
        raise OwnModelError(f"the weights {path} hold no tensors by name; {remedy}")
    return dict(held)
