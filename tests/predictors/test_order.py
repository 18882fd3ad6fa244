import numpy as np

from nas.testing.searcher import chain
from predictors.features import OneHot
from predictors.order import LogCost, ranks_by_cost
from search_spaces.tabular import Decision, tabular_space

PRICES = {"a": 5.0, "b": 1.0, "c": 3.0, "d": 9.0}
SHUFFLES = [("a", "b", "c", "d"), ("d", "c", "b", "a"), ("b", "d", "a", "c")]


def space_of(orders):
    return tabular_space(
        [Decision(f"pick{i}", order, {}) for i, order in enumerate(orders)], name="letters"
    )


def price_of(orders):
    tables = np.array([[PRICES[option] for option in order] for order in orders])
    return LogCost(lambda rows: tables[np.arange(len(orders)), rows].sum(axis=1))


def test_options_rank_by_what_they_cost_whatever_their_order():
    ranks = ranks_by_cost(space_of(SHUFFLES), [price_of(SHUFFLES)])
    for order, rank in zip(SHUFFLES, ranks, strict=True):
        assert [order[place] for place in np.argsort(rank)] == ["b", "c", "a", "d"]


def test_without_a_cost_and_for_equal_costs_the_order_of_the_space_stays():
    space = chain(depth=3)
    for costs in ([], [LogCost(lambda rows: np.full(len(rows), 3.0))]):
        assert all((np.diff(rank) == 1).all() for rank in ranks_by_cost(space, costs))


def test_a_cost_that_says_nothing_of_the_options_leaves_their_order():
    noise = np.random.default_rng(1).random(64)
    cost = LogCost(lambda rows: 1 + noise[rows @ [16, 4, 1]])
    assert all((np.diff(rank) == 1).all() for rank in ranks_by_cost(space_of(SHUFFLES), [cost]))


def test_a_cost_that_is_infinite_for_some_networks_ranks_their_options_last():
    space = space_of(SHUFFLES)
    price = price_of(SHUFFLES)
    some = LogCost(lambda rows: np.where(rows[:, 0] == 2, np.inf, price.cost(rows)))
    assert ranks_by_cost(space, [some])[0][2] == 3


def test_features_with_a_known_cost_do_not_depend_on_the_order_of_options():
    orders = [tuple("abcd")] * 3
    rows = space_of(orders).every_row()
    letters = np.array(list("abcd"))[rows]
    moved = np.stack(
        [
            [order.index(x) for x in column]
            for order, column in zip(SHUFFLES, letters.T, strict=True)
        ],
        axis=1,
    )
    plain = OneHot(space_of(orders), extra=[price_of(orders)])
    shuffled = OneHot(space_of(SHUFFLES), extra=[price_of(SHUFFLES)])
    ours, theirs = plain(rows), shuffled(moved)
    for part in plain.parts[1:]:
        np.testing.assert_allclose(
            _apart(ours[:, part]), _apart(theirs[:, part]), rtol=0.2, atol=0.2
        )


def _apart(columns):
    """The distances of a few rows, each column scaled by the same spread."""
    few = columns[::7]
    return np.abs(few[:, None] - few).mean(axis=2)


def test_choices_with_equal_options_are_of_one_kind_whatever_their_names_and_order():
    options = tuple("abc")
    spaces = [
        tabular_space(
            [Decision(n, options[i:] + options[:i], {}) for i, n in enumerate(names)], name="made"
        )
        for names in (("op0", "op1", "op2"), ("first", "second", "third"))
    ]
    numbered, named = (OneHot(space) for space in spaces)
    rows = spaces[0].every_row()
    np.testing.assert_array_equal(numbered(rows), named(rows))
    apart = tabular_space(
        [Decision(name, options + tuple(more), {}) for name, more in (("one", ""), ("other", "d"))],
        name="apart",
    )
    assert OneHot(apart).columns == 3 + 4 + 2  # no sums over kinds
