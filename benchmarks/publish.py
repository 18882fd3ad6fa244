"""The publication of benchmarks: runs them and writes their output into pages of docs/.

    python -m benchmarks.publish compiled_costs "search_digits --seeds 5"

The output goes between the markers of the benchmark, together with the command, the date and the
machine. The text around the markers stays.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import re
import runpy
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

DOCS = Path(__file__).parent.parent / "docs"


def output(command: list[str]) -> str:
    """The output of a benchmark."""
    printed = io.StringIO()
    before = sys.argv
    sys.argv = command
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_module(f"benchmarks.{command[0]}", run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    return printed.getvalue().strip()


def place(name: str, content: str) -> None:
    """Write `content` between the markers of `name`; raises `ValueError` if there are none."""
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    for path in sorted(DOCS.rglob("*.md")):
        page = path.read_text()
        if pattern.search(page):
            path.write_text(pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", page))
            return
    raise ValueError(f"no page of {DOCS} has a section {name!r}; add its begin and end markers")


def machine() -> str:
    """The machine in a few words."""
    return (
        f"{os.cpu_count()} cores {platform.machine()}, {platform.system()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )


def main() -> None:
    """Run every benchmark that is named, with its options."""
    for argument in sys.argv[1:]:
        command = shlex.split(argument)
        made = output(command)
        stamp = datetime.now(UTC).strftime("%d %B %Y")
        place(command[0], f"`python -m benchmarks.{argument}` ({stamp}; {machine()})\n\n{made}")


if __name__ == "__main__":
    main()
