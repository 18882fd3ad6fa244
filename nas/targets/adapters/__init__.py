"""Adapters for published latency tables: each reads one format and maps its figures to kernels.

Read the modules in this order: `imported` (the result of an import), `adapter` (the protocol),
`collect` (the checks). Then read any format, such as `apq` (convolutions) or `ofa` (blocks), and
`writing`, which makes targets.
"""

from collections.abc import Mapping

from nas.parts import Parts
from nas.targets.adapters.adapter import Adapter
from nas.targets.adapters.imported import Imported
from nas.targets.adapters.writing import target, write

ADAPTERS: Mapping[str, type[Adapter]] = Parts("table-format")
"""Name of a format -> its adapter."""

__all__ = ["ADAPTERS", "Adapter", "Imported", "target", "write"]
