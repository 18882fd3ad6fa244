"""Networks of torchvision and timm: made by name, and given images as these packages give them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import torch

from nas.own.model import OwnModelError
from nas.tasks.picture import Fit

_NEAR = 5


@dataclass(frozen=True)
class KnownImages:
    """The images on which a package tests a network, with pixels from 0 to 1.

    Attributes:
        shape: Channels, height and width.
        fit: How an image that is no square becomes one.
        crop_share: The share of the shorter side that is left where images are cut.
        mean: What is subtracted from each channel.
        std: What each channel is divided by then.
    """

    shape: tuple[int, int, int]
    fit: Fit
    crop_share: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Package(Protocol):
    """A package that makes networks by name.

    Attributes:
        pretrained: The option that loads trained weights, and a value that does so, which may
            download them.
    """

    pretrained: tuple[str, Any]

    def require(self, name: str) -> None:
        """Raise `OwnModelError` if the package is missing or broken, or lacks a network."""
        ...

    def make(self, name: str, **options: Any) -> Any:
        """The network of a name; without the option `pretrained`, its weights are random."""
        ...

    def images(self, name: str) -> KnownImages | None:
        """How images are given to a network; None if the package does not say."""
        ...


class Torchvision:
    """The networks of torchvision."""

    pretrained: tuple[str, Any] = ("weights", "DEFAULT")

    def require(self, name: str) -> None:
        """Raise `OwnModelError` if torchvision cannot be used, or has no such network."""
        _require_known("torchvision", name, _imported("torchvision").models.list_models())

    def make(self, name: str, **options: Any) -> Any:
        """The network of a name."""
        models = _imported("torchvision").models
        return models.get_model(name, **{"weights": None, **options})

    def images(self, name: str) -> KnownImages | None:
        """How images are given to a network for its default weights; None unless it classifies."""
        weights = _imported("torchvision").models.get_model_weights(name).DEFAULT
        told = weights.transforms()
        if not hasattr(told, "crop_size"):
            return None
        [side], [before] = told.crop_size, told.resize_size
        share = min(1.0, side / before)
        return KnownImages((3, side, side), "crop", share, tuple(told.mean), tuple(told.std))


class Timm:
    """The networks of timm, with or without the tag of their weights: `resnet18.a1_in1k`."""

    pretrained: tuple[str, Any] = ("pretrained", True)

    def require(self, name: str) -> None:
        """Raise `OwnModelError` if timm cannot be used, or has no such network."""
        timm = _imported("timm")
        if not timm.is_model(name):
            _require_known("timm", name, timm.list_models())
        try:
            timm.get_pretrained_cfg(name)
        except RuntimeError as error:
            raise OwnModelError(
                f"timm:{name}: {error}; leave the tag behind the dot out"
            ) from error

    def make(self, name: str, **options: Any) -> Any:
        """The network of a name."""
        return _imported("timm").create_model(name, **{"pretrained": False, **options})

    def images(self, name: str) -> KnownImages | None:
        """How images are given to a network; None if there are no weights of this name."""
        told = _imported("timm").get_pretrained_cfg(name)
        fits: dict[str, Fit] = {"center": "crop", "squash": "stretch", "border": "pad"}
        if told is None or told.crop_mode not in fits:
            return None
        fit = fits[told.crop_mode]
        share = told.crop_pct if fit == "crop" else 1.0
        return KnownImages(told.input_size, fit, share, tuple(told.mean), tuple(told.std))


PACKAGES: Mapping[str, Package] = {"torchvision": Torchvision(), "timm": Timm()}


def _imported(name: str) -> Any:
    """A package, if it can be imported."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        try:
            held = version(name)
        except PackageNotFoundError:
            raise OwnModelError(
                f"the package {name} is not installed; run: pip install {name}, or name a function "
                "of yours that makes the network, such as mymodel.py:build"
            ) from error
        raise OwnModelError(
            f"{name} {held} is installed, but fails beside torch {torch.__version__}: {told}; "
            "install torch and torchvision from one source, since their wheels are compiled for "
            "each other, such as pip install --force-reinstall torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from error


def _require_known(package: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, _NEAR, 0.3) or known[:_NEAR]
        raise OwnModelError(
            f"{package} has no network {name!r}; similar ones are {', '.join(near)}"
        )
