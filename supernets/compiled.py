"""Compilation of C++ sources of this package into libraries, at first use and once per machine.

A library has plain C functions and includes no header of torch: a build takes about a second, needs
nothing but a compiler, and fits every version of torch. Each build is written elsewhere and then
moved to its place in a cache. Processes that build at the same time therefore disturb neither each
other nor later ones, and there is no lock that a killed build could leave behind.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

_LOG = logging.getLogger(__name__)
# Without contraction into fused multiply-adds, results are those of torch's separate operators.
_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-fopenmp"),
)
_SECONDS = 120.0


@cache
def library(source: Path) -> ctypes.CDLL | None:
    """The library of a C++ source file; None, with one warning in the log, if there can be none.

    The environment may name the compiler, in `CXX`, and the folder of caches, in `XDG_CACHE_HOME`.
    """
    try:
        return ctypes.CDLL(str(_built(source)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        _LOG.warning(
            "training is slower than it could be: %s was not compiled, and torch's own operators "
            "compute the same (%s); install a C++ compiler with OpenMP, or name one in CXX",
            source.name,
            str(said).strip(),
        )
        return None


def _built(source: Path) -> Path:
    """The path of the library, which is compiled unless the cache has it."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    # The macros that a compiler defines name its version and the instructions of this processor.
    macros = _run([compiler, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    key = hashlib.sha256("\0".join([source.read_text(), *_FLAGS, macros]).encode()).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elastic-nas"
    path = folder / f"{source.stem}-{key[:16]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / path.name
            _run([compiler, *_FLAGS, str(source), "-o", str(made)])
            made.replace(path)
    return path


def _run(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=_SECONDS
    ).stdout
