"""The labels of a choice's options, as a dashboard shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from search_spaces.choice import Spec, is_open
from search_spaces.formats import Format

Label = bool | int | float | str | None


def labels(options: Sequence[Any]) -> list[Label]:
    """The labels of options: a plain option is its own label, a spec shows its differing fields.

    Specs of the same class that differ only in their number format have labels such as
    `format=int4`, or `format=Int(bits=4)` while the symmetry is still open.
    """
    shown = _shortest(options)
    return shown if len(set(shown)) == len(shown) else list(map(repr, options))


def _shortest(options: Sequence[Any]) -> list[Label]:
    specs = [option for option in options if isinstance(option, Spec)]
    if len({type(option) for option in specs}) != 1 or len(specs) == 1:
        return [_label(option) for option in options]
    shown = [dict(_shown(option)) for option in specs]
    apart = [name for name in shown[0] if len({one.get(name) for one in shown}) > 1]
    return [
        ", ".join(f"{name}={dict(_shown(option)).get(name)}" for name in apart)
        if isinstance(option, Spec)
        else _label(option)
        for option in options
    ]


def _label(option: Any) -> Label:
    """The label of one option: a plain option itself, or a spec with its fields without choices."""
    if option is None or isinstance(option, bool | int | float | str):
        return option
    if not isinstance(option, Spec):
        return repr(option)
    if isinstance(option, Format) and not is_open(option):
        return option.name
    shown = (f"{name}={value}" for name, value in _shown(option))
    return f"{type(option).__name__}({', '.join(shown)})"


def _shown(option: Spec) -> Iterator[tuple[str, Label]]:
    held = ((field.name, getattr(option, field.name)) for field in fields(option))
    return ((name, _label(value)) for name, value in held if not is_open(value))
