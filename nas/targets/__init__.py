"""Hardware targets: what a device runs, how it fuses, and what every kernel costs on it.

Read in this order: `capability` (bits and containers), `target`, `roofline` and `table` (where
figures come from), `files` (a target as TOML), `legality`, `profiling` (measuring).
"""

from nas.targets.errors import TargetError
from nas.targets.files import available, load_target
from nas.targets.legality import legal
from nas.targets.target import HardwareTarget

__all__ = ["HardwareTarget", "TargetError", "available", "legal", "load_target"]
