"""Hardware targets: what a device can run, how it fuses operators, and what each kernel costs.

Read the modules in this order: `capability` (bits and containers), `target`, `roofline` and `table`
(the sources of costs), `target_files` (a target as TOML), `legality`. Then `correction` (whole
networks correct a table), `transfer` (costs from other devices) and `adapters` (published tables).
"""

from nas.targets.errors import TargetError
from nas.targets.legality import legal
from nas.targets.target import HardwareTarget
from nas.targets.target_files import available, load_target

__all__ = ["HardwareTarget", "TargetError", "available", "legal", "load_target"]
