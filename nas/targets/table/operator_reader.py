"""Reading operators from their text, written by `operator_text` or by hand, with all checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from nas.targets.operator_names import operator_types
from nas.targets.table.operator_syntax import Call, parse_fields, parse_operators
from nas.targets.table.operator_text import PRECISIONS, default_of, operator_text, written_fields
from search_spaces.choice import Spec, known_specs
from search_spaces.fields import declared, misfit
from search_spaces.ops import Op


@dataclass(frozen=True)
class Behind:
    """An operator behind the first operator of a kernel.

    Attributes:
        op: The operator, in full precision.
        reads: The sources of inputs that do not come from the operator before: `in1`, `op0`.
    """

    op: Op
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        return operator_text(self.op) + "".join(f"@{name}" for name in self.reads)


class OperatorReader:
    """A reader of the operators of many rows.

    The reader knows the operator classes that are imported when the reader is made.
    """

    def __init__(self) -> None:
        self._operators = operator_types()
        self._specs = {kind.__name__: kind for kind in known_specs(Spec)}
        self._ops: dict[tuple[str, str], Op] = {}

    def kind(self, name: str) -> type[Op]:
        """The operator class called `name`.

        Raises:
            ValueError: If there is none; the message lists the known names.
        """
        if name not in self._operators:
            raise ValueError(
                f"operator = {name!r}: no such operator; known are "
                f"{', '.join(sorted(self._operators))}; one of your own must be imported first"
            )
        return self._operators[name]

    def operator(self, name: str, fields: str) -> Op:
        """The operator of the class `name` with the fields in a text, in full precision.

        Raises:
            ValueError: If the text is wrong; the message says what is allowed and what to do.
        """
        if (name, fields) not in self._ops:
            self._ops[name, fields] = self._made(self.kind(name), parse_fields(fields))
        return self._ops[name, fields]

    def behind(self, text: str) -> tuple[Behind, ...]:
        """The operators in a text such as `Activation(function=relu)+Add@in1`.

        Raises:
            ValueError: As `operator` does.
        """
        return tuple(
            Behind(self._made(self.kind(call.name), call.fields), call.reads)
            for call in parse_operators(text)
        )

    def _made(self, kind: type[Any], given: Mapping[str, object]) -> Any:
        """The spec of the class `kind` with the given field values."""
        known = written_fields(kind)
        needed = {name for name, field in known.items() if default_of(field) is MISSING}
        for what, wrong in (
            ("no field", sorted(given.keys() - known.keys())),
            ("no value for", sorted(needed - given.keys())),
        ):
            if wrong:
                raise ValueError(
                    f"{kind.__name__} has {what} {', '.join(wrong)}; a row gives "
                    f"{', '.join(known) or 'none'} of it, and bits in columns of their own"
                )
        values = {name: self._value(value) for name, value in given.items()}
        full = PRECISIONS & kind.__dataclass_fields__.keys() if issubclass(kind, Op) else ()
        try:
            _require_fit(kind, values)
            return kind(**{**dict.fromkeys(full, None), **values})
        except (ValueError, TypeError, NameError) as error:
            raise ValueError(f"{kind.__name__} cannot be made: {error}") from error

    def _value(self, value: object) -> object:
        """The value of a field, with all specs inside it made."""
        if isinstance(value, tuple):
            return tuple(map(self._value, value))
        if not isinstance(value, Call):
            return value
        if value.name not in self._specs:
            raise ValueError(
                f"{value.name!r}: no such spec; import the module that defines it first"
            )
        return self._made(self._specs[value.name], value.fields)


def _require_fit(kind: type[Spec], values: Mapping[str, object]) -> None:
    """Raise `ValueError` if a value does not have the declared type of its field."""
    kinds = declared(kind)
    for name, value in values.items():
        if (fault := misfit(value, kinds[name])) is not None:
            raise ValueError(f"{name} {fault}")
