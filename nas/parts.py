"""The table of named parts: everything that a recipe or the command line refers to by its name.

A part has a kind and a name. The shipped parts are listed in `parts.toml` as `module:attribute` and
are imported when they are asked for. A module of a user adds parts with `register`. An installed
package adds parts with entry points of the group `elastic_nas.parts`, which are called
`KIND.NAME`, such as `"searcher.mine" = "mine.search:make"`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

GROUP = "elastic_nas.parts"
Made = TypeVar("Made")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

SHIPPED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
)
"""Kind -> name -> where a shipped part stands. The first name of a kind is its default."""

# Parts whose package is not always installed with the engine: (package, extra that installs it).
_NEEDS = {("searcher", "age-moea"): ("numba", "peers")}


class PartError(ValueError, KeyError):
    """The error for a part that is not known, cannot be loaded or has the name of another part."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


@dataclass(frozen=True)
class Entry:
    """A part in the table.

    Attributes:
        where: The module and the name in this module, `module:name`.
        load: A function that imports the part.
    """

    where: str
    load: Callable[[], Any]


class Parts(Mapping[str, Any]):
    """All parts of a kind, by name; a part is imported when it is looked up.

    Args:
        kind: The kind, such as `searcher`.

    Raises:
        PartError: There is no such kind.
    """

    def __init__(self, kind: str) -> None:
        if kind not in SHIPPED:
            raise PartError(f"there is no kind of parts {kind!r}; there are {', '.join(SHIPPED)}")
        self.kind = kind

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __getitem__(self, name: str) -> Any:
        """The part called `name`.

        Raises:
            PartError: There is no such part, or its module cannot be imported.
        """
        entry = self.entry(name)
        try:
            return entry.load()
        except Exception as error:
            raise PartError(
                f"the {self.kind} {name!r} of {entry.where} cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error

    def entry(self, name: str) -> Entry:
        """The entry of the part called `name`, which is not imported.

        Raises:
            PartError: There is no such part, or a package that it needs is not installed.
        """
        entry = self._known(name)
        package, extra = _NEEDS.get((self.kind, name), ("", ""))
        if package and importlib.util.find_spec(package) is None:
            raise PartError(
                f"{name} needs {package}, which is not installed; run: pip install "
                f"'elastic-nas[{extra}]', or choose another {self.kind}: "
                f"{', '.join(other for other in self if other != name)}"
            )
        return entry

    def where(self, name: str) -> str:
        """Where the part called `name` stands, `module:name`; raises `PartError`."""
        return self._known(name).where

    @property
    def default(self) -> str:
        """The name of the part that is used where none is named."""
        return next(iter(SHIPPED[self.kind]))

    def _known(self, name: str) -> Entry:
        known = self._entries()
        if name not in known:
            raise PartError(f"there is no {self.kind} {name!r}; there are {', '.join(known)}")
        return known[name]

    def _entries(self) -> Mapping[str, Entry]:
        defined = _operators() if self.kind == "operator" else _shipped(self.kind)
        return {**_installed(self.kind), **defined, **_registered[self.kind]}


def register(kind: str, name: str) -> Callable[[Made], Made]:
    """A decorator that adds a part to the table; `register(kind, name)(part)` does the same.

    A module that is imported again replaces its own parts.

    Args:
        kind: The kind, such as `searcher`.
        name: The name in recipes: letters, digits, `_`, `.` and `-`.

    Raises:
        PartError: The name has another form, or another part of the kind has the same name.
    """
    known = Parts(kind)
    if not _NAME.fullmatch(name):
        raise PartError(
            f"a part is called by letters, digits, '_', '.' and '-', given {name!r}; rename it"
        )

    def add(made: Made) -> Made:
        named: Any = made if hasattr(made, "__qualname__") else type(made)
        where = f"{named.__module__}:{named.__qualname__}"
        taken = known._entries().get(name)
        if taken is not None and taken.where != where:
            raise PartError(
                f"the {kind} {name!r} of {where} has the name of {taken.where}; rename yours"
            )
        _registered[kind][name] = Entry(where, lambda: made)
        return made

    return add


def import_installed(kind: str) -> None:
    """Import the parts of a kind that installed packages have; raises `PartError` for a fault."""
    for name in _installed(kind):
        Parts(kind)[name]


_registered: dict[str, dict[str, Entry]] = {kind: {} for kind in SHIPPED}


@functools.cache
def _shipped(kind: str) -> Mapping[str, Entry]:
    return {name: Entry(where, _importing(where)) for name, where in SHIPPED[kind].items()}


def _operators() -> Mapping[str, Entry]:
    """All operators whose classes are defined, by the name of the class."""
    from search_spaces.choice import known_specs, spec_name
    from search_spaces.ops import Op

    found: dict[str, type[Op]] = {}
    for kind in known_specs(Op):
        other = found.setdefault(kind.__name__, kind)
        if spec_name(other) == other.__name__ and spec_name(kind) != kind.__name__:
            raise PartError(
                f"the operator {spec_name(kind)} has the name of a shipped one; rename yours"
            )
        found[kind.__name__] = kind  # the latest, where a module was imported again
    return {
        name: Entry(f"{kind.__module__}:{kind.__qualname__}", functools.partial(_same, kind))
        for name, kind in found.items()
    }


def _same(made: Any) -> Any:
    return made


def _importing(where: str) -> Callable[[], Any]:
    module, _, attribute = where.partition(":")
    return lambda: getattr(importlib.import_module(module), attribute)


@functools.cache
def _installed(kind: str) -> Mapping[str, Entry]:
    """The parts of installed packages, none of which is imported."""
    found: dict[str, Entry] = {}
    for entry in entry_points(group=GROUP):
        told, separator, name = entry.name.partition(".")
        where = f"{entry.value} (installed by {entry.dist.name if entry.dist else 'a package'})"
        if told not in SHIPPED or not separator or not _NAME.fullmatch(name):
            raise PartError(
                f"the entry point {entry.name!r} of {where} must be called KIND.NAME, where KIND "
                f"is one of {', '.join(SHIPPED)}; correct or uninstall that package"
            )
        if told == kind:
            other = _shipped(kind).get(name) or found.get(name)
            if other is not None:
                raise PartError(
                    f"the {kind} {name!r} of {where} has the name of {other.where}; uninstall one"
                )
            found[name] = Entry(where, entry.load)
    return found
