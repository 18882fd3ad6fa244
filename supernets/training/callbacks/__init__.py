"""Additions to a training: `callback` has the base class, every other module an addition."""

from supernets.training.callbacks.callback import Callback

__all__ = ["Callback"]
