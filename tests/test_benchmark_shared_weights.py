"""How two benchmarks of shared weights compare, on networks where the answers are known."""

import numpy as np
import pytest

from benchmarks.published_ranking import blocks_first
from benchmarks.uniform_fronts import at, costs, family, front, lead
from search_spaces.costs import compile_cost, macs
from search_spaces.quant import bits_of

COST = np.array([1.0, 10.0, 100.0])
ACCURACY = np.array([[50.0, 40.0, 60.0]])


def test_the_front_of_one_seed_ignores_worse_networks_that_cost_more():
    limits = np.array([1.0, 50.0, 100.0])
    assert front(COST, ACCURACY, limits).tolist() == [[50.0, 50.0, 60.0]]


def test_the_best_network_of_a_seed_is_chosen_by_the_other_seeds():
    # By hand: seed 0 prefers the second network, seed 1 the first.
    accuracy = np.array([[50.0, 59.0, 10.0], [52.0, 51.0, 20.0]])
    assert front(COST, accuracy, np.array([1.0, 100.0])).tolist() == [[50.0, 50.0], [52.0, 51.0]]


def test_the_share_ahead_is_that_of_the_logarithm_of_the_cost():
    # By hand: over 1 to 100, the other is at 45 up to 10, then at 55; 50 leads the first half by
    # 5 points, then lags by 5. Up to 1000, 60 leads the last third by 5.
    other = (np.array([1.0, 10.0]), np.array([[45.0, 55.0]]))
    short, long = (lead((COST, ACCURACY), other, (1.0, end)) for end in (100.0, 1000.0))
    assert (short.share, *short.by_seed, short.points) == pytest.approx((1 / 2, 1 / 2, 0.0))
    assert (long.share, *long.by_seed, long.points) == pytest.approx((2 / 3, 2 / 3, 5 / 3))


def test_equal_fronts_are_not_ahead():
    same = lead((COST, ACCURACY), (COST, ACCURACY), (1.0, 100.0))
    assert (same.share, same.by_seed, same.points) == (0.0, (0.0,), 0.0)


def test_inner_layers_have_the_bits_of_the_network_and_its_ends_eight_unless_nothing_is_quantized():
    space = family()
    for option, inner, ends in ((0, 4, 8), (1, 8, 8), (2, 32, 32)):
        nodes = space.decode(at(space, [space.largest], option)[0]).nodes
        for address in ("stage0.block0.conv1", "stage2.block1.conv2", "stage1.block0.skip"):
            op = nodes[address].op
            assert (bits_of(op.weight), bits_of(op.activation)) == (inner, inner)
        for address in ("stem", "head"):
            op = nodes[address].op
            assert (bits_of(op.weight), bits_of(op.activation)) == (ends, ends)
        assert bits_of(nodes["stage0.block0.add"].op.activation) == ends


def test_costs_are_macs_times_both_bits():
    space = family()
    count = float(compile_cost(space, macs)(np.array([space.smallest]))[0])
    ends = 16 * 16 * (3 * 9) * 4 + 8 * 10  # the stem of 4 channels, and the head that reads 8
    found = [float(each[0]) for each in costs(space, [space.smallest]).values()]
    assert found == [16 * (count - ends) + 64 * ends, 64 * count, 256 * count, 1024 * count]


def test_networks_of_the_published_table_are_kept_in_one_form():
    # Stages of 2, 3 and 3 layers: a left-out layer behind the first may only be followed by others.
    rows = np.array([[0, 0, 0, 1, 0, 2, 1, 2], [0, 1, 0, 0, 1, 2, 1, 2], [0, 1, 0, 1, 1, 2, 0, 2]])
    assert blocks_first(rows).tolist() == [True, False, False]
