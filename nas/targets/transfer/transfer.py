"""Few-shot transfer: the latency of a new device, from known devices and about ten networks.

    known = KnownTargets([phone_a, phone_b, phone_c], space)
    transfer = Transfer(known)
    latency = transfer.fit(transfer.choose(10), milliseconds)    # measure these, in this order
    Goal("new-phone", {"latency_ms": latency}, ("latency_ms",))

The prediction is for whole networks. The module `predicted` uses the same regression for the
latencies of single kernels, which makes a target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas.targets.errors import TargetError
from nas.targets.target import HardwareTarget, space_kernels
from nas.targets.transfer.additive import Additive
from nas.targets.transfer.regression import LatencyTransfer, Transferred
from search_spaces.kernels import Kernel
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
T = TypeVar("T")

POOL = 1000
_CHUNK = 1 << 14


class Known(Protocol):
    """Devices whose latency is known for every network of a space.

    Attributes:
        space: The space.
        names: The names of the devices.
        sample: Genotypes that represent the space, `(networks, choices)`.
    """

    @property
    def space(self) -> SearchSpace: ...  # noqa: D102

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def sample(self) -> IntArray: ...  # noqa: D102

    def parts(self, genotypes: IntArray) -> FloatArray:
        """The latency in ms, split by class of operators, `(networks, devices, classes)`."""
        ...


class KnownTargets:
    """Known devices that are targets; their latencies are split by class of operators.

    The last class is the part of a network's latency that no single kernel has, such as casts.

    Args:
        targets: The known targets; each must run the whole space.
        space: The space.
        seed: The seed for the sample of the space.

    Raises:
        TargetError: If there is no target, or one lacks rows or refuses networks of the space.
    """

    def __init__(
        self, targets: Sequence[HardwareTarget], space: SearchSpace, *, seed: int = 0
    ) -> None:
        self.space = space
        self.names = tuple(target.name for target in targets)
        self.sample = _distinct(space.sample_array(np.random.default_rng(seed), POOL))
        if not targets:
            raise TargetError("a transfer needs at least one known target, given none")
        kinds = {kind_of(k) for t in targets for k in space_kernels(space, t.fusion).distinct()}
        self.classes = tuple(sorted(kinds))
        self._costs = [_by_class(target, space, self.classes) for target in targets]
        runs = np.isfinite(self.parts(self.sample)).all(axis=(0, 2))
        if not np.all(runs):
            refusing = [self.names[device] for device in np.flatnonzero(~runs)]
            raise TargetError(
                f"known targets {', '.join(refusing)} refuse networks of space {space.name!r}; "
                "leave them out, or restrict the space with `legal` first"
            )

    def parts(self, genotypes: IntArray) -> FloatArray:
        """The latency in ms, split by class of operators, `(networks, devices, classes)`."""
        devices = [np.stack([cost(genotypes) for cost in costs], axis=1) for costs in self._costs]
        return np.stack(devices, axis=1)


class KnownTable:
    """Known devices on which whole networks were measured.

    The latency of a network is modelled as a sum over its picked options. The sum averages out the
    noise of single measurements and also holds for networks that were not measured;
    `left_out_error` says how well. Choices with the same options share a class per option.

    Args:
        space: The space.
        genotypes: The measured networks, `(networks, choices)`.
        latency_ms: Their latencies, `(networks, devices)`.
        names: The names of the devices.

    Raises:
        TargetError: If a latency is missing, not finite or negative, or a network is not of the
            space.
    """

    def __init__(
        self,
        space: SearchSpace,
        genotypes: IntArray,
        *,
        latency_ms: FloatArray,
        names: Sequence[str],
    ) -> None:
        self.space = space
        self.names = tuple(names)
        genotypes = checked_genotypes(space, genotypes)
        latency_ms = np.asarray(latency_ms, dtype=np.float64)
        if latency_ms.shape != (len(genotypes), len(self.names)) or not latency_ms.size:
            raise TargetError(
                f"known latencies are (networks, devices) = ({len(genotypes)}, {len(self.names)}), "
                f"given {latency_ms.shape}"
            )
        wrong = np.argwhere(~(np.isfinite(latency_ms) & (latency_ms >= 0)))
        if len(wrong):
            row, device = (int(i) for i in wrong[0])
            raise TargetError(
                f"known latencies are finite and not negative, given {latency_ms[row, device]} ms "
                f"for network {row} on {self.names[device]!r}; leave out the network or the device"
            )
        self._additive = Additive(space, genotypes, latency_ms)
        self.sample = _distinct(genotypes)[:POOL]

    @property
    def left_out_error(self) -> FloatArray:
        """The root mean squared error of a network predicted from all others, ms, `(devices,)`."""
        return self._additive.left_out_error

    def parts(self, genotypes: IntArray) -> FloatArray:
        """The latency in ms, split by class of options, `(networks, devices, classes)`."""
        return self._additive.parts(genotypes)


class Transfer:
    """A transfer to a new device: chooses networks to measure and learns from their latencies.

    Args:
        known: Devices whose latency is known for every network of the space.

    Raises:
        TargetError: If no known device distinguishes the networks.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self._transfer = _refused(lambda: LatencyTransfer(known.parts(known.sample)))

    def choose(self, count: int) -> list[Genotype]:
        """The networks whose measurement tells most about all others; the first tell most.

        Raises:
            TargetError: If `count` is below three or above the size of the sample.
        """
        rows = _refused(lambda: self._transfer.choose(count))
        return as_genotypes(self.known.sample[rows])

    def fit(self, genotypes: Sequence[Genotype] | IntArray, latency_ms: FloatArray) -> Latency:
        """The latency of the new device, fitted to networks that were measured on it.

        Args:
            genotypes: The measured networks, `(networks, choices)`. Any networks of the space are
                accepted; those that `choose` returns tell more than random ones.
            latency_ms: Their measured latencies, `(networks,)`.

        Raises:
            TargetError: If a genotype is not of the space, or a latency cannot be right.
        """
        rows = checked_genotypes(self.known.space, np.asarray(genotypes))
        fitted = _refused(
            lambda: self._transfer.fit(self.known.parts(rows), np.asarray(latency_ms, float))
        )
        return Latency(self.known, fitted)


@dataclass(frozen=True, eq=False)
class Latency:
    """The predicted latency of a new device: called with `(n, choices)`, returns ms as `(n,)`.

    Attributes:
        known: The known devices.
        fitted: The regression for the new device.
    """

    known: Known
    fitted: Transferred

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The expected latency of every row of `genotypes` `(n, choices)` in ms, at least zero."""
        factors, constant = self._linear
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            result[rows] = np.tensordot(self.known.parts(genotypes[rows]), factors, 2) + constant
        return np.maximum(result, 0.0)

    def spread(self, genotypes: IntArray) -> FloatArray:
        """The standard deviation of a measurement of every row of `genotypes`, ms, `(n,)`."""
        chunks = range(0, len(genotypes), _CHUNK)
        parts = (self.known.parts(genotypes[start : start + _CHUNK]) for start in chunks)
        return np.concatenate([self.fitted.predict(part)[1] for part in parts] or [np.empty(0)])

    @property
    def relative_error(self) -> float:
        """The median relative error of the measured networks, each predicted from all others."""
        return self.fitted.relative_error

    @property
    def source(self) -> str:
        """The origin of the prediction and its error, in words for reports."""
        return (
            f"predicted from {', '.join(self.known.names)} and {len(self.fitted.measured_ms)} "
            f"measured networks; median error of a network left out {self.relative_error:.1%}"
        )

    @cached_property
    def _linear(self) -> tuple[FloatArray, float]:
        return self.fitted.linear()


def checked_genotypes(space: SearchSpace, genotypes: IntArray) -> IntArray:
    """The canonical form of `genotypes` `(n, choices)`.

    Raises:
        TargetError: If a row does not belong to the space; names the row.
    """
    rows = np.asarray(genotypes)
    if rows.ndim != 2 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise TargetError(
            f"genotypes are whole numbers (networks, {len(space.choices)}), given {rows.dtype} "
            f"{rows.shape}"
        )
    fits = rows.shape[1] == len(space.counts)
    wrong = np.any((rows < 0) | (rows >= space.counts), axis=1) if fits else np.ones(len(rows))
    for number in np.flatnonzero(wrong)[:1]:
        try:
            space.validate(rows[number].tolist())
        except ValueError as error:
            raise TargetError(f"network {number} is not of this space: {error}") from error
    return space.canonical_array(rows)


def _by_class(
    target: HardwareTarget, space: SearchSpace, classes: Sequence[str]
) -> list[Callable[[IntArray], FloatArray]]:
    """The latency of each class of kernels, then the rest of a network's latency, as functions."""
    total = target.compile(space)["latency_ms"]
    kernels = space_kernels(space, target.fusion)
    price = target.kernel_cost
    compiled = [
        kernels.compile(lambda kernel, kind=kind: price(kernel) if kind_of(kernel) == kind else 0.0)
        for kind in classes
    ]

    def rest(genotypes: IntArray) -> FloatArray:
        beyond = total(genotypes)
        runs = np.isfinite(beyond)
        beyond[runs] -= np.sum([cost(genotypes[runs]) for cost in compiled], axis=0)
        return beyond

    return [*compiled, rest]


def kind_of(kernel: Kernel) -> str:
    """The class name of a kernel's anchor."""
    return type(kernel.op).__name__


def _distinct(genotypes: IntArray) -> IntArray:
    """The rows of `genotypes` without repetitions, in order of first appearance."""
    return genotypes[np.sort(np.unique(genotypes, axis=0, return_index=True)[1])]


def _refused(make: Callable[[], T]) -> T:
    """The result of `make`; its `ValueError` becomes a `TargetError`."""
    try:
        return make()
    except ValueError as error:
        raise TargetError(str(error)) from error
