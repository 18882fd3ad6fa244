"""Type checks: whether a value, placeholders included, fits the declared type of a spec's field."""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import TypeAdapter, ValidationError

from search_spaces.choice import Choice, Derived, Spec
from search_spaces.documents import fault_of, shortened


@cache
def declared(made: Any) -> dict[str, Any]:
    """The declared types of a spec's fields, or of a function's arguments and `return`."""
    return get_type_hints(made, include_extras=True)


def misfit(value: object, kind: Any) -> str | None:
    """The reason why `value` does not fit the type `kind`, or None where it fits.

    All options of a choice must fit, and so must the annotated return type of the function of a
    derived value. A function without an annotation is taken to fit.
    """
    if isinstance(value, Choice):
        found = ((i, misfit(option, kind)) for i, option in enumerate(value.options))
        return next((f"option {i} of choice {value.name!r} {why}" for i, why in found if why), None)
    if isinstance(value, Derived):
        given = declared(value.made_by).get("return", Any)
        return (
            None if _within(given, kind) else f"is {value.function}, which gives no {_word(kind)}"
        )
    if kind in (Any, object) or isinstance(kind, TypeVar):
        return None
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _misfit_any(value, kind)
    if isinstance(kind, type) and issubclass(kind, Spec):
        return None if isinstance(value, kind) else _refused(value, kind)
    if origin is tuple and isinstance(value, tuple):
        return _misfit_items(cast("tuple[object, ...]", value), inner)
    return _misfit_plain(value, kind)


def _misfit_any(value: object, union: Any) -> str | None:
    """Why `value` is of none of the types of a `union`; what its own type says is told first."""
    faults = {one: misfit(value, one) for one in get_args(union)}
    if None in faults.values():
        return None
    own = [fault for one, fault in faults.items() if type(value) in (_bare(one), get_origin(one))]
    return own[0] if len(own) == 1 else _refused(value, union)


def _misfit_items(value: tuple[object, ...], kinds: tuple[Any, ...]) -> str | None:
    if kinds[-1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        return f"must have {len(kinds)} parts, given {len(value)}"
    found = ((i, misfit(*pair)) for i, pair in enumerate(zip(value, kinds, strict=True)))
    return next((f"part {i} {why}" for i, why in found if why), None)


def _misfit_plain(value: object, kind: Any) -> str | None:
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        return fault_of(error)
    return None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _within(given: Any, kind: Any) -> bool:
    """Whether every value of type `given` is also a value of type `kind`."""
    if Any in (given, kind) or given == kind:
        return True
    if get_origin(given) in (Union, UnionType):
        return all(_within(one, kind) for one in get_args(given))
    if get_origin(kind) in (Union, UnionType):
        return any(_within(given, one) for one in get_args(kind))
    if get_origin(given) is Annotated or get_origin(kind) is Annotated:
        return _within(_bare(given), _bare(kind))
    if isinstance(given, type) and isinstance(kind, type):
        return (issubclass(given, kind) and (given is not bool or kind is bool)) or (
            (given, kind) == (int, float)
        )
    return False


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _refused(value: object, kind: Any) -> str:
    return f"must be {_word(kind)}, given {shortened(value)}"


def _word(kind: Any) -> str:
    """The name of a type in an error message."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_word, get_args(kind)))
    if kind is NoneType:
        return "null"
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"[{', '.join('...' if one is ... else _word(one) for one in get_args(kind))}]"
    bare = _bare(kind)
    return bare.__name__ if isinstance(bare, type) else str(bare)
