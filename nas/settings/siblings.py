"""The packages beside `nas`, which a folder of the same name in front of them would hide."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGES = ("search_spaces", "predictors", "supernets")


def require_own() -> None:
    """Import the packages beside `nas`, so that no other module of these names is found later.

    Raises:
        ImportError: Another folder or file of such a name stands before ours in `sys.path`, as in a
            project that has a folder `predictors/` of its own; the message names that folder.
    """
    beside = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        found = _found(name)
        if found is None:
            raise ImportError(
                f"the package {name!r}, a part of elastic-nas, is missing in {beside}; install "
                "elastic-nas anew"
            )
        if found != beside / name:
            raise ImportError(
                f"{found} hides the package {name!r} of elastic-nas, because Python looks there "
                "first; rename it, or start Python in another folder"
            )
        importlib.import_module(name)


def _found(name: str) -> Path | None:
    """The folder or file that `import` takes for a module; None if there is none."""
    held = sys.modules.get(name)
    if held is None:
        spec = importlib.util.find_spec(name)
        origin = None if spec is None else spec.origin
    else:
        origin = getattr(held, "__file__", None)
    if origin is None:
        return None
    path = Path(origin).resolve()
    return path.parent if path.stem == "__init__" else path
