"""How long a run said that it would take, stage by stage, and how long it took.

python -m benchmarks.foretold runs/digits.toml --processor

With --processor, both are seconds of processor time, which other work on the machine hardly
changes; the recipe must then compute in one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.recipe.table_recipe import load_any_recipe
from nas.run.pipeline import run
from nas.run.steps import estimating
from nas.terminal.display import Advance, TerminalTable
from nas.terminal.forecast import Course


class Compared:
    """A display that keeps what was foretold of each stage, and what the stage took.

    Attributes:
        foretold: Stage -> seconds.
        took: Stage -> seconds.
    """

    timed = True

    def __init__(self) -> None:
        self.foretold: dict[str, float] = {}
        self.took: dict[str, float] = {}

    def say(self, what: str | TerminalTable) -> None:
        """Show nothing."""

    def expect(self, courses: Mapping[str, Course]) -> None:
        """Keep what is foretold."""
        self.foretold |= {name: course.left(0) for name, course in courses.items()}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A context for a stage, whose time is kept."""
        start = time.perf_counter()
        yield lambda done, total, note: None
        self.took[name] = time.perf_counter() - start


def main() -> None:
    """Run a recipe in a new folder and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--processor", action="store_true")
    asked = parser.parse_args()
    if asked.processor:
        time.perf_counter = time.process_time
        estimating.crowding = lambda: 1.0
    display = Compared()
    with tempfile.TemporaryDirectory() as folder:
        made = load_any_recipe(asked.recipe, asked.set)
        run(made, folder=Path(folder) / "run", display=display)
    print("| stage | foretold, s | took, s |\n| --- | --- | --- |")
    for name, took in display.took.items():
        print(f"| {name} | {display.foretold.get(name, 0.0):.1f} | {took:.1f} |")
    whole = [sum(seconds.values()) for seconds in (display.foretold, display.took)]
    print(f"| all | {whole[0]:.1f} | {whole[1]:.1f} |\n\n{whole[0] / whole[1] - 1:+.0%}")


if __name__ == "__main__":
    main()
