"""Rooms that can be called: `nas.search` is a package with modules, and a function as well."""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class CallableRoom(ModuleType):
    """A package that a call hands on to a function, which is imported then.

    Attributes:
        called: The function, as `module:name`.
    """

    called: str

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The result of the function."""
        return self._function(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        module, _, name = self.called.partition(":")
        return getattr(importlib.import_module(module), name)


def make_callable(name: str, function: str) -> None:
    """Let the package `name`, which is being imported, be called as `function`, `module:name`."""
    room = sys.modules[name]
    room.__class__ = CallableRoom
    vars(room)["called"] = function
