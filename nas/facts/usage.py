"""How a network is used: what raw data become its inputs, and what the numbers of its output mean.

A task owns these facts. Every exported file and `results.json` state them, for people and programs
that run a network without this engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import JsonValue

from search_spaces.ops import Input, Shape

_OUTPUT = "float32"  # the type of the numbers of every output
_PREPARED, _ANSWERED = "(raw - mean) / std", "output * std + mean"


def numbers(values: ArrayLike) -> tuple[float, ...]:
    """The numbers of an array as Python's floats, all axes in one."""
    return tuple(map(float, np.ravel(values)))


def as_texts(stated: Mapping[str, JsonValue]) -> dict[str, str]:
    """Facts of `Usage.stated` as the metadata of a network: each as JSON text."""
    return {key: json.dumps(value) for key, value in stated.items()}


@dataclass(frozen=True)
class Scaling:
    """The scaling of raw numbers to numbers of a network: `(raw - mean) / std`.

    Attributes:
        mean: A mean for each place along `axis`, or one for all numbers.
        std: The deviations, as many as means.
        axis: The axis of a sample, from 0; the batch does not count.

    Raises:
        ValueError: If means and deviations differ in count, or a deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    axis: int = 0

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(
                f"a scaling has as many deviations as means, given {len(self.std)} and "
                f"{len(self.mean)}"
            )
        if not all(map(math.isfinite, self.mean)) or not all(0 < s < math.inf for s in self.std):
            raise ValueError(
                f"means are finite and deviations positive, given {self.mean} and {self.std}"
            )

    def done(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """The numbers of a network of raw numbers, `(batch, ...)`."""
        return (raw.astype(np.float64) - self._over(raw, self.mean)) / self._over(raw, self.std)

    def undone(self, numbers: NDArray[np.floating]) -> NDArray[np.float64]:
        """The raw numbers of numbers of a network, `(batch, ...)`."""
        return numbers * self._over(numbers, self.std) + self._over(numbers, self.mean)

    @property
    def inverse(self) -> Scaling:
        """The scaling from numbers of a network to raw numbers, as means and deviations again."""
        means = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return Scaling(means, tuple(1 / std for std in self.std), self.axis)

    def _over(self, samples: NDArray[Any], each: tuple[float, ...]) -> NDArray[np.float64]:
        """Numbers of the axis in a shape that fits samples, `(batch, ...)`."""
        return np.reshape(np.array(each), (-1, *(1,) * (samples.ndim - 2 - self.axis)))


@dataclass(frozen=True)
class Port:
    """The meaning of one input or of the output of a network.

    Attributes:
        about: What raw data become the input, or what the output answers, in a sentence.
        axes: The name of each axis of a sample, such as channel, height, width.
        scaling: The scaling between raw numbers and those of the network; None if they are equal.
        low: The least raw number in the training split, for each mean of the scaling or for all;
            empty where a range means nothing, as for tokens.
        high: The largest raw number likewise.
        names: The names of the places along the last axis, such as classes.
        unit: The unit of raw numbers.
        tokenizer: The rule by which a text becomes tokens.
    """

    about: str
    axes: tuple[str, ...]
    scaling: Scaling | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    unit: str = ""
    tokenizer: Mapping[str, JsonValue] = field(default_factory=dict)

    def problems(self, shape: Shape) -> list[str]:
        """What contradicts the shape of a sample, in sentences without a subject."""
        found: list[str] = []
        if not self.about:
            found.append("says nothing in about")
        if len(self.axes) != len(shape):
            found.append(f"names the axes {self.axes} of the shape {shape}")
            return found
        if self.names and len(self.names) != shape[-1]:
            found.append(f"names {len(self.names)} places along an axis of {shape[-1]}")
        if self.scaling is not None:
            length = dict(enumerate(shape)).get(self.scaling.axis, 0)
            if len(self.scaling.mean) not in (1, length):
                found.append(
                    f"has {len(self.scaling.mean)} means for {length} places along axis "
                    f"{self.scaling.axis} of the shape {shape}"
                )
        if len(self.low) != len(self.high):
            found.append(f"has {len(self.low)} least and {len(self.high)} largest numbers")
        return found

    def stated(self, shape: Shape, dtype: str, *, rule: str) -> dict[str, JsonValue]:
        """All facts as JSON values by key; a fact that does not apply is left out.

        Args:
            shape: The shape of a sample.
            dtype: The type of the numbers of the network.
            rule: How the scaling is used, as a formula.
        """
        facts: dict[str, JsonValue] = {
            "shape": [*shape],
            "dtype": dtype,
            "axes": [*self.axes],
            "about": self.about,
        }
        if self.scaling is not None:
            facts |= {"mean": [*self.scaling.mean], "std": [*self.scaling.std]}
            facts |= {"axis": self.scaling.axis, "rule": rule}
        further: dict[str, JsonValue] = {
            "low": [*self.low],
            "high": [*self.high],
            "names": [*self.names],
            "unit": self.unit,
            "tokenizer": dict(self.tokenizer),
        }
        return facts | {key: value for key, value in further.items() if value}


@dataclass(frozen=True)
class Usage:
    """The meaning of all inputs and of the output of a network.

    Attributes:
        inputs: Name of an input -> its meaning.
        output: The meaning of the output.
    """

    inputs: Mapping[str, Port]
    output: Port

    def problems(self, inputs: Iterable[Input], output: Shape) -> list[str]:
        """What contradicts the inputs and the output of a network, in sentences."""
        shapes = {op.name: op.shape for op in inputs}
        if self.inputs.keys() != shapes.keys():
            return [f"usage tells of the inputs {[*self.inputs]}, but there are {[*shapes]}"]
        ports = [(f"input {name!r}", port, shapes[name]) for name, port in self.inputs.items()]
        ports.append(("output", self.output, output))
        return [f"usage of {what} {fault}" for what, at, s in ports for fault in at.problems(s)]

    def raw(self) -> Usage:
        """The usage of the same network with all scalings inside: raw data in, raw answers out."""
        inputs = {name: replace(port, scaling=None) for name, port in self.inputs.items()}
        return Usage(inputs, replace(self.output, scaling=None))

    def stated(self, inputs: Iterable[Input], output: Shape) -> dict[str, JsonValue]:
        """The facts as JSON values: `inputs`, by name, and `output`."""
        read: dict[str, JsonValue] = {
            op.name: self.inputs[op.name].stated(op.shape, op.dtype, rule=_PREPARED)
            for op in inputs
        }
        return {"inputs": read, "output": self.output.stated(output, _OUTPUT, rule=_ANSWERED)}
