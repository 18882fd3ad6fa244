"""Zero-cost proxies before any evaluation: they give a first batch and features of networks."""

from __future__ import annotations

import functools
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from scipy.stats import rankdata

from nas.files.durable import write_atomic
from nas.parts import Parts
from nas.problem.goals import Goal
from nas.run.plan import Plan
from nas.run.steps.training import device_of
from nas.search.allocation import precision_choices, reallocated
from nas.search.initial import spread_over_costs
from nas.tasks.task import Batch
from nas.terminal.display import Display, Silent
from predictors.features import Column, OneHot
from predictors.proxies import score as scored
from predictors.proxies.estimate import ProxyEstimate
from predictors.proxies.proxy import Proxy
from predictors.proxies.ranking import directions, rank_mean
from predictors.proxies.sensitivity import (
    SensitivityCost,
    Site,
    Study,
    Values,
    measured,
    open_precisions,
    output_distance,
    weight_names,
)
from search_spaces.costs import SpaceKernels
from search_spaces.documents import Source, read_json
from search_spaces.quant import Quant
from search_spaces.serialize import decode, encode
from search_spaces.space import Genotype, IntArray, InvalidGenotype, as_genotypes
from supernets.assemble import module_name, node_names
from supernets.deploy import on_device
from supernets.extract import extract
from supernets.inputs import to_device
from supernets.supernet import Supernet

BATCH = 64
_SENSITIVITY_BATCH = 256
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probe:
    """The scores of zero-cost proxies on some subnets, and the sensitivity to each precision.

    Attributes:
        genotypes: The probed subnets, `(n, choices)`.
        scores: Proxy name -> the score of each probed subnet, `(n,)`.
        sensitivity: How far each precision of each weight and input moves the output, by the
            criterion's distance.
    """

    genotypes: IntArray
    scores: Mapping[str, FloatArray]
    sensitivity: SensitivityCost

    def columns(self, plan: Plan) -> list[Column]:
        """The feature columns from this probe: summed sensitivity, and estimates of the proxies."""
        additive = SpaceKernels(plan.space).compile_by_address(self.sensitivity)
        estimate = ProxyEstimate(OneHot(plan.space).compact).fit(self.genotypes, self.scores)
        return [lambda rows: np.log1p(additive(rows)), *estimate.columns]

    def first(self, plan: Plan, count: int) -> list[Genotype]:
        """The subnets to evaluate first: those of `ranked`, in the precisions of least sensitivity.

        The cost of each stays at most as high as before, on one target after the other.
        """
        rows = np.array(self.ranked(plan, count))
        for row, goal in zip(rows, itertools.cycle(plan.problem.computed.goals), strict=False):
            spent = goal.values(row[None])[:, 0]
            if np.isfinite(spent).all():
                row[:] = self.precisions(plan, tuple(row.tolist()), goal, budgets=spent)[0]
        return as_genotypes(rows)

    def ranked(self, plan: Plan, count: int) -> list[Genotype]:
        """The probed subnets that are ranked best in each band of cost.

        The best of all bands together would be similar, and a predictor learns little from them.
        """
        larger = directions(proxies_of(plan))
        ranks = rank_mean(self.scores, larger_is_better=larger)
        goals = plan.problem.computed.goals
        costs = np.column_stack([goal.values(self.genotypes) for goal in goals])
        level = rankdata(costs, axis=0).mean(axis=1)
        bands = np.array_split(np.argsort(level, kind="stable"), min(count, len(level)))
        best = [int(band[ranks[band].argmin()]) for band in bands]
        return as_genotypes(self.genotypes[best])

    def precisions(
        self, plan: Plan, genotype: Genotype, goal: Goal, *, budgets: FloatArray
    ) -> IntArray:
        """The subnet with the precisions of least summed sensitivity, for each budget.

        Args:
            plan: The run.
            genotype: The subnet, from whose precisions the search begins.
            goal: The goal whose first cost objective the budgets limit.
            budgets: Upper limits, `(n,)`.

        Returns:
            `(n, choices)`.

        Raises:
            ValueError: No precisions that were found are within a budget.
        """
        return reallocated(
            plan.space,
            genotype,
            loss=SpaceKernels(plan.space).compile_by_address(self.sensitivity),
            cost=goal.costs[goal.objectives[0]],
            budgets=budgets,
            choices=precision_choices(plan.space),
        )


def probed(plan: Plan, supernet: Supernet, display: Display | None = None) -> Probe:
    """The probe of this run, read from its folder if it is there already."""
    if not plan.files.probe.exists():
        with (display or Silent()).stage("probe") as advance:
            count = plan.recipe.search.proxies
            rng = np.random.default_rng([plan.recipe.seed, count])
            rows = spread_over_costs(plan.problem.computed, rng, count)
            found: list[dict[str, float]] = []
            here = on_device(supernet, device_of(plan))
            for row in as_genotypes(rows):
                found.append(score(plan, here, row))
                advance(len(found), len(rows), "zero-cost proxies")
            advance(len(rows), len(rows), "precision sensitivity")
            made = _sensitivity(plan, here)
        write_atomic(plan.files.probe, json.dumps(_encode(rows, found, made)).encode())
    return _read(plan)


def score(plan: Plan, supernet: Supernet, genotype: Genotype) -> dict[str, float]:
    """The score of every zero-cost proxy for one subnet: proxy name -> score.

    The scores are computed on one training batch, on the device of the supernet.
    """
    inputs, targets = _batch(plan, supernet, BATCH)
    # Rounding has no gradient, so most proxies see the architecture; precision enters by
    # sensitivity, and by proxies that compare both forms.
    module = extract(supernet, genotype, [inputs], quantize=False).module
    proxies, criterion = proxies_of(plan), plan.task.criterion
    compared = any(proxy.of_precision for proxy in proxies)
    return dict(
        scored(
            module,
            (inputs, targets),
            criterion.plain,
            proxies=proxies,
            quantized=extract(supernet, genotype, [inputs]).module if compared else None,
            distance=criterion.distance,
        )
    )


def proxies_of(plan: Plan) -> list[Proxy]:
    """The zero-cost proxies that the recipe names."""
    known = Parts("proxy")
    return [known[name] for name in plan.recipe.search.zero_cost]


def _batch(plan: Plan, supernet: Supernet, size: int) -> Batch:
    """The first `size` training samples and their targets, on the device of the supernet."""
    device = next(supernet.parameters()).device
    inputs, targets = next(plan.task.batches("train", size))
    return to_device(inputs, device), targets.to(device)


def _sensitivity(plan: Plan, supernet: Supernet) -> SensitivityCost:
    """The sensitivity to precisions, measured on the largest subnet in full precision.

    Layers that are not in this subnet have no sensitivity.
    """
    inputs, _ = _batch(plan, supernet, _SENSITIVITY_BATCH)
    plain = extract(supernet, plan.space.largest, [inputs], quantize=False)
    weights, reads = (
        {address: quants for address, quants in options.items() if address in plain.graph.nodes}
        for options in _open_precisions(plan)
    )
    study = Study(
        plain.module.eval(),
        [inputs],
        plan.task.criterion.distance,
        node_names(plain.module),
        weight_names(plain.module, {address: module_name(address) for address in weights}),
        {Site("weight", address): quants for address, quants in weights.items()}
        | {Site("activation", address): quants for address, quants in reads.items()},
    )
    return measured(study, output_distance)


def _open_precisions(plan: Plan) -> list[dict[str, tuple[Quant | None, ...]]]:
    graph = plan.space.graph
    return [open_precisions(graph, "weight"), open_precisions(graph, "activation")]


def proxies_and_sensitivity(plan: Plan, supernet: Supernet) -> tuple[float, int, float]:
    """What a probe costs: the seconds of a subnet's scores, the passes for sensitivity, their time.

    Args:
        plan: The run.
        supernet: A supernet of its space, trained or not, on any device.
    """
    here = on_device(supernet, device_of(plan))
    middle = as_genotypes(plan.space.sample_array(np.random.default_rng(0), 2))
    times = [_timed(functools.partial(score, plan, here, genotype)) for genotype in middle]
    inputs, _ = _batch(plan, here, _SENSITIVITY_BATCH)
    plain = extract(here, plan.space.largest, [inputs], quantize=False).module.eval()
    passes = sum(len(quants) for found in _open_precisions(plan) for quants in found.values())
    with torch.no_grad():
        forward = [_timed(functools.partial(plain, **inputs)) for _ in range(2)]
    return times[-1], passes, forward[-1]


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _encode(
    rows: IntArray, found: Sequence[Mapping[str, float]], made: SensitivityCost
) -> dict[str, Any]:
    def listed(values: Values) -> list[Any]:
        return [[address, encode(quant), value] for (address, quant), value in values.items()]

    return {
        "genotypes": rows.tolist(),
        "scores": {name: [one[name] for one in found] for name in (found[0] if found else ())},
        "weights": listed(made.weights),
        "activations": listed(made.activations),
    }


def _number(value: float) -> float:
    """The score, which may be infinite: the worst score, of a proxy that gave no number."""
    if math.isnan(value):
        raise ValueError("must be a number")
    return value


Number = Annotated[float, AfterValidator(_number)]
Distance = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Entry = tuple[str, dict[str, Any] | None, Distance]


class _Stored(BaseModel):
    """The form of a stored probe, as `_encode` makes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    genotypes: list[list[int]]
    scores: dict[str, list[Number]]
    weights: list[Entry]
    activations: list[Entry]


_PROBE = TypeAdapter(_Stored)


def _read(plan: Plan) -> Probe:
    """The stored probe, checked to be of networks and precisions of this run's space."""
    what, remedy = "probe of this space", "delete it, and it is made again"
    stored = read_json(plan.files.probe, _PROBE, what=what, remedy=remedy, finite=False)
    source = Source(f"{what} {plan.files.probe}", remedy)
    try:
        rows = [plan.space.validate(row) for row in stored.genotypes]
    except InvalidGenotype as error:
        raise source.error(str(error), place="genotypes") from error
    if rows and stored.scores.keys() != directions(proxies_of(plan)).keys():
        raise source.error("has the scores of other proxies than search.zero_cost", place="scores")
    for name, column in stored.scores.items():
        if len(column) != len(rows):
            fault = f"must have one score for each of {len(rows)} subnets, given {len(column)}"
            raise source.error(fault, place=f"scores.{name}")

    measured: list[Values] = []
    listed = (stored.weights, stored.activations)
    for known, entries in zip(_open_precisions(plan), listed, strict=True):
        found = {(address, decode(quant, source)): value for address, quant, value in entries}
        for at in {address for address, _ in found}:
            if {quant for address, quant in found if address == at} != {*known.get(at, ())}:
                raise source.error(f"has other precisions at {at!r} than the space")
        measured.append(found)
    genotypes = np.array(rows, dtype=np.int64).reshape(len(rows), len(plan.space.choices))
    scored = {name: np.array(column) for name, column in stored.scores.items()}
    return Probe(genotypes, scored, SensitivityCost(*measured))
