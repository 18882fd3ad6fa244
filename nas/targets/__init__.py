"""Hardware targets: what a device runs, how it fuses, and what every kernel costs on it.

Read in this order: `capability` (bits and containers), `target`, `roofline` and `table` (where
figures come from), `target_files` (a target as TOML), `legality`; `correction`, `transfer` and
`adapters` make tables better, or out of other devices' and other people's.
"""

from nas.targets.errors import TargetError
from nas.targets.legality import legal
from nas.targets.target import HardwareTarget
from nas.targets.target_files import available, load_target

__all__ = ["HardwareTarget", "TargetError", "available", "legal", "load_target"]
