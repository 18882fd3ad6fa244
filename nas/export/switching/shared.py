"""Networks of one architecture whose weights are roundings of the same integers, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.export.containers import ExportError
from search_spaces.formats import Int
from search_spaces.policy import full_precision
from search_spaces.quant import PerChannel, PerTensor, Quant
from supernets.assemble import Slot
from supernets.deployed import Deployed, Stored, values
from supernets.encoded import ActivationScale, EncodedTensor

Floats = NDArray[np.float32]
_LEVELS = 2**16 - 1


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers of every mode but the first, `(modes - 1, channels)`, in two bytes each.

    The numbers are `least + step * codes`. Numbers of one layer lie close together, so that these
    steps are far finer than those of float16.
    """

    codes: NDArray[np.uint16]
    least: np.float32
    step: np.float32

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.floating[Any]]]) -> Table:
        """The table of the codes nearest to the numbers in `rows`, at least one row."""
        numbers = np.array(rows, np.float64)
        least = numbers.min()
        step = np.float32((numbers.max() - least) / _LEVELS)
        codes = np.rint((numbers - least) / (step or 1)).clip(0, _LEVELS)
        return cls(codes.astype(np.uint16), np.float32(least), step)

    def row(self, place: int) -> Floats:
        """The numbers of a mode by its place, which is at least 1, as the file computes them."""
        return self.codes[place - 1].astype(np.float32) * self.step + self.least


@dataclass(frozen=True, eq=False)
class SharedWeight:
    """A weight of one set of integers, which every mode rounds to its own bit-width.

    Attributes:
        codes: int8, the integers of the highest bit-width.
        quants: The precision in each mode.
        scale: float32, the scales of the integers in the first mode.
        ratios: For each further mode, the scales of the integers over those of the first: a norm
            that was folded into the weight has statistics of its own in every mode.
    """

    codes: NDArray[np.int8]
    quants: tuple[Quant, ...]
    scale: Floats
    ratios: Table

    @property
    def shifts(self) -> list[int]:
        """By how many bits each mode has fewer than the integers."""
        highest = max(quant.bits for quant in self.quants)
        return [highest - quant.bits for quant in self.quants]

    def in_mode(self, mode: int) -> EncodedTensor:
        """The weight as the file computes it in a mode."""
        quant, shift = self.quants[mode], self.shifts[mode]
        scale = self.scale * self.ratios.row(mode) if mode else self.scale
        scale = scale * np.float32(2**shift)
        codes = shifted(self.codes, shift, quant)
        return EncodedTensor(codes, scale, np.zeros_like(scale, np.int32), quant)


@dataclass(frozen=True, eq=False)
class SharedBias:
    """A bias in every mode: that of the first, and the differences of the others from it."""

    first: Floats
    differences: Table

    def in_mode(self, mode: int) -> Floats:
        """The bias as the file computes it in a mode."""
        return self.first + self.differences.row(mode) if mode else self.first


@dataclass(frozen=True, eq=False)
class Switching:
    """A network with several modes, which differ in bit-widths only.

    Attributes:
        modes: The bit-widths, or other numbers, by which a mode is asked for; the first is the
            highest.
        networks: The network of each mode, from which this one was made.
        weights: The weights that differ between modes, by address.
        biases: The biases beside these weights, by address.
    """

    modes: tuple[int, ...]
    networks: tuple[Deployed, ...]
    weights: Mapping[str, SharedWeight]
    biases: Mapping[str, SharedBias]

    @classmethod
    def of(cls, networks: Mapping[int, Deployed]) -> Switching:
        """The modes as one network.

        Args:
            networks: The number that asks for a mode, such as 8 for 8 bits -> its network.

        Raises:
            ExportError: If the modes differ in more than bit-widths, or a weight of one is not a
                rounding of the weight of another.
        """
        if len(networks) < 2:
            raise ExportError(
                f"a network that switches needs at least two bit-widths, given {list(networks)}; "
                "give more, or export it as 'onnx'"
            )
        modes = tuple(sorted(networks, reverse=True))
        held = tuple(networks[mode] for mode in modes)
        _require_alike(held)
        parameters = {
            address: found
            for address in held[0].parameters
            if not _alike(found := [network.parameters[address] for network in held])
        }
        return cls(
            modes,
            held,
            {
                a: _weight(a, [own.get("weight") for own in found])
                for a, found in parameters.items()
            },
            {a: _bias(a, [own.get("bias") for own in found]) for a, found in parameters.items()},
        )

    def scales(self, slot: Slot) -> tuple[ActivationScale, ...]:
        """The quantization of an input of an operator in every mode; empty in full precision."""
        return tuple(network.inputs[slot] for network in self.networks if slot in network.inputs)

    def in_mode(self, mode: int) -> Deployed:
        """The network that the file computes in a mode: scales and biases are rounded a little."""
        place = self.modes.index(mode)
        network = self.networks[place]
        for address, weight in self.weights.items():
            bias = self.biases[address].in_mode(place)
            network = network.changed(address, weight=weight.in_mode(place), bias=bias)
        return network


def shifted(codes: NDArray[np.integer], shift: int, quant: Quant) -> NDArray[np.int32]:
    """Codes rounded to `shift` bits fewer, to the nearest and halves to even, and clipped."""
    low, high = quant.integers.range
    return np.rint(codes.astype(np.float64) / 2**shift).clip(low, high).astype(np.int32)


def _require_alike(networks: Sequence[Deployed]) -> None:
    """Raise `ExportError` unless the networks differ in precisions only."""
    first, *others = networks
    for other in others:
        if full_precision(other.graph) != full_precision(first.graph):
            raise ExportError(
                "the networks to switch between have different architectures, and only bit-widths "
                "can be switched; give the same architecture at several bit-widths"
            )
        if other.inputs.keys() != first.inputs.keys():
            differing = sorted(other.inputs.keys() ^ first.inputs.keys())
            raise ExportError(
                f"inputs {differing} are quantized in one network only; a network that switches "
                "quantizes them at every bit-width"
            )
    for network in networks:
        for (address, _), scale in network.inputs.items():
            if not isinstance(scale.quant.format, Int):
                raise ExportError(
                    f"a network that switches has integer inputs, given {scale.quant.name} at "
                    f"{address!r}; take integers"
                )


def _alike(held: Sequence[Mapping[str, Stored]]) -> bool:
    """Whether the parameters of an operator are floats and the same in all networks."""
    first = held[0]
    return all(
        isinstance(stored, np.ndarray) and np.array_equal(stored, values(own[name]))
        for own in held
        for name, stored in first.items()
    )


def _weight(address: str, held: Sequence[Stored | None]) -> SharedWeight:
    every: list[EncodedTensor] = []
    for weight in held:
        if not (isinstance(weight, EncodedTensor) and _switches(weight.quant)):
            given = (
                f"{weight.quant.name} {weight.quant.granularity.name}"
                if isinstance(weight, EncodedTensor)
                else "full precision"
            )
            raise ExportError(
                f"only symmetric integers per tensor or per channel can be switched, given {given} "
                f"at {address!r}; quantize this weight so in all networks"
            )
        every.append(weight)
    highest = max(every, key=lambda weight: weight.quant.bits)
    _require_rounded(address, every, highest)
    steps = [w.scale / np.float32(2 ** (highest.quant.bits - w.quant.bits)) for w in every]
    return SharedWeight(
        highest.codes.astype(np.int8),
        tuple(weight.quant for weight in every),
        steps[0],
        Table.of([step / steps[0] for step in steps[1:]]),
    )


def _require_rounded(address: str, every: Sequence[EncodedTensor], highest: EncodedTensor) -> None:
    """Raise `ExportError` unless the codes of every weight are those of `highest`, rounded."""
    for weight in every:
        shift = highest.quant.bits - weight.quant.bits
        alike = weight.quant.granularity == highest.quant.granularity
        if not (
            alike and np.array_equal(shifted(highest.codes, shift, weight.quant), weight.codes)
        ):
            raise ExportError(
                f"the {weight.quant.bits}-bit codes at {address!r} are not the "
                f"{highest.quant.bits}-bit codes, rounded; train with quantizer = "
                "'double-rounding' and weights per channel, into which norms fold without rounding"
            )


def _switches(quant: Quant) -> bool:
    return (
        isinstance(quant.format, Int)
        and quant.format.symmetric
        and isinstance(quant.granularity, PerTensor | PerChannel)
    )


def _bias(address: str, held: Sequence[Stored | None]) -> SharedBias:
    every = [values(bias) for bias in held if bias is not None]
    if len(every) < len(held):
        raise ExportError(
            f"the operator at {address!r} has no bias, and only operators with a weight and a bias "
            "can be switched; leave its weight in full precision"
        )
    return SharedBias(every[0], Table.of([bias - every[0] for bias in every[1:]]))
