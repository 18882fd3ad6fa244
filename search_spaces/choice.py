"""Placeholders: choices that stand in a field of a spec where a value would stand.

A field of an operator spec holds either a value or a placeholder. A placeholder is a `Choice` among
options or a `Derived` value, which is computed from other placeholders. Everything elastic in this
engine (width, depth, kernel, bits, granularity, symmetry) is one of the two.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, cast

from search_spaces.names import require_name, require_text

T = TypeVar("T")
P = ParamSpec("P")

_DERIVED_FUNCTIONS: dict[str, Callable[..., Any]] = {}


@dataclass(frozen=True)
class Spec:
    """A frozen record whose fields may hold placeholders.

    Operators and precisions are specs.

    Attributes:
        younger: Fields that came after spaces with such a spec were saved. Files leave them out
            while they hold their defaults, so that no digest of such a space changed.
    """

    younger: ClassVar[frozenset[str]] = frozenset()

    def written(self) -> dict[str, Any]:
        """The fields that a file holds, by name."""
        held = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            name: value
            for name, (value, default) in held.items()
            if name not in self.younger or value != default
        }


Kind = TypeVar("Kind", bound=Spec)


def known_specs(base: type[Kind]) -> Iterator[type[Kind]]:
    """Every class of specs that derives from `base`, as far as its module is imported."""
    for kind in base.__subclasses__():
        yield kind
        yield from known_specs(kind)


def spec_name(kind: type[Spec]) -> str:
    """The name of a class of specs in files.

    A class of this package is called by its own name, so that no file depends on the module that
    holds the class; any other class is called `module:Class`.
    """
    own = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    return kind.__name__ if own else f"{kind.__module__}:{kind.__qualname__}"


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A decision among `options`; two choices with the same name and options are one decision.

    Options are in ascending cost. An option may be any value that a field can hold, placeholders
    included; a choice that is nested in an option is open only while that option is picked.

    Raises:
        InvalidName: If the name or a text among the options is refused by `search_spaces.names`.
        ValueError: If there is no option, or an option repeats.
    """

    name: str
    options: tuple[T, ...]

    def __post_init__(self) -> None:
        require_name("a choice", self.name)
        for text in texts_in(self.options):
            require_text(f"an option of choice {self.name!r}", text)
        if not self.options:
            raise ValueError(f"choice {self.name!r} has no options; give at least one")
        if len(set(self.options)) < len(self.options):
            raise ValueError(
                f"choice {self.name!r} repeats an option: {self.options}; give each once"
            )


@dataclass(frozen=True)
class Derived:
    """A value that a registered function computes from arguments that hold placeholders.

    Attributes:
        function: The function as `module:name`; `derived` registers functions.
        arguments: The arguments, of which at least one holds a placeholder.

    Raises:
        ValueError: If no function of that name is registered.
    """

    function: str
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.function not in _DERIVED_FUNCTIONS:
            raise ValueError(
                f"derived function {self.function!r} is not known; import the module that "
                f"defines it (known: {', '.join(sorted(_DERIVED_FUNCTIONS))})"
            )

    @property
    def made_by(self) -> Callable[..., Any]:
        """The registered function."""
        return _DERIVED_FUNCTIONS[self.function]

    def compute(self, arguments: tuple[Any, ...]) -> Any:
        """The result of the function for `arguments` without placeholders."""
        return self.made_by(*arguments)


def choice(name: str, options: Sequence[T]) -> T:
    """A placeholder for one of `options`, with the type of the value that it stands for.

    A single option is no decision; the option itself is returned.

    Args:
        name: The name of the decision; choices with the same name are one decision.
        options: The options, ascending in cost.

    Raises:
        InvalidName: If the name or a text among the options is refused by `search_spaces.names`.
        ValueError: If there is no option, or an option repeats.
    """
    made = Choice(name, tuple(options))
    return made.options[0] if len(made.options) == 1 else cast("T", made)


def derived(function: Callable[P, T]) -> Callable[P, T]:
    """A decorator that lets `function` take placeholders.

    Called with a placeholder, the decorated function returns a `Derived` placeholder; called with
    plain values, it computes its result at once. It takes positional arguments only.

    The function must stand at the top level of a module, since a space file stores its name, and
    its result must depend on its arguments only.
    """
    return derived_as(f"{function.__module__}:{function.__qualname__}")(function)


def derived_as(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """`derived` for a function that files know by `name`, wherever its module lies now."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        _DERIVED_FUNCTIONS[name] = function

        @functools.wraps(function)
        def lift(*args: P.args, **kwargs: P.kwargs) -> T:
            if kwargs:
                raise TypeError(f"{name} takes positional arguments only, given {sorted(kwargs)}")
            if any(is_open(argument) for argument in args):
                return cast("T", Derived(name, tuple(args)))
            return function(*args)  # pyright: ignore[reportCallIssue]  # no keywords are left

        return lift

    return decorate


def parts(value: object) -> tuple[Any, ...]:
    """The values directly inside `value`: options, arguments, fields or items; empty if none."""
    if isinstance(value, Choice):
        return cast("tuple[Any, ...]", value.options)
    if isinstance(value, Derived):
        return value.arguments
    if isinstance(value, Spec):
        return tuple([getattr(value, name) for name in _fields_of(type(value))])
    if isinstance(value, tuple):
        return cast("tuple[Any, ...]", value)
    return ()


@functools.cache
def _fields_of(kind: type[Spec]) -> tuple[str, ...]:
    """The names of the fields of a spec, which every walk through a space asks for."""
    return tuple(field.name for field in fields(kind))


def is_open(value: object) -> bool:
    """Whether `value` holds a placeholder anywhere."""
    return isinstance(value, Choice | Derived) or any(is_open(part) for part in parts(value))


def choices_in(value: object) -> Iterator[Choice[Any]]:
    """Every choice in `value`, outer before inner; a choice that is used twice comes twice."""
    if isinstance(value, Choice):
        yield value
    for part in parts(value):
        yield from choices_in(part)


def texts_in(value: object) -> Iterator[str]:
    """Every text in `value`, without the names of choices and of functions."""
    if isinstance(value, str):
        yield value
    for part in parts(value):
        yield from texts_in(part)


def rebuild(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with `change` applied to each of its parts (fields, items, arguments).

    A derived value whose arguments no longer hold placeholders is computed.
    """
    if isinstance(value, Spec):
        names = _fields_of(type(value))
        return replace(value, **{name: change(getattr(value, name)) for name in names})
    if isinstance(value, tuple):
        return tuple(change(part) for part in cast("tuple[Any, ...]", value))
    if isinstance(value, Derived):
        changed = Derived(value.function, tuple(change(part) for part in value.arguments))
        settled = not any(map(is_open, changed.arguments))
        return changed.compute(changed.arguments) if settled else changed
    return value


def resolve(value: T, picks: Mapping[str, int]) -> T:
    """The value with every placeholder replaced, as `picks` (choice name -> option index) say."""
    if isinstance(value, Choice):
        return resolve(value.options[picks[value.name]], picks)
    if isinstance(value, Derived):
        return value.compute(tuple(resolve(part, picks) for part in value.arguments))
    return rebuild(value, lambda part: resolve(part, picks))


def variants(value: T) -> Iterator[T]:
    """Every distinct value that `value` can resolve to, in ascending order of its options."""
    named = {found.name: found for found in choices_in(value)}
    seen: set[Any] = set()
    for indices in itertools.product(*(range(len(found.options)) for found in named.values())):
        form = resolve(value, dict(zip(named, indices, strict=True)))
        if form not in seen:
            seen.add(form)
            yield form
