"""A Ray cluster on this machine, for the tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def local_ray(cpus: int) -> Iterator[Any]:
    """Ray, connected to a cluster of its own with so many logical CPUs; skips without Ray."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
    )
    try:
        yield ray
    finally:
        ray.shutdown()
