"""The place of a call while it becomes operators, and the table of rules that make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.ops import Op, Shape
from supernets.tracing.builder import Builder
from supernets.tracing.errors import TraceError
from supernets.tracing.layout import Layout, viewed
from supernets.tracing.program import Call
from supernets.tracing.values import Constant, Held, Value


@dataclass(frozen=True, eq=False)
class Site:
    """A call with its arguments, and the graph that it becomes a part of.

    Attributes:
        build: The graph so far.
        call: The call.
        given: The arguments by their names in torch, with defaults.
        shape: The shape that the call gives, for the first batch size; empty for several tensors.
        grown: The layout of that shape, with all places behind the batch; None without a batch.
    """

    build: Builder
    call: Call
    given: Mapping[str, Any]
    shape: tuple[int, ...]
    grown: Layout | None

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def add(self, op: Op, *reads: str, **more: Any) -> str:
        """`Builder.add` for the call."""
        return self.build.add(self.call, op, *reads, **more)

    def sample(self, value: Held) -> Shape:
        """The shape of a sample of `value`."""
        return self.build.shapes[value.address]

    def like(self, value: Held, address: str) -> Held:
        """The result of the call at `address`, which holds the batch where `value` holds it."""
        return self.build.held(self.call, address, value.layout, self.shape)

    def seen(self, value: Held, address: str) -> Held | None:
        """The result of a call that only looks at `value` in another shape; None if it mixes."""
        if self.grown is None:
            return None
        layout = viewed(value.layout, value.called, self.shape, self.grown)
        if layout is None:
            return None
        address = self.build.reshaped(self.call, address, layout.sample(self.shape))
        return self.build.held(self.call, address, layout, self.shape)

    def axis(self, value: Held, axis: int) -> int | None:
        """The axis of a sample that holds an axis of the call; None for the axis of the batch."""
        rank = len(value.called)
        found = value.layout.axes(rank)[axis % rank]
        return found[0] if len(found) == 1 and axis % rank != value.layout.axis else None

    def image(self, value: object, axes: int = 3) -> Held | None:
        """`value` if it is a tensor with the batch in front and so many axes for each sample."""
        if isinstance(value, Held) and value.layout.is_plain and len(self.sample(value)) == axes:
            return value
        return None


Rule = Callable[[Site], Value]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of calls by their names in aten, such as `conv2d`.

    The rule returns the value of the call, or None if no operator computes the same. The call then
    becomes an opaque operator.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise ValueError(f"two rules are for {name!r}; let one be for both")
            RULES[name] = function
        return function

    return register


def constant(value: object) -> Constant | None:
    """`value` if it is a tensor that does not depend on the inputs, nor on the batch size."""
    return value if isinstance(value, Constant) and value.layout is None else None


def refused(site: Site, why: str) -> TraceError:
    """The error for a call that no graph can hold."""
    return TraceError(f"{site.call.name}{site.call.where} {why}")


def pair_of(value: int | Sequence[int]) -> tuple[int, int]:
    """One number for both sides of an image, or two, as two."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])
