"""Banks of about equal cost, their memory, and smallest subnets of several sizes."""

import numpy as np
import pytest
import torch

from nas.testing.sampler import context_of, elastic_space, losses_of
from search_spaces.costs import bitops, compile_cost
from supernets.training.context import Moment
from supernets.training.samplers import Sandwich
from supernets.training.samplers.complexity import ComplexityAware
from supernets.training.samplers.precisions import drawn
from supernets.training.samplers.windows import Windows

SPACE = elastic_space()
COST = compile_cost(SPACE, bitops)
LAST = 11  # the step at the end of the quantized phase


def uniform(rng, count):
    return drawn(SPACE, rng, count, quantized=True)


@pytest.fixture(scope="module")
def windows():
    return Windows.spread(uniform, COST, 8)


@pytest.fixture(scope="module")
def context():
    return context_of(SPACE)


def drawn_at(sampler, step, seed=0):
    context = sampler.context
    rng = np.random.default_rng([seed, step])
    return sampler.draw(Moment(step, context.plan), context.batch(step), rng)


def test_windows_have_equal_width_in_logarithms_between_quantiles(windows):
    logs = np.log(COST(uniform(np.random.default_rng(0), 4096)))
    assert np.diff(windows.edges) == pytest.approx([np.diff(windows.edges)[0]] * 8)
    assert windows.edges[[0, -1]] == pytest.approx(np.quantile(logs, (0.01, 0.99)))
    found = windows.of(np.array([SPACE.smallest, SPACE.largest]))
    assert found.tolist() == [0, 7]
    middles = np.exp((windows.edges[:-1] + windows.edges[1:]) / 2)
    same = Windows(uniform, lambda _: middles, windows.edges)
    assert same.of(np.zeros((8, 9), dtype=int)).tolist() == list(range(8))


def test_drawn_subnets_lie_in_their_window_and_draws_of_every_window_end(windows):
    for window in range(8):
        rows = windows.drawn(np.random.default_rng(window), window, 3)
        assert rows.shape == (3, 9)
        assert windows.of(rows).tolist() == [window] * 3
        assert (SPACE.canonical_array(rows) == rows).all()


def test_a_window_that_no_subnet_hits_gives_those_of_the_nearest_costs():
    rows = np.arange(300)[:, None]
    edges = np.log([1.0, 50.2, 50.4, 400.0])

    def draw(rng, count):
        return rng.permutation(rows)[:count]

    windows = Windows(draw, lambda rows: rows[:, 0].astype(float) + 1, edges)
    near = windows.drawn(np.random.default_rng(0), 1, 2)
    tried = np.random.default_rng(0).permutation(rows)[:256]
    gaps = np.maximum(np.log(50.2) - np.log(tried + 1), np.log(tried + 1) - np.log(50.4))
    assert (np.sort(near[:, 0]) == np.sort(tried[np.argsort(gaps[:, 0])[:2], 0])).all()


def test_subnets_that_a_device_does_not_run_are_not_drawn():
    def cost(rows):
        return np.where(rows[:, 1] == 0, np.inf, COST(rows))

    windows = Windows.spread(uniform, cost, 8)
    rows = [windows.drawn(np.random.default_rng(seed), 7, 3) for seed in range(8)]
    assert (np.concatenate(rows)[:, 1] == 1).all()


@pytest.mark.parametrize("wrong", [np.inf, np.nan, 0.0, -1.0])
def test_costs_by_which_nothing_can_be_drawn_are_refused(wrong):
    with pytest.raises(ValueError, match="none of 4096 random subnets has a finite positive cost"):
        Windows.spread(uniform, lambda rows: np.full(len(rows), wrong), 8)


def test_a_step_has_subnets_of_one_bank_and_the_bank_walks_by_one_within_bounds(context, windows):
    sampler, banks = ComplexityAware(context), []
    for seed in range(150):
        subnets = drawn_at(sampler, LAST, seed)
        (bank,) = set(windows.of(np.array(subnets.random)).tolist())
        banks.append(bank)
    moves = np.diff(banks)
    assert set(moves) == {-1, 0, 1}
    assert set(banks) == set(range(8))
    inside = np.array([0 < bank < 7 for bank in banks[:-1]])
    assert (moves[inside] == 1).mean() == pytest.approx(1 / 3, abs=0.13)


def test_the_smallest_subnet_grows_with_the_bank_and_stays_the_cheapest(context, windows):
    sampler, found = ComplexityAware(context), {}
    for seed in range(150):
        subnets = drawn_at(sampler, LAST, seed)
        bank = int(sampler.tensors()["bank"])
        found.setdefault(bank * 3 // 8, set()).add(subnets.smallest)
        cost = COST(np.array([subnets.smallest, *subnets.random]))
        assert cost[0] == cost.min()
    assert found[0] == {SPACE.smallest}
    costs = [max(COST(np.array(list(found[group])))) for group in range(3)]
    assert costs == sorted(costs)
    assert len(set(costs)) == 3
    assert np.log(costs[2]) <= windows.edges[6], "the bank at which its third begins"


def test_in_full_precision_costs_tell_architectures_apart(context):
    sampler = ComplexityAware(context)
    bits = [SPACE.column[f"stage0.block0.{kind}.bits"] for kind in ("weight", "activation")]
    for seed in range(5):
        rows = np.array(drawn_at(sampler, 1, seed).random)
        assert (rows[:, bits] == [2, 1]).all()


def told(sampler, losses):
    """Tell a quantized step with subnets of given losses beside a largest one of loss 1."""
    students = tuple(losses)
    subnets = Sandwich(SPACE.largest, students, SPACE.smallest)
    sampler.tell(Moment(LAST, sampler.context.plan), subnets, [1.0, *losses.values(), 9.0])


def test_a_bank_keeps_the_best_by_the_loss_above_the_largest_subnets(context, windows, monkeypatch):
    monkeypatch.setattr("supernets.training.samplers.complexity._KEPT", 3)
    sampler = ComplexityAware(context)
    rows = uniform(np.random.default_rng(1), 400)
    inside = [tuple(row) for row in np.unique(rows[windows.of(rows) == 4], axis=0).tolist()][:5]
    a, b, c, d, e = inside
    told(sampler, {a: 1.5, b: 1.2, c: 1.4})
    told(sampler, {d: 1.3})  # better than the worst, a
    told(sampler, {e: 2.0})  # worse than all
    told(sampler, {b: 1.6})  # measured again
    memory = sampler.tensors()
    held = zip(memory["rows"][4].tolist(), memory["scores"][4].tolist(), strict=True)
    assert {tuple(row): score for row, score in held} == pytest.approx({b: -0.6, c: -0.4, d: -0.3})
    others = torch.cat([memory["scores"][:4], memory["scores"][5:]])
    assert others.isinf().all()


def test_once_half_full_a_fifth_of_the_draws_come_from_memory_by_their_scores(context, windows):
    sampler = ComplexityAware(context)
    rows = uniform(np.random.default_rng(1), 4096)
    rows = np.unique(rows[windows.of(rows) == 4], axis=0)[:24].tolist()
    told(sampler, {tuple(row): 1.5 for row in rows[:23]})
    told(sampler, {tuple(rows[23]): 1.5 - np.log(23.0)})  # drawn as often as all others together
    favourite, kept = tuple(rows[23]), sampler.tensors()["rows"][4]
    assert share_from_memory(sampler, favourite) < 0.05, "24 of 50 places are taken"
    sampler._rows[4, 24], sampler._scores[4, 24] = kept[0] * 0, -50.0
    assert share_from_memory(sampler, favourite) == pytest.approx(0.1, abs=0.05)


def share_from_memory(sampler, genotype):
    """The share of the draws of bank 4 that are `genotype`."""
    found = []
    for seed in range(400):
        sampler._bank[0] = 4
        subnets = drawn_at(sampler, LAST, seed)
        found += subnets.random if int(sampler.tensors()["bank"]) == 4 else ()
    return sum(g == genotype for g in found) / len(found)


def test_scores_in_full_precision_are_forgotten_when_quantization_begins(context):
    sampler = ComplexityAware(context)
    for step in (2, 3):
        subnets = drawn_at(sampler, step)
        sampler.tell(Moment(step, context.plan), subnets, losses_of(subnets))
    assert sampler.tensors()["scores"].isfinite().any()
    drawn_at(sampler, 4)
    assert not sampler.tensors()["scores"].isfinite().any()
