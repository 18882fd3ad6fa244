"""The decoder of space files: JSON becomes specs, and every field is checked against its type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from inspect import signature
from typing import Any

from search_spaces.choice import Choice, Derived, Spec, known_specs, spec_name
from search_spaces.documents import MOST_DEPTH, Source, path_of, shortened
from search_spaces.fields import declared, misfit

Place = tuple[int | str, ...]
MOST_USES = 100_000


class Decoder:
    """A decoder that turns the JSON of one space file back into specs; each choice is made once.

    Args:
        options: Choice name -> the options of the choice, as JSON.
        source: The file, for errors.
    """

    def __init__(self, options: Mapping[str, list[Any]], source: Source) -> None:
        self._options, self._source = options, source
        self._specs = {spec_name(kind): kind for kind in known_specs(Spec)}
        self._choices: dict[str, Choice[Any]] = {}
        self._extent: dict[str, tuple[int, int]] = {}
        self._open: dict[str, None] = {}
        self._met = (0, 0)

    def __call__(self, value: Any, place: Place) -> Any:
        """The spec, placeholder, tuple or plain value that `value` stands for.

        Args:
            value: JSON, as `search_spaces.serialize.encode` writes it.
            place: The keys and positions that lead to `value` in the file, for errors.

        Raises:
            UnreadableFile: With the place of the first fault.
        """
        if isinstance(value, list):
            return tuple(self(part, (*place, number)) for number, part in enumerate(value))
        if not isinstance(value, dict):
            return value
        match [key for key in ("$choice", "$derived", "$spec") if isinstance(value.get(key), str)]:
            case ["$choice"] if len(value) == 1:
                return self._choice(value["$choice"], place)
            case ["$derived"] if value.keys() == {"$derived", "arguments"}:
                return self._derived(value, place)
            case ["$spec"]:
                return self._spec(value, place)
            case _:
                raise self._error("is none of $choice, $derived and $spec", place)

    @property
    def made(self) -> set[str]:
        """The names of the choices that were decoded."""
        return {*self._choices}

    def _error(self, fault: str, place: Place) -> Exception:
        return self._source.error(fault, place=path_of(place))

    def _choice(self, name: str, place: Place) -> Choice[Any]:
        if name not in self._options:
            raise self._error(f"choice {name!r} is not among the choices of the file", place)
        if name in self._open:
            raise self._error(f"choice {name!r} is among its own options", place)
        if name not in self._choices:
            before, self._met = self._met, (0, 0)
            self._open[name] = None
            options = self(self._options[name], ("choices", name))
            with located(self._source, ("choices", name)):
                self._choices[name] = Choice(name, options)
            del self._open[name]
            self._extent[name], self._met = self._met, before
        self._count(name, place)
        return self._choices[name]

    def _count(self, name: str, place: Place) -> None:
        """Refuse a choice whose uses are nested too deep or too many.

        Later code visits a nested choice once per use, so a small file could cause endless work.
        """
        depth, uses = self._extent[name]
        self._met = max(self._met[0], depth + 1), self._met[1] + uses + 1
        if self._met[0] > MOST_DEPTH or self._met[1] > MOST_USES:
            raise self._error(
                f"choice {name!r} is used within options of others more than {MOST_DEPTH} deep, or "
                f"more than {MOST_USES} times in all",
                place,
            )

    def _derived(self, value: Mapping[str, Any], place: Place) -> Derived:
        arguments = self(value["arguments"], (*place, "arguments"))
        with located(self._source, place):
            made = Derived(value["$derived"], tuple(arguments))
            given = signature(made.made_by).bind(*made.arguments).arguments
            kinds = declared(made.made_by)
        self._require_fit(given, kinds, (*place, "arguments"))
        return made

    def _spec(self, value: Mapping[str, Any], place: Place) -> Spec:
        kind = self._specs.get(value["$spec"])
        if kind is None:
            raise self._error(
                f"spec {value['$spec']!r} is not known (known: {', '.join(sorted(self._specs))}); "
                "a spec of your own is called module:Class, and a recipe names its module under "
                "python",
                place,
            )
        known = {field.name: field for field in fields(kind)}
        given = {key: part for key, part in value.items() if key != "$spec"}
        needed = {n for n, f in known.items() if MISSING is f.default is f.default_factory}
        if wrong := sorted(given.keys() - known.keys()) or sorted(needed - given.keys()):
            fault = f"{kind.__name__} has the fields {', '.join(known)}: unknown or missing "
            raise self._error(fault + ", ".join(map(shortened, wrong)), place)
        content = {key: self(part, (*place, key)) for key, part in given.items()}
        with located(self._source, place):
            kinds = declared(kind)
        self._require_fit(content, kinds, place)
        with located(self._source, place):
            return kind(**content)

    def _require_fit(
        self, content: Mapping[str, Any], kinds: Mapping[str, Any], place: Place
    ) -> None:
        for key, part in content.items():
            if (fault := misfit(part, kinds.get(key, Any))) is not None:
                raise self._error(fault, (*place, key))


@contextlib.contextmanager
def located(source: Source, place: Sequence[int | str]) -> Iterator[None]:
    """Turn errors raised within the `with` block into `UnreadableFile` at `place` of `source`."""
    try:
        yield
    except (ValueError, TypeError, NameError) as error:
        raise source.error(str(error), place=path_of(tuple(place))) from error
