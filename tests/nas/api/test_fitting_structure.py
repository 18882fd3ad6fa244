"""`nas.fit` with channels and low-rank branches that are searched together with precisions."""

from __future__ import annotations

import pytest
import torch

import nas
from nas.own.evaluator import PolicyEvaluator
from nas.own.model import OwnModelError
from nas.own.options import Channels, Ranks
from nas.own.structure import Structure, kept_channels, most_precise, ranks_in
from nas.own.uniform import FLOAT
from nas.targets import load_target
from search_spaces.opening import Opening
from supernets.tracing import trace
from tests.nas.api.test_fitting import IMAGES, LABELS, loader, network

REWRITES = ("least-squares", "ranges", "nearest", "eora", "round-biases")
OFFERED = {"channels": nas.Channels(shares=(0.5,), blocks=False), "ranks": (2,)}


def fit(**options):
    given = {"calibration": loader(IMAGES, LABELS), "targets": "edge-npu", "budget": 21}
    return nas.fit(network(), **{**given, "rewrites": REWRITES, **options})


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("structure")


@pytest.fixture(scope="module")
def found(storage):
    return fit(storage=storage, **OFFERED)


def test_uniform_policies_have_all_channels_and_no_branch(found):
    frame = found.frame().set_index("policy")
    assert {*found.names.values()} == {*frame.index} - {"mixed"}
    uniform = frame.loc[[*found.names.values()]]
    assert (uniform["channels_kept"] == 1).all()
    assert (uniform["summed_ranks"] == 0).all()
    assert frame.loc[FLOAT, "held_out"] < 1e-6


def test_narrower_networks_and_branches_are_among_the_first(found):
    mixed = found.frame().query("policy == 'mixed'")
    assert {0.5, 1.0} <= {*mixed["channels_kept"]}
    assert mixed["summed_ranks"].max() > 0


def test_within_few_multiplications_a_narrower_network_is_returned_and_told(found, tmp_path):
    whole = found.frame().set_index("policy").loc[FLOAT, "macs"]
    best = found.best(limits={"macs": 0.6 * whole})
    assert best.picks["conv.width"] == 2
    assert best.module.get_submodule("at_conv").weight.shape == (2, 2, 3, 3)
    with torch.no_grad():
        own = best.module(IMAGES[:4])
    assert own.shape == (4, 3)
    assert list(best.export(tmp_path / "narrow.onnx").figures) == [found.metric.name]
    cheap = found.on("edge-npu", limits={"macs": 0.6 * whole})
    page = cheap.report(tmp_path / "report.html").read_text()
    assert "The returned network keeps 50% of the channels and adds no branches of low rank" in page


def test_branches_make_good_what_few_bits_lose(found):
    space = found.space
    few = list(most_precise(space)[0])
    for name in ("conv.weight.bits", "body.weight.bits"):
        few[space.column[name]] = 0
    more = list(few)
    for name in ("conv.rank", "body.rank"):
        more[space.column[name]] = 1
    assert ranks_in(space, space.canonical(more)) == {"conv": 2, "body": 2}
    plain, filled = (
        found.means.judge(found.means.deployment(space.canonical(one)).module()).metrics["error"]
        for one in (few, more)
    )
    assert filled < 0.7 * plain


def test_the_same_call_measures_nothing_again(found, storage, monkeypatch):
    monkeypatch.setattr(PolicyEvaluator, "__call__", None)
    monkeypatch.setattr("nas.own.network.sorted_tensors", None)
    assert fit(storage=storage, **OFFERED).frame().equals(found.frame())


@pytest.fixture(scope="module")
def graph():
    return trace(network(), IMAGES[:2]).graph


def space(graph, channels=None, ranks=None, *, opening=None, target="edge-npu"):
    made = Structure.of(channels, ranks, None)
    return made.space(graph, opening or Opening(), [load_target(target)], name="made")


def test_the_share_of_channels_counts_those_that_have_a_choice(graph):
    made = space(graph, (0.5,))
    assert kept_channels(made, made.largest) == 1
    assert kept_channels(made, made.smallest) == 0.5
    assert ranks_in(made, made.largest) is None
    assert kept_channels(space(graph, None, (0, 2)), (0,) * 12) is None


def test_the_widths_to_begin_with_shrink_together(graph):
    made = space(graph, Channels(shares=(0.25, 0.5)), (0, 1, 2))
    kept = [kept_channels(made, one) for one in most_precise(made)]
    assert kept == [1, 0.5, 0.25, 1]
    assert [ranks_in(made, one) for one in most_precise(made)] == [
        *3 * [{}],
        {"conv": 1, "body": 1},
    ]


@pytest.mark.parametrize(
    ("channels", "ranks", "told"),
    [
        ((0.5, 1.5), None, "shares of widths above 0 and at most 1"),
        ((1.0,), None, "give some below 1"),
        ((), None, "give some below 1"),
        (None, (0,), "give some above 0"),
        (None, (4, 2), "ascending"),
        (None, (-1, 2), "ascending"),
        (
            Channels(shares=(0.5,), leave=("conv",)),
            None,
            "no width of the network can change .*'conv' is to be left alone",
        ),
        (Channels(shares=(0.5,), multiple_of=8), None, "conv: .* leave no other multiple of 8"),
        (Channels(shares=(0.5,), leave=("cnov",)), None, "'cnov' cannot be left alone"),
        (None, Ranks(ranks=(2,), layers=("cnov",)), "cnov take no low-rank branch"),
    ],
)
def test_what_can_do_nothing_is_refused_in_one_sentence(graph, channels, ranks, told):
    with pytest.raises(ValueError, match=told) as refused:
        space(graph, channels, ranks)
    assert "\n" not in str(refused.value)


def test_branches_that_nothing_runs_or_that_have_no_layer_are_refused(graph):
    with pytest.raises(OwnModelError, match="no target runs branches of low rank"):
        space(graph, None, (2,), target="microcontroller")
    alone = Opening(alone=("conv", "body", "head"))
    with pytest.raises(OwnModelError, match="no layer of the network takes a branch"):
        space(graph, None, (2,), opening=alone)


@pytest.mark.parametrize(
    ("ranks", "rewrites", "told"),
    [
        ((2,), ("ranges", "nearest"), "branches of low rank stay empty"),
        (None, ("ranges", "nearest", "lorc"), "lorc fills branches .* give ranks"),
        (None, ("least-squares", "ranges", "nearest"), "least-squares repairs .* give channels"),
    ],
)
def test_rewrites_that_do_nothing_are_refused_before_anything_is_read(ranks, rewrites, told):
    with pytest.raises(OwnModelError, match=told):
        nas.fit(network(), calibration=None, ranks=ranks, rewrites=rewrites)


def test_what_makes_no_sense_is_refused_at_construction():
    with pytest.raises(ValueError, match="multiple_of is at least 1"):
        nas.Channels(shares=(0.5,), multiple_of=0)
    with pytest.raises(ValueError, match="there is no importance 'size'"):
        nas.Channels(shares=(0.5,), importance="size")
