"""Where a user's network comes from: a function in a module, or a name of torchvision or timm."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.own.model import OwnModelError, listed
from nas.own.packages import PACKAGES, Package
from nas.settings.own_modules import import_modules

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
    def package(self) -> Package | None:
        """The package that makes the network; None for a function of the user's own."""
        return PACKAGES.get(self.where)


class UnfitWeightsError(OwnModelError):
    """Weights whose tensors are not those of the network."""


def require_trained(text: str, options: Mapping[str, Any], weights: Path | None) -> None:
    """Refuse, before any work, a network that cannot be made or would have random weights.

    Args:
        text: The name, see `Named`.
        options: Keyword arguments of the function that makes the network.
        weights: A file of weights.

    Raises:
        OwnModelError: The package of the network is missing or has no such network, there is no
            such file, or a network of a package gets weights neither by a file nor by an option.
    """
    if weights is not None and not weights.is_file():
        raise OwnModelError(f"there is no file of weights {weights}; correct the path")
    named = Named.read(text)
    if named.package is None:
        return
    named.package.require(named.what)
    option, value = named.package.pretrained
    if weights is None and not options.get(option):
        raise OwnModelError(
            f"{text} has random weights, and nothing is downloaded unasked; give a file of "
            f"weights, or model.options = {{{option} = {json.dumps(value)}}} for those of "
            f"{named.where}"
        )


def network_of(
    text: str, *, options: Mapping[str, Any], weights: Path | None, beside: Path
) -> nn.Module:
    """The network of a name, with weights from a file, in evaluation mode on the CPU.

    A network without a file of weights keeps those that its function gives it. One of torchvision
    or timm needs a file, or the option of the package that loads trained weights.

    Args:
        text: The name, see `Named`.
        options: Keyword arguments of the function.
        weights: A file of safetensors or numpy arrays, or one of `torch.save` with tensors alone.
        beside: The folder to which the path of a Python file is relative.

    Raises:
        OwnModelError: There is no such network, it cannot be made, or the weights do not fit.
        PartError: A module of the user cannot be imported.
    """
    require_trained(text, options, weights)
    named = Named.read(text)
    make = _own(named, beside) if named.package is None else partial(named.package.make, named.what)
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


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the tensors of a file into a network, all of them and no others.

    A prefix such as `module.` that all names have in common is left out, and so is a `state_dict`
    around the tensors. No file runs code.

    Raises:
        OwnModelError: The file cannot be read.
        UnfitWeightsError: Its tensors are not those of the network.
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
        raise UnfitWeightsError(
            f"the weights {path} do not fit the network: {'; '.join(faults)}; give its own "
            "state_dict, or the options with which it was trained, such as num_classes"
        )
    model.load_state_dict(given, strict=False)


def _state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, by name."""
    remedy = "give a .safetensors or .npz file, or what torch.save made of a state_dict"
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
