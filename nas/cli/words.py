"""The types of options in a user's words: KEY=VALUE or PATH, and nothing for a plain switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperGroup

_WORDS: dict[Any, str] = {bool: "", Path: "PATH", str: "NAME", int: "NUMBER", float: "NUMBER"}


class InWords(TyperGroup):
    """A group of commands in whose help all types without a word of their own have one."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        for command in self.commands.values():
            _name(command)

    def get_params(self, ctx: Any) -> list[Any]:
        """The options of the group itself, some of which typer adds later."""
        found = super().get_params(ctx)
        for parameter in found:
            _name_one(parameter)
        return found


def _name(command: Any) -> None:
    for parameter in command.params:
        _name_one(parameter)
    for inner in getattr(command, "commands", {}).values():
        _name(inner)


def _name_one(parameter: Any) -> None:
    if parameter.param_type_name == "argument":
        parameter.metavar = parameter.metavar or parameter.name.upper()
        parameter.display_type_rich = _nothing
    elif parameter.metavar is None:
        known = _WORDS.get(parameter.type_descriptor.annotation, "NAME")
        parameter.metavar = "KEY=VALUE" if "--set" in parameter.opts else known


def _nothing(ctx: Any) -> None:
    """The type of an argument, which its own word tells already."""
