"""Capability of a device: the number formats that it runs natively, and what happens to others."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from nas.targets.numerics import FULL, Numerics, wanted
from search_spaces.formats import Int
from search_spaces.ops import Op
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant, granularity_named

Otherwise = Literal["container", "refuse"]
ANY_GROUP = "per-group"
FLOAT32 = "float32"
GRANULARITIES = (PerTensor().name, PerChannel().name)
SYMMETRIES = {"symmetric": True, "asymmetric": False}


def granularity_in(name: str) -> str:
    """The name of a granularity in a target file; raises `ValueError` if there is none."""
    return name if name == ANY_GROUP else granularity_named(name).name


@dataclass(frozen=True)
class Accepted:
    """The quantizations that a device accepts of a tensor, besides formats without scales.

    Attributes:
        granularities: The names of the accepted granularities: `per-tensor`, `per-channel`, one
            such as `per-group-32`, or `per-group` for groups of any size and any format of scales.
        symmetries: Whether symmetric (True) and asymmetric (False) integers are accepted.
    """

    granularities: frozenset[str] = frozenset(GRANULARITIES)
    symmetries: frozenset[bool] = frozenset(SYMMETRIES.values())

    def allow(self, quant: Quant | None) -> bool:
        """Whether `quant` is accepted, whatever its number of bits."""
        if quant is None or not quant.format.scaled:
            return True
        if isinstance(quant.format, Int) and quant.format.symmetric not in self.symmetries:
            return False
        any_group = isinstance(quant.granularity, PerGroup) and ANY_GROUP in self.granularities
        return any_group or quant.granularity.name in self.granularities


@dataclass(frozen=True)
class Support:
    """The number formats in which a device runs one class of operators natively.

    Attributes:
        numerics: The formats of weight and inputs for which there are kernels.
        weight: The accepted granularities and symmetries of the weight.
        activation: The accepted granularities and symmetries of the inputs.
        decodes: The names of formats of weights that become full precision when a network is
            loaded, so that kernels run as in full precision.
    """

    numerics: tuple[Numerics, ...]
    weight: Accepted = Accepted()
    activation: Accepted = Accepted()
    decodes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Capability:
    """The operators and number formats that a device can run.

    Attributes:
        supports: Operator class name -> native formats. An operator whose class is not listed runs
            as the nearest listed class from which it derives; fusion does the same. Without such a
            class, the operator is refused.
        otherwise: What happens to formats that are not native. `"container"`: the operator computes
            in the smallest native formats that hold its weight and its inputs. `"refuse"`: the
            network is refused. A granularity or symmetry that is not listed is refused in both
            cases.
        full_precision: The number format of tensors that are not quantized, `float32`, or a format
            such as `float16`, which then is the device's full precision.
    """

    supports: Mapping[str, Support]
    otherwise: Otherwise
    full_precision: str = FLOAT32

    def container(self, op: Op) -> Numerics | None:
        """The formats in which a resolved operator computes, or None where it is refused.

        They have the groups of the operator's weight, except where the weight computes in full
        precision: a decoded weight has no scales.
        """
        support = self._of(op)
        if support is None:
            return None
        if not (support.weight.allow(op.weight) and support.activation.allow(op.activation)):
            return None
        asked = self.asked(op)
        found = _smallest(support.numerics, asked.plain, self.otherwise)
        if found is None and asked.weight in support.decodes:
            asked = replace(asked, weight=FULL)
            found = _smallest(support.numerics, asked.plain, self.otherwise)
        if found is None or found.weight == FULL:
            return found
        return replace(found, groups=asked.groups)

    def asked(self, op: Op) -> Numerics:
        """The formats that a resolved operator asks for, as the device calls them.

        A device calls its full precision `float`, whatever its format.
        """
        asked, own = wanted(op), {self.full_precision: FULL}
        weight = None if asked.weight is None else own.get(asked.weight, asked.weight)
        read = own.get(asked.activation, asked.activation)
        return replace(asked, weight=weight, activation=read)

    def native(self, op: Op) -> tuple[Numerics, ...]:
        """The formats for which the device has kernels of this operator, whatever its precision."""
        support = self._of(op)
        return () if support is None else support.numerics

    def decoded(self, op: Op) -> frozenset[str]:
        """The formats of this operator's weight that become full precision at load."""
        support = self._of(op)
        return frozenset() if support is None else support.decodes

    def _of(self, op: Op) -> Support | None:
        names = (kind.__name__ for kind in type(op).__mro__)
        return next((self.supports[name] for name in names if name in self.supports), None)

    def refusal(self, op: Op) -> str:
        """The reason why a resolved operator is refused, with the formats that would run."""
        name, support = op.called, self._of(op)
        if support is None:
            return f"{name} is not among {', '.join(sorted(self.supports))}"
        return (
            f"{name} runs at {', '.join(map(str, support.numerics))} ({self.otherwise} "
            f"otherwise), weights {_said(support.weight)}, inputs "
            f"{_said(support.activation)}; given {wanted(op)} with weight {op.weight} and "
            f"activation {op.activation}"
        )


def _said(accepted: Accepted) -> str:
    symmetries = [name for name, flag in SYMMETRIES.items() if flag in accepted.symmetries]
    return f"{' or '.join(sorted(accepted.granularities))}, {' or '.join(symmetries)}"


@functools.lru_cache(maxsize=4096)
def _smallest(
    native: tuple[Numerics, ...], asked: Numerics, otherwise: Otherwise
) -> Numerics | None:
    if asked in native:
        return asked
    alike = next((numerics for numerics in native if numerics.runs(asked)), None)
    holding = [numerics for numerics in native if numerics.holds(asked)]
    if alike is not None or otherwise == "refuse" or not holding:
        return alike
    return min(holding, key=lambda numerics: (numerics.width, _unlike(numerics, asked)))


def _unlike(numerics: Numerics, asked: Numerics) -> int:
    """The number of tensors whose integers are signed in one of the two and not in the other."""
    both = ((numerics.weight, asked.weight), (numerics.activation, asked.activation))
    return sum(str(one).startswith("u") != str(other).startswith("u") for one, other in both)
