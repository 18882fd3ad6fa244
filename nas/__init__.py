"""Search of architecture and quantization: `nas.search`, `nas.fit`, `nas.run`, `nas.targets`.

`nas.search(space, objective, ...)` searches a space for a function of yours, `nas.fit(model, ...)`
makes a trained network of yours smaller and faster on your devices, `nas.run(recipe, ...)` does
what the command `nas run` does, and `nas.targets` has the devices; docs/python.md shows all of
them. Nothing heavy is imported before one of them is used.

Read the packages in this order: `evaluation` (how a subnet is measured), `problem` (goals per
device), `search` (which subnets are measured), `archive` (how evaluations are kept), `run` (all
steps of a run), `api` (the functions for Python), `cli` (the command line).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.settings.siblings import require_own

if TYPE_CHECKING:
    from nas import targets as targets
    from nas.api.fitted import Fitted as Fitted
    from nas.api.fitting import fit as fit
    from nas.api.runs import Run as Run
    from nas.api.runs import run as run
    from nas.api.searching import search as search
    from nas.api.study import Network as Network
    from nas.api.study import Study as Study
    from nas.facts.metric import MetricWords as MetricWords
    from nas.facts.usage import Port as Port
    from nas.facts.usage import Scaling as Scaling
    from nas.facts.usage import Usage as Usage
    from nas.own.options import Channels as Channels
    from nas.own.options import Ranks as Ranks
    from nas.own.options import Tuning as Tuning

    __version__: str

require_own()

_ELSEWHERE = {
    "Channels": "nas.own.options",
    "Fitted": "nas.api.fitted",
    "MetricWords": "nas.facts.metric",
    "Network": "nas.api.study",
    "Port": "nas.facts.usage",
    "Ranks": "nas.own.options",
    "Run": "nas.api.runs",
    "Scaling": "nas.facts.usage",
    "Study": "nas.api.study",
    "Tuning": "nas.own.options",
    "Usage": "nas.facts.usage",
    "fit": "nas.api.fitting",
}
_ROOMS = ("run", "search", "targets")  # the first two can be called, see `nas.callable_room`

__all__ = [
    "Channels",
    "Fitted",
    "MetricWords",
    "Network",
    "Port",
    "Ranks",
    "Run",
    "Scaling",
    "Study",
    "Tuning",
    "Usage",
    "__version__",
    "fit",
    "run",
    "search",
    "targets",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("elastic-nas")
    if name in _ROOMS:
        return importlib.import_module(f"nas.{name}")
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
