"""What belongs to one of several targets, found by the name of the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Named(Protocol):
    """Something with the name of a target."""

    @property
    def name(self) -> str:
        """The name of the target."""
        ...


Held = TypeVar("Held", bound=Named)


def of_target(held: Sequence[Held], target: str | None) -> Held:
    """The one of `held` that has the name of the target; None stands for the only target.

    Raises:
        ValueError: There is no such target, or there are several and None is given.
    """
    known = {one.name: one for one in held}
    if target is None and len(known) == 1:
        return held[0]
    if target is None or target not in known:
        given = "none" if target is None else repr(target)
        raise ValueError(f"name one of the targets {', '.join(known)}; given {given}")
    return known[target]


def objective_of(target: str, objectives: Sequence[str], asked: str | None) -> str:
    """The objective that is asked for, by default the first; raises `ValueError` for another."""
    found = asked or objectives[0]
    if found not in objectives:
        raise ValueError(
            f"target {target!r} has the objectives {', '.join(objectives)}; given {found!r}"
        )
    return found
