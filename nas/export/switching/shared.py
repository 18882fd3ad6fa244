"""Networks of one architecture whose weights are roundings of the same integers, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
_HALF = np.finfo(np.float16)


@dataclass(frozen=True, eq=False)
class SharedWeight:
    """A weight of one set of integers, which every mode rounds to its own bit-width.

    Attributes:
        codes: int8, the integers of the highest bit-width.
        quants: The precision in each mode.
        scale: float32, the scales of the integers in the first mode.
        ratios: float16, for each further mode the scales of the integers over those of the first:
            a norm that was folded into the weight has statistics of its own in every mode.
    """

    codes: NDArray[np.int8]
    quants: tuple[Quant, ...]
    scale: Floats
    ratios: NDArray[np.float16]

    @property
    def shifts(self) -> list[int]:
        """By how many bits each mode has fewer than the integers."""
        highest = max(quant.bits for quant in self.quants)
        return [highest - quant.bits for quant in self.quants]

    def in_mode(self, mode: int) -> EncodedTensor:
        """The weight as the file computes it in a mode."""
        quant, shift = self.quants[mode], self.shifts[mode]
        ratio = self.ratios[mode - 1].astype(np.float32) if mode else np.float32(1)
        scale = (self.scale * ratio).astype(np.float32) * np.float32(2**shift)
        codes = shifted(self.codes, shift, quant)
        return EncodedTensor(codes, scale, np.zeros_like(scale, np.int32), quant)


@dataclass(frozen=True, eq=False)
class SharedBias:
    """A bias in every mode: float32 in the first, and float16 differences from there."""

    first: Floats
    differences: NDArray[np.float16]

    def in_mode(self, mode: int) -> Floats:
        """The bias as the file computes it in a mode."""
        return self.first + self.differences[mode - 1].astype(np.float32) if mode else self.first


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
    steps = [w.scale / np.float32(2 ** (highest.quant.bits - w.quant.bits)) for w in every]
    ratios = np.array([step / steps[0] for step in steps[1:]]).reshape(-1, *steps[0].shape)
    if ((ratios < _HALF.tiny) | (ratios > _HALF.max)).any():
        raise ExportError(
            f"the scales at {address!r} differ by factors of {ratios.min():.3g} to "
            f"{ratios.max():.3g} between bit-widths, which float16 does not hold; train for longer"
        )
    return SharedWeight(
        highest.codes.astype(np.int8),
        tuple(weight.quant for weight in every),
        steps[0],
        ratios.astype(np.float16),
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
    differences = np.array([bias - every[0] for bias in every[1:]]).reshape(-1, *every[0].shape)
    if (np.abs(differences) > _HALF.max).any():
        raise ExportError(
            f"biases at {address!r} differ by up to {np.abs(differences).max():.3g} between "
            "bit-widths, which float16 does not hold; train for longer"
        )
    return SharedBias(every[0], differences.astype(np.float16))
