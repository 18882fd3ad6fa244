"""Benchmarks of proxies and learned predictors: `python -m benchmarks.predictors PART`."""

from __future__ import annotations

import sys

from benchmarks.predictors import (
    conditions,
    joined,
    layers,
    learned,
    proxy_costs,
    proxy_values,
    speed,
    transfer,
)

PARTS = {
    "conditions": conditions.main,
    "joined": joined.main,
    "layers": layers.main,
    "learned": learned.main,
    "proxies": proxy_costs.main,
    "proxy-values": proxy_values.main,
    "speed": speed.main,
    "transfer": transfer.main,
}


def main() -> None:
    """Run the part that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in PARTS:
        sys.exit(f"no part {name!r} of this benchmark; there are {', '.join(PARTS)}")
    PARTS[name](sys.argv[2:])


main()
