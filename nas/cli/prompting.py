"""Questions at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from nas.drafting.asking import Ask, Check, unasked
from nas.terminal.display import say


def asker(*, yes: bool) -> Ask:
    """The function that asks the user, or that takes the defaults if nobody is to be asked.

    Args:
        yes: Whether the user wants to be asked nothing.
    """
    return unasked if yes or not is_terminal() else _asked


def is_terminal() -> bool:
    """Whether somebody sits at the terminal who can be asked."""
    return sys.stdin.isatty()


def _asked(
    question: str,
    *,
    key: str,
    options: Sequence[str] = (),
    default: str | None = None,
    check: Check | None = None,
) -> str:
    """The answer of the user at the terminal, asked again until it is allowed."""
    choices = f" [{', '.join(options)}]" if options else ""
    while True:
        answer = str(typer.prompt(f"{question}{choices}", default=default)).strip()
        wrong = _wrong(answer, options, check)
        if wrong is None:
            return answer
        say(f"{wrong}; or stop, and give {key}")


def _wrong(answer: str, options: Sequence[str], check: Check | None) -> str | None:
    """What is wrong with an answer, in words; None if it is allowed."""
    if options and answer not in options:
        return f"answer one of {', '.join(options)}"
    try:
        if check is not None:
            check(answer)
    except ValueError as error:
        return str(error)
    return None
