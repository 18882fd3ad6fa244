"""The returned policy is good enough, and no uniform policy dominates it."""

from dataclasses import replace

import numpy as np
import pytest

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.own.choosing import Candidates, Wanted, chosen, picked, verdict
from nas.own.evaluator import HELD_OUT
from nas.own.uniform import uniform_policies
from nas.problem.goals import Goal
from nas.testing.networks import space
from search_spaces.choice import choice as option
from search_spaces.formats import BFLOAT16, FLOAT16
from search_spaces.graph import Graph
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import bits_of
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from search_spaces.tabular import Pick


def candidates(rows):
    """Candidates from rows of loss, further loss, cost, whether uniform."""
    losses, further, costs, uniform = map(np.array, zip(*rows, strict=True))
    return Candidates(
        [(place,) for place in range(len(rows))],
        np.stack([losses, further], axis=1).astype(float),
        costs[:, None].astype(float),
        uniform.astype(bool),
        np.isfinite(costs.astype(float)),
    )


FLOAT, INT8, INT4 = (0.0, 0.0, 10.0, True), (1.0, 1.0, 5.0, True), (9.0, 9.0, 4.0, True)


def place_of(*rows, most=None, cheap=True):
    return chosen(candidates(rows), most_loss=most, prefer_cheap=cheap)


def test_the_cheapest_that_is_good_enough():
    mixed = (0.5, 0.5, 7.0, False)
    assert place_of(FLOAT, INT8, INT4, mixed, most=1.0) == 1
    assert place_of(FLOAT, INT8, INT4, mixed, most=0.6) == 3
    assert place_of(FLOAT, INT8, INT4, mixed, cheap=False) == 0
    assert place_of(FLOAT, most=-1.0) is None


def test_a_dominated_mixed_policy_is_never_returned():
    assert place_of(FLOAT, INT8, (1.0, 0.9, 5.0, False), most=1.0) == 1
    assert place_of(FLOAT, INT8, (0.9, 1.0, 5.0, False), most=0.95) == 0
    assert place_of(FLOAT, INT8, (0.9, 0.9, 5.0, False), most=0.95) == 2


def test_a_mixed_policy_must_save_more_than_measurements_differ_by():
    held = candidates([FLOAT, INT8, (1.0, 1.0, 4.9, False)])
    for noise, place in ((0.0, 2), (0.03, 1)):
        assert chosen(replace(held, noise=noise), most_loss=1.0, prefer_cheap=True) == place


def test_equal_uniform_policies_do_not_drive_each_other_out():
    assert place_of(INT8, INT8) == 0
    assert place_of((1.0, 1.0, 6.0, True), INT8) == 1


def test_no_choice_of_random_candidates_is_dominated():
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = np.column_stack([rng.integers(0, 5, (12, 3)) + 1.0, rng.random(12) < 0.4])
        held = candidates([tuple(row) for row in rows])
        for cheap in (True, False):
            place = chosen(held, most_loss=3.0, prefer_cheap=cheap)
            if place is None or held.uniform[place]:
                continue
            rivals = held.uniform & (held.costs[:, 0] <= held.costs[place, 0])
            assert (held.losses[rivals] > held.losses[place]).all()


def test_the_cheapest_that_only_chance_sets_apart_from_the_best():
    near, far = (0.1, 0.1, 8.0, False), (0.2, 0.2, 4.5, False)
    held = candidates([(1.0, 1.0, 5.0, True), near, far, (1.3, 1.3, 1.0, True)])
    for alike, place in ((0.0, 1), (0.05, 1), (0.11, 2), (1.25, 3)):
        held = replace(held, alike=(alike, alike))
        assert chosen(held, most_loss=None, prefer_cheap=False) == place
    # What is asked for beside the limits holds to the last digit.
    assert chosen(held, most_loss=0.2, prefer_cheap=True) == 2
    # Whatever is worse by one figure alone is no equal.
    assert chosen(replace(held, alike=(1.25, 0.0)), most_loss=None, prefer_cheap=False) == 1


def test_chance_is_the_error_of_a_difference_on_the_same_samples():
    hard = np.tile([0.0, 100.0], 50)
    wrong = np.where(np.arange(100) < 4, 100.0 - hard, hard)  # 4 of 100 answers differ
    error = 100 * np.sqrt(4 / 99 / 100)
    for behind, equal in ((0.99 * error, True), (1.01 * error, False)):
        held = candidates([(50.0, 50.0, 9.0, True), (50.0 + behind, 50.0, 5.0, True)])
        held = replace(held, answers=[hard, wrong])
        assert held.equal(1, 0) is equal
        assert chosen(held, most_loss=None, prefer_cheap=False) == int(equal)
        assert replace(held, alike=(2 * error, 0.0)).equal(1, 0)
        assert not replace(held, answers=[hard, None]).equal(1, 0)
        assert not replace(held, answers=[hard, hard]).equal(1, 0)


def test_a_uniform_policy_wins_where_costs_are_measured_alike():
    held = candidates([(0.0, 0.0, 9.0, False), (0.09, 0.09, 5.0, True), (0.05, 0.05, 4.9, False)])
    held = replace(held, alike=(0.1, 0.1))
    assert chosen(held, most_loss=None, prefer_cheap=False) == 2
    assert chosen(replace(held, noise=0.03), most_loss=None, prefer_cheap=False) == 1


def test_a_slow_policy_needs_more_than_chance_over_a_fast_uniform_one():
    # ResNet-20 by distance: float activations are nearer, at six times the latency, and no better.
    figures = [9e6, 7.1, 44.5], [0.0, 0.075, 0.003], [9e6, 7.1, 44.5], NAMES
    slow, _ = choice_of(*figures, limits={"latency_ms": 60.0})
    fast, _ = choice_of(*figures, limits={"latency_ms": 60.0}, alike=(0.2, 0.2))
    assert (slow.name, fast.name) == ("mixed", "int8")


def test_verdicts():
    names = {(0,): "float32", (1,): "int8", (2,): "int4"}
    held = candidates([FLOAT, INT8, INT4, (0.5, 0.5, 7.0, False)])
    assert "int8 is returned: nothing is cheaper and good" in verdict(held, 1, names, cost="ms")
    assert "nothing is faster and good" in verdict(held, 1, names, cost="latency_ms")
    assert "cheaper but worse: int4" in verdict(held, 1, names, cost="ms")
    assert "30% less ms than float32" in verdict(held, 3, names, cost="ms")


def test_uniform_policies_have_every_pair_of_formats():
    made = space("residual", Policy(weight_bits=(4, 8, None), activation_bits=(8, None)))
    found = {one.name: one for one in uniform_policies(made)}
    assert next(iter(found)) == "float32"
    assert {"int8", "float32", "int4 weights, int8 activations"} <= found.keys()
    assert len(found) == 6
    graph = made.decode(found["int8"].genotype)
    weights = [bits_of(node.op.weight) for node in graph.nodes.values() if node.op.weight]
    assert set(weights) == {8}


def test_floats_of_16_bits_are_paired_with_what_is_of_use_beside_them():
    policy = Policy(
        weight_bits=(4, BFLOAT16, FLOAT16, None), activation_bits=(8, FLOAT16, None), edge_bits=8
    )
    found = {one.name: one.bits for one in uniform_policies(space("residual", policy))}
    assert found == {
        "float32": (32, 32),
        "float32 weights, int8 activations": (32, 8),
        "bfloat16 weights, float32 activations": (16, 32),
        "float16 weights, float32 activations": (16, 32),
        "float16": (16, 16),
        "int4 weights, float32 activations": (4, 32),
        "int4 weights, float16 activations": (4, 16),
        "int4 weights, int8 activations": (4, 8),
    }


def test_a_choice_without_a_format_gets_the_next_wider_one():
    made = residual(
        (Input("image", (1, 8, 8)),),
        (10,),
        widths=((8,), (8,)),
        depths=((1,),),
        policy=Policy(weight_bits=(2, 4), activation_bits=(8,), edge_bits=(4, 8)),
    )
    found = {one.name: one.genotype for one in uniform_policies(made)}
    graph = made.decode(found["int2 weights, int8 activations"])
    assert graph.nodes["stem"].op.weight.bits == 4
    assert graph.nodes["stage0.block0.conv1"].op.weight.bits == 2


@pytest.mark.parametrize(("bits", "name"), [(8, "int8"), (None, "float32")])
def test_a_space_without_choices_has_its_only_policy(bits, name):
    policy = Policy(weight_bits=(bits,), activation_bits=(bits,), edge_bits=bits)
    only = residual(
        (Input("image", (1, 8, 8)),), (10,), widths=((8,), (8,)), depths=((1,),), policy=policy
    )
    assert [(one.name, one.genotype) for one in uniform_policies(only)] == [(name, ())]


class Costs:
    """The cost of a goal, given by genotype."""

    def __init__(self, costs):
        self.costs = {"latency_ms": lambda rows: np.array([costs[int(row[0])] for row in rows])}


def evaluated(losses):
    return [
        Evaluation((place,), {"error": loss, HELD_OUT: loss}, 0, 0.0, "here")
        for place, loss in enumerate(losses)
    ]


def choice_of(predicted, losses, measured, names, *, alike=(0.0,), **wanted):
    space = SearchSpace(Graph.from_nodes(_nodes(len(losses))))
    limits = wanted.get("limits", {})
    goal = Goal("this-cpu", Costs(predicted).costs, ("latency_ms",), limits)
    asked = []

    def timed(genotypes):
        asked.extend(genotypes)
        return [measured[one[0]] for one in genotypes]

    found = picked(
        goal,
        Measurements.of(evaluated(losses), space),
        names=names,
        by=(HELD_OUT, "error"),
        wanted=Wanted(**wanted),
        alike=alike,
        timed=timed,
    )
    return found, asked


def _nodes(options):
    graph = Graph(Input("x", (1,)))
    graph.add("pick", Pick(option("pick", tuple(range(options)))))
    return graph.nodes


NAMES = {(0,): "float32", (1,): "int8"}


def test_what_is_measured_counts_instead_of_what_was_predicted():
    # The mixed policy is predicted to be faster than int8, and is slower as a whole file.
    found, asked = choice_of([9, 5, 4], [0.0, 1.0, 0.5], [9, 5, 6], NAMES)
    assert (found.name, found.evaluation.genotype) == ("int8", (1,))
    assert {*asked} == {(0,), (1,), (2,)}
    faster, _ = choice_of([9, 5, 4], [0.0, 1.0, 0.5], [9, 5, 4.5], NAMES)
    assert faster.evaluation.genotype == (2,)
    assert faster.latency_ms == {(0,): 9, (1,): 5, (2,): 4.5}


def test_only_what_may_be_returned_is_measured():
    _, asked = choice_of([9, 5, 4, 3], [0.0, 1.0, 0.5, 7.0], [9, 5, 4, 3], NAMES)
    assert (3,) not in asked


def test_a_float_that_is_fastest_is_returned_with_the_honest_word():
    found, _ = choice_of([9, 5, 4], [0.0, 1.0, 0.5], [3, 5, 6], NAMES)
    assert found.name == "float32"
    assert "nothing is faster" in found.verdict


def test_nothing_is_returned_where_nothing_is_good_enough():
    none, _ = choice_of([5, 4], [1.0, 0.5], [5, 6], {(0,): "int8"}, allowed_drop=0.1)
    assert none is None


@pytest.mark.parametrize("drop", [-1.0, float("nan")])
def test_a_drop_that_is_none_is_refused(drop):
    with pytest.raises(ValueError, match="give 0 or more"):
        Wanted(allowed_drop=drop)


def test_a_limit_holds_for_what_is_measured():
    found, _ = choice_of([9, 5, 4], [0.0, 1.0, 0.5], [9, 5, 6], NAMES, limits={"latency_ms": 5.5})
    assert found.name == "int8"
