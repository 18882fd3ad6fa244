"""The types of options in a user's words: KEY=VALUE or PATH, and nothing for a plain switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_WORDS: dict[Any, str] = {bool: "", Path: "PATH", str: "NAME", int: "NUMBER", float: "NUMBER"}


def _nothing(ctx: Any) -> None:
    """The type of an argument, which its own word tells already."""


def named(command: Any) -> Any:
    """The same command, in whose help all types without a word of their own have one.

    Args:
        command: A command of typer, or a group of commands.
    """
    for parameter in command.params:
        if parameter.metavar is None and parameter.param_type_name == "argument":
            parameter.metavar = parameter.name.upper()
            parameter.display_type_rich = _nothing
        elif parameter.metavar is None:
            known = _WORDS.get(parameter.type_descriptor.annotation, "NAME")
            parameter.metavar = "KEY=VALUE" if "--set" in parameter.opts else known
    for inner in getattr(command, "commands", {}).values():
        named(inner)
    return command
