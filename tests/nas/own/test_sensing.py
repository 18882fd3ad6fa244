import json

import numpy as np
import pytest
import torch

from nas.evaluation.rewrites import post_training
from nas.own.sensing import Sensed, SensedContext, sensed, squared_distance, study_of
from nas.parts import PartError
from nas.problem.goals import Goal, Problem
from nas.search.named import searcher_named
from nas.testing.rewrite import drawn_tensors
from predictors.proxies.sensitivity import (
    InteractionCost,
    Interactions,
    interactions,
)
from search_spaces.costs import SpaceKernels, model_bytes
from search_spaces.documents import UnreadableFile
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual


@pytest.fixture(scope="module")
def deployment():
    space = residual(
        (Input("image", (3, 8, 8)),),
        (5,),
        widths=((4,), (4, 6)),
        depths=((1,),),
        policy=Policy(weight_bits=(2, 4, None), activation_bits=(8, None), edge_bits=(8, None)),
    )
    drawn = torch.Generator().manual_seed(3)
    batches = [{"image": torch.randn(8, 3, 8, 8, generator=drawn)} for _ in range(2)]
    return post_training(space, drawn_tensors(space), batches)


@pytest.fixture(scope="module")
def study(deployment):
    return study_of(deployment, samples=12)


def test_a_study_has_every_open_precision_and_so_many_samples(deployment, study):
    assert sum(len(batch["image"]) for batch in study.batches) == 12
    found = {(site.tensor, site.address) for site in study.precisions}
    assert ("weight", "stage0.block0.conv1") in found
    assert ("activation", "stage0.block0.conv1") in found
    outputs = deployment.full_precision(deployment.space.largest)(**study.batches[0])
    torch.testing.assert_close(study.run(study.batches[0]), outputs.detach())


def test_what_was_measured_is_kept_and_goes_on_where_it_stopped(study, tmp_path):
    whole = sensed(study, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    stored = json.loads(path.read_text())
    stored["fisher"] = stored["fisher"][:5]
    path.write_text(json.dumps(stored))
    seen: list[int] = []
    again = sensed(study, folder=tmp_path, told=lambda done, _: seen.append(done))
    assert seen[0] == len(study.entries) + 6
    assert len(seen) == len(study.entries) - 5
    assert again.keys() == whole.keys()
    for kind, cost in again.items():
        for key, value in cost.weights.items():
            assert value == pytest.approx(whole[kind].weights[key], rel=0.5)


def test_a_damaged_file_is_refused(study, tmp_path):
    sensed(study, ["squared-error"], folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("conv1", "conv9"))
    with pytest.raises(UnreadableFile, match="other precisions than the network"):
        sensed(study, ["squared-error"], folder=tmp_path)


def test_a_kind_that_is_not_there_is_named(study):
    with pytest.raises(PartError, match="there is no sensitivity 'hawq'"):
        sensed(study, ["squared-error", "hawq"])


def test_a_search_begins_with_the_seeds_of_sensitivities(deployment, study):
    space = deployment.space
    cost = SpaceKernels(space).compile(model_bytes)
    problem = Problem(space, (Goal("device", {"bytes": cost}, ("bytes",)),))
    known = Sensed.of(problem, sensed(study))
    rows = space.sample_array(np.random.default_rng(0), 50)
    assert all(np.isfinite(column(rows)).all() for column in known.columns())
    found = searcher_named("guided", problem, seed=0, context=SensedContext(known)).ask(6)
    first = known.first(12)
    assert len(first) > 2
    assert set(found[: len(first)]) <= set(first)
    spent = cost(np.array(known.first(6)))
    assert spent.max() > 2 * spent.min()


def test_interactions_of_a_space_sum_over_its_precisions(deployment, study):
    space = deployment.space
    entries = [entry for entry in study.entries if entry.site.tensor == "weight"]
    found = interactions(study, entries)
    cost = InteractionCost(space, found)
    rows = space.sample_array(np.random.default_rng(1), 5)
    for row, value in zip(rows.tolist(), cost(rows), strict=True):
        graph = space.decode(row)
        chosen = [
            number
            for number, entry in enumerate(entries)
            if graph.nodes[entry.site.address].op.weight == entry.quant
        ]
        assert value == pytest.approx(found.loss(chosen), abs=1e-12)
    assert cost(np.array([space.largest]))[0] == 0.0
    inner = [entry for entry in entries if "conv1" in entry.site.address]
    part = Interactions(inner[:1], np.eye(1))
    with pytest.raises(ValueError, match="are not known; measure every precision"):
        InteractionCost(space, part)


def test_the_default_distance_is_a_share_of_the_outputs():
    reference = torch.tensor([[3.0, 4.0]])
    assert squared_distance(reference, reference) == 0
    assert squared_distance(2 * reference, reference) == 1
