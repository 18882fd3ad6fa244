"""What a trained network loses by each precision, measured once, and what this offers a search."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter
from torch import Tensor

from nas.files.durable import write_atomic
from nas.own.structure import most_precise
from nas.parts import Parts
from nas.problem.goals import Problem
from nas.search.allocation.seeds import seeds
from nas.search.context import Context, Knowledge
from predictors.features import Column
from predictors.proxies.probe import tensors_of
from predictors.proxies.sensitivity import (
    Entry,
    SensitivityCost,
    Site,
    Study,
    measured,
    open_precisions,
    repaired_cost,
    weight_names,
)
from predictors.proxies.sensitivity.study import Distance, Options
from search_spaces.compensation import unbranched
from search_spaces.costs import CompiledCost, SpaceKernels
from search_spaces.documents import Source, read_json
from search_spaces.serialize import decode, encode
from search_spaces.space import Genotype
from supernets.assemble import module_name, node_names
from supernets.post_training import PostTraining
from supernets.post_training.observing import outputs_of_ops

KINDS = ("squared-error", "fisher")
"""The kinds that are measured by default: each needs a few passes for all precisions."""
_SAMPLES, _LEAST = 256, 16
_LOOKED_AT, _HELD = 1 << 28, 1 << 26
"""The numbers between layers that are looked at in all, and that are in memory at a time."""
_PAUSE_S = 2.0

_Value = Annotated[float, Field(allow_inf_nan=False, ge=0)]
_Stored = list[tuple[Literal["weight", "activation"], str, dict[str, Any], _Value]]
_FILE = TypeAdapter(dict[str, _Stored])


def squared_distance(out: Tensor, reference: Tensor) -> Tensor:
    """The squared distance of outputs from those of a reference, as a share of their square."""
    return (out - reference).square().sum() / reference.square().sum().clamp_min(1e-30)


def study_of(
    deployment: PostTraining,
    distance: Distance = squared_distance,
    *,
    samples: int = _SAMPLES,
    seed: int = 0,
) -> Study:
    """The study of the largest network of a deployment, in all precisions that its space offers.

    Args:
        deployment: The maker of networks without training.
        distance: The distance of outputs from those in full precision, the mean over the samples.
        samples: The most samples of the calibration batches that are looked at; fewer of networks
            with large tensors between their layers.
        seed: The seed of random directions.
    """
    space = deployment.space
    module = deployment.full_precision(unbranched(space)).eval()
    nodes, precisions = node_names(module), dict[Site, Options]()
    for tensor in ("weight", "activation"):
        for address, quants in open_precisions(space.graph, tensor).items():
            if address in nodes:
                precisions[Site(tensor, address)] = quants
    weights = {at.address: module_name(at.address) for at in precisions if at.tensor == "weight"}
    numbers = sum(outputs_of_ops(space.decode(space.largest)).values())
    most = min(samples, max(_LEAST, _LOOKED_AT // numbers))
    batches = [*_portions(deployment.calibration, most, size=max(1, _HELD // numbers))]
    names = weight_names(module, weights)
    return Study(module, batches, distance, nodes, names, precisions, seed)


def _portions(
    batches: Iterable[Mapping[str, Tensor]], most: int, *, size: int
) -> Iterator[Mapping[str, Tensor]]:
    """The first `most` samples of batches, in batches of at most `size` samples."""
    for batch in batches:
        count = min(most, len(tensors_of(batch)[0]))
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            yield {name: tensor[part] for name, tensor in batch.items()}
        most -= count


def digest(study: Study) -> str:
    """A digest of all that decides sensitivities: weights, samples, precisions and the seed."""
    found = hashlib.sha256(f"{study.seed}".encode())
    found.update("".join(str(one) for one in study.entries).encode())
    held = [*study.module.state_dict().values(), *(x for b in study.batches for x in tensors_of(b))]
    for tensor in held:
        found.update(f"{tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def sensed(
    study: Study,
    kinds: Sequence[str] = KINDS,
    *,
    folder: Path | None = None,
    told: Callable[[int, int], None] | None = None,
) -> dict[str, SensitivityCost]:
    """The sensitivities of each kind, in which more bits never lose more.

    Args:
        study: The network.
        kinds: The names of the kinds.
        folder: Where what is known of this very study is kept, so that an interrupted measurement
            goes on and no other budget or device measures again.
        told: Called with the number of known entries and that of all.

    Raises:
        PartError: There is no kind of a name.
        UnreadableFile: The file in the folder is damaged.
    """
    makers = {kind: Parts("sensitivity")[kind] for kind in kinds}
    path = None if folder is None else folder / f"sensitivities-{digest(study)}.json"
    store = _Store(path, study)
    result: dict[str, SensitivityCost] = {}
    for kind, make in makers.items():
        known = store.held.setdefault(kind, {})

        def tell(entry: Entry, value: float, known: dict[Entry, float] = known) -> None:
            known[entry] = value
            store.write(pause=_PAUSE_S)
            if told is not None:
                told(sum(map(len, store.held.values())), len(makers) * len(study.entries))

        result[kind] = repaired_cost(measured(study, make, known=dict(known), told=tell))
        store.write()
    return result


class _Store:
    """What is known of a study, by kind, in a file.

    Args:
        path: The file; nothing is kept if None.
        study: The network.
    """

    def __init__(self, path: Path | None, study: Study) -> None:
        self._path, self._written = path, time.monotonic()
        self.held: dict[str, dict[Entry, float]] = {}
        if path is not None and path.exists():
            what, remedy = "sensitivities", "delete it, and they are measured again"
            stored = read_json(path, _FILE, what=what, remedy=remedy)
            source = Source(f"{what} {path}", remedy)
            for kind, listed in stored.items():
                found = {Entry(Site(t, a), decode(q, source)): v for t, a, q, v in listed}
                if not set(found) <= set(study.entries):
                    raise source.error("has other precisions than the network", place=kind)
                self.held[kind] = found

    def write(self, *, pause: float = 0.0) -> None:
        """Write the file, unless that was done less than `pause` seconds ago."""
        if self._path is None or time.monotonic() - self._written < pause:
            return
        content = {
            kind: [[*e.site, encode(e.quant), value] for e, value in known.items()]
            for kind, known in self.held.items()
        }
        write_atomic(self._path, json.dumps(content).encode())
        self._written = time.monotonic()


@dataclass(frozen=True, eq=False)
class Sensed:
    """Knowledge of the precisions of a trained network: features of policies, and first policies.

    Attributes:
        problem: The space and the goals.
        losses: The name of a kind -> the summed sensitivity of genotypes.
        starts: The most precise networks of several widths, the whole one first.
    """

    problem: Problem
    losses: Mapping[str, CompiledCost]
    starts: Sequence[Genotype]

    @classmethod
    def of(cls, problem: Problem, found: Mapping[str, SensitivityCost]) -> Sensed:
        """The knowledge from sensitivities of the space of a problem."""
        kernels = SpaceKernels(problem.space)
        losses = {kind: kernels.compile_by_address(cost) for kind, cost in found.items()}
        return cls(problem, losses, most_precise(problem.space))

    def columns(self) -> list[Column]:
        """The logarithm of each summed sensitivity."""
        return [_log(loss) for loss in self.losses.values()]

    def first(self, count: int) -> list[Genotype]:
        """Policies of least summed sensitivity within budgets between the cheapest and the best.

        As many policies begin at every start, in turn.
        """
        each = math.ceil(count / len(self.starts))
        found = (
            seeds(self.problem, self.losses, genotype=start, count=each) for start in self.starts
        )
        turns = itertools.zip_longest(*found)
        drawn = dict.fromkeys(one for turn in turns for one in turn if one is not None)
        return [*drawn][:count]


def _log(loss: CompiledCost) -> Column:
    return lambda rows: np.log(np.maximum(loss(rows), 1e-30))


class SensedContext(Context):
    """A context that offers a searcher what sensitivities tell.

    Args:
        known: The knowledge.
    """

    def __init__(self, known: Knowledge) -> None:
        self._known = known

    @property
    def probe(self) -> Knowledge | None:
        """The knowledge from sensitivities."""
        return self._known
