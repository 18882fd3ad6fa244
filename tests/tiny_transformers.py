"""Options of the smallest transformers that still have every choice."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "widths": (8, 12),
    "depths": (1, 2),
    "heads": (1, 2, 3),
    "head_sizes": (2, 4),
    "hidden": (8, 16),
}
