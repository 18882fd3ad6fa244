"""How much memory this process may have, told before it is asked for more."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """Bytes: the machine's memory, or less where a cgroup or `ulimit -v` allows less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_cgroup_limits()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min([*limits, soft] if soft != resource.RLIM_INFINITY else limits)


def shortage(needed: float, *, limit: int | None = None) -> str:
    """Nothing where `needed` bytes fit; else what is needed and what there is, to be told."""
    limit = memory_limit() if limit is None else limit
    if needed <= limit:
        return ""
    return f"takes at least {gigabytes(needed)} of memory, and there are {gigabytes(limit)}"


def gigabytes(count: float) -> str:
    """`count` bytes as they are told."""
    return f"{count / 1e9:,.3g} GB" if count < 1e12 else f"{count / 1e9:,.0f} GB"


def _cgroup_limits() -> Iterator[int]:
    """The limits of this process's cgroup and of those around it, in version 1 or 2."""
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
                if told.isdecimal():  # else there is no limit, told as `max`
                    yield int(told)
