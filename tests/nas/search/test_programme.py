import itertools

import numpy as np
import pytest

from benchmarks.own_model.hawq import Figures, bits_of, published
from nas.search.allocation import Unreachable, programme, programmed
from nas.targets.network_costs import Constant, Sum
from search_spaces.costs import SpaceKernels, bitops, model_bytes
from search_spaces.lookups import Lookup, separated
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual

NAMES = ("a", "b", "c", "d")


def drawn(seed, *, interactions):
    """Random lookups over single choices, and over pairs and a triple where asked for."""
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = dict(zip(NAMES, rng.integers(1, 4, size=4).tolist(), strict=True))
    over: list[tuple[str, ...]] = [(name,) for name in NAMES]
    over += [("a", "b"), ("b", "c"), ("c", "d"), ("b", "c", "d")] if interactions else []

    def tables():
        return [Lookup(names, rng.normal(size=[counts[n] for n in names])) for names in over]

    return counts, tables(), {"bytes": tables(), "ms": tables()}


def every(counts):
    for options in itertools.product(*(range(count) for count in counts.values())):
        yield dict(zip(counts, options, strict=True))


def total(tables, picks):
    return sum(float(table.at(picks)) for table in tables)


@pytest.mark.parametrize("interactions", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_picks_are_better_within_several_limits(seed, interactions):
    counts, loss, costs = drawn(seed, interactions=interactions)
    spent = {n: [total(tables, picks) for picks in every(counts)] for n, tables in costs.items()}
    limits = {name: float(np.quantile(values, 0.6)) for name, values in spent.items()}
    within = [
        total(loss, picks)
        for picks in every(counts)
        if all(total(costs[name], picks) <= limit for name, limit in limits.items())
    ]
    answer = programme(counts, loss, costs, limits=limits)
    assert all(total(costs[name], answer.picks) <= limit for name, limit in limits.items())
    assert answer.loss == pytest.approx(min(within))
    assert answer.loss == pytest.approx(total(loss, answer.picks))
    assert answer.bound == pytest.approx(answer.loss)


def test_tied_choices_get_the_same_option():
    counts = {"a": 3, "b": 3}
    loss = [Lookup(("a",), np.array([0.0, 1.0, 5.0])), Lookup(("b",), np.array([9.0, 3.0, 0.0]))]
    assert programme(counts, loss, {}, limits={}).picks == {"a": 0, "b": 2}
    assert programme(counts, loss, {}, limits={}, ties=[("a", "b")]).picks == {"a": 1, "b": 1}


def test_what_is_infinite_is_not_picked():
    counts = {"a": 2, "b": 2}
    loss = [Lookup(("a", "b"), np.array([[np.inf, 2.0], [3.0, np.inf]]))]
    ms = [Lookup(("a",), np.array([np.inf, 1.0]))]
    assert programme(counts, loss, {}, limits={}).picks == {"a": 0, "b": 1}
    assert programme(counts, loss, {"ms": ms}, limits={"ms": 9.0}).picks == {"a": 1, "b": 0}


def test_limits_that_are_too_low_tell_the_least_that_can_be_reached():
    counts, loss, costs = drawn(1, interactions=True)
    low = min(total(costs["ms"], picks) for picks in every(counts))
    with pytest.raises(Unreachable) as told:
        programme(counts, loss, costs, limits={"ms": low - 1.0, "bytes": 1e6})
    assert told.value.least == {"ms": pytest.approx(low)}
    assert "raise the limit" in str(told.value)


def test_limits_that_exclude_each_other_tell_the_least_beside_the_others():
    flat = [Lookup(("a",), np.array([0.0, 0.0]))]
    costs = {
        "ms": [Lookup(("a",), np.array([1.0, 4.0]))],
        "bytes": [Lookup(("a",), np.array([5.0, 2.0]))],
    }
    with pytest.raises(Unreachable) as told:
        programme({"a": 2}, flat, costs, limits={"ms": 2.0, "bytes": 3.0})
    assert told.value.least == {"ms": pytest.approx(4.0), "bytes": pytest.approx(5.0)}


def test_faults_of_a_programme_are_told():
    with pytest.raises(ValueError, match=r"limits of \['ms'\] need costs"):
        programme({"a": 2}, [], {}, limits={"ms": 1.0})
    with pytest.raises(ValueError, match="have 2 and 3 options"):
        programme({"a": 2, "b": 3}, [], {}, limits={}, ties=[("a", "b")])


@pytest.mark.parametrize("seed", range(3))
def test_separated_lookups_are_over_few_choices_and_have_the_same_sum(seed):
    counts, loss, _ = drawn(seed, interactions=True)
    pairs = [table for table in loss if len(table.choices) < 3]
    joined = Lookup(
        NAMES, sum(table.spread(NAMES) for table in pairs) + np.zeros([*counts.values()])
    )
    parts = separated(joined)
    assert {frozenset(part.choices) for part in parts} <= {
        frozenset(),
        *map(frozenset, (table.choices for table in pairs)),
    }
    for picks in every(counts):
        assert total(parts, picks) == pytest.approx(total(pairs, picks))


@pytest.fixture(scope="module")
def space():
    policy = Policy(weight_bits=(2, 4, 8), activation_bits=(4, 8), fineness="block")
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(4,),
        widths=((4, 8), (4, 8), (8, 12)),
        depths=((1,), (1, 2)),
        policy=policy,
    )


def test_bits_of_a_network_are_the_best_within_bytes_and_bitops(space):
    """BitOPs are products of two choices, and yet the result is exact."""
    bits = [name for name in space.column if name.endswith(".bits")]
    columns = [space.column[name] for name in bits]
    kernels = SpaceKernels(space)
    costs = {"bytes": kernels.compile(model_bytes), "bitops": kernels.compile(bitops)}
    worth = np.random.default_rng(0).uniform(0.1, 2, size=len(space.choices))

    def loss(rows):
        return (worth * 0.3**rows * space.active_array(rows)).sum(axis=1)

    rows = np.array([space.largest] * int(np.prod(space.counts[columns])))
    rows[:, columns] = list(itertools.product(*(range(space.counts[c]) for c in columns)))
    for share in (0.1, 0.5):
        limits = {name: float(np.quantile(cost(rows), share)) for name, cost in costs.items()}
        within = np.all([costs[name](rows) <= limit for name, limit in limits.items()], axis=0)
        kept = programmed(space, space.largest, loss=loss, costs=costs, limits=limits, choices=bits)
        assert all(costs[name](np.array([kept]))[0] <= limit for name, limit in limits.items())
        assert loss(np.array([kept]))[0] == pytest.approx(loss(rows)[within].min())


def test_a_cost_that_is_no_sum_is_kept_too(space):
    bits = [name for name in space.column if name.endswith(".bits")]
    whole = SpaceKernels(space).compile(model_bytes)

    def root(rows):
        return np.sqrt(whole(rows))

    costs = {"root": Sum([root, Constant(3.0)])}
    rows = np.array([space.largest] * 100)
    columns = [space.column[name] for name in bits]
    rows[:, columns] = space.sample_array(np.random.default_rng(0), 100)[:, columns]
    budget = float(np.quantile(whole(rows), 0.3))
    limits = {"root": budget**0.5 + 3}
    kernels = SpaceKernels(space).compile(bitops)

    def loss(rows):
        return -np.log(kernels(rows))

    found = np.array(
        [programmed(space, space.largest, loss=loss, costs=costs, limits=limits, choices=bits)]
    )
    exact = programmed(
        space, space.largest, loss=loss, costs={"b": whole}, limits={"b": budget}, choices=bits
    )
    assert whole(found)[0] <= budget * (1 + 1e-6)
    assert loss(found)[0] <= loss(np.array([exact]))[0] + 0.05
    with pytest.raises(Unreachable, match="root <= 4"):
        programmed(space, space.largest, loss=loss, costs=costs, limits={"root": 4.0}, choices=bits)


# The traces, the errors at 4 and 8 bits and the sizes of the notebook `ILP.ipynb` (MIT).
TRACES = """.06857826 .03162379 .03298575 .01205663 .02222431 .00596336 .06931772 .00807129
.00372905 .00530698 .00209011 .00737569 .00210454 .00151197 .00158041 .00078146 .00451841 .00098745
.00072944"""
AT_4 = """6.743 3.9691 3.3281 2.6796 4.7277 10.5966 .6827 9.0942 4.8857 10.7599 21.7546 .8603
14.5324 10.9651 18.7706 36.4044 3.1572 29.6994 17.4016"""
AT_8 = """.0235 .0125 .0102 .0082 .0145 .0344 .0023 .0287 .0148 .0333 .0682 .0027 .0448 .0336 .0576
.113 .0102 .0947 .0532"""
SIZES = "9 9 9 9 18 36 2 36 36 72 144 8 144 144 288 576 32 576 576"
MACS = "18 18 18 18 9 18 1 18 18 9 18 1 18 18 9 18 1 18 18"


def resnet18():
    def column(text):
        return np.array(text.split(), dtype=float)[:, None]

    return Figures(
        column(TRACES) * np.hstack([column(AT_4), column(AT_8)]),
        {"size": column(SIZES) * [4, 8], "BitOPs": column(MACS) * [16, 64]},
        column(SIZES)[:, 0],
    )


@pytest.mark.parametrize("limit", ["size", "BitOPs"])
@pytest.mark.parametrize("share", [0.75, 0.5, 0.25])
def test_published_bits_of_resnet18_are_found(limit, share):
    """The bits are those of HAWQ-V3's `bit_config.py` (Yao et al. 2021)."""
    found = bits_of("resnet18", limit, share, from_figures=resnet18())
    assert found == published("resnet18", limit, share)
