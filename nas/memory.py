"""The memory that this process may use, so that a larger need is refused before any work."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """The bytes that this process may use: the machine's memory, or less by cgroup or ulimit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_cgroup_limits()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min([*limits, soft] if soft != resource.RLIM_INFINITY else limits)


def shortage(needed: float, *, limit: int | None = None) -> str:
    """An empty text if `needed` bytes fit into memory, else a part of a sentence about both sizes.

    Args:
        needed: Bytes that will be needed.
        limit: Bytes that may be used; those of `memory_limit` where left out.
    """
    limit = memory_limit() if limit is None else limit
    if needed <= limit:
        return ""
    return f"takes at least {gigabytes(needed)} of memory, and there are {gigabytes(limit)}"


def gigabytes(count: float) -> str:
    """A number of bytes as text in GB, such as `1.5 GB`."""
    return f"{count / 1e9:,.3g} GB" if count < 1e12 else f"{count / 1e9:,.0f} GB"


def _cgroup_limits() -> Iterator[int]:
    """The memory limits in bytes of this process's cgroup and its parents, version 1 or 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # another operating system
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _CGROUPS / "memory" if controllers else _CGROUPS
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        here = root / path.lstrip("/")
        for folder in (here, *here.parents):
            if folder.is_relative_to(root) and (folder / name).is_file():
                told = (folder / name).read_text(encoding="utf-8").strip()
                if told.isdecimal():  # otherwise the file says `max`: there is no limit
                    yield int(told)
