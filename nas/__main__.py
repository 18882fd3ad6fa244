"""The entry point of the command line: `nas`, or `python -m nas`."""

from __future__ import annotations

import gc

from nas.terminal import interrupts


def main() -> None:
    """Load the command line and run it; a signal ends both with one line of text."""
    interrupts.end_at_once()
    gc.disable()  # till the modules of a command are loaded: nothing that they make is garbage
    from nas.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
