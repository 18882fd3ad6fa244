"""Where the command line begins: `nas`, or `python -m nas`."""

from __future__ import annotations

from nas import interrupts


def main() -> None:
    """Load the command line, which takes seconds, and run it; a signal ends either in one line."""
    interrupts.end_at_once()
    from nas import cli

    cli.main()


if __name__ == "__main__":
    main()
