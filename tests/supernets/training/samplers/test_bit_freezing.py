"""Turbulent layers lose their smallest bit-width, at the epochs of the schedule."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.testing.sampler import SETTINGS, context_of, elastic_space, losses_of
from search_spaces.formats import Float
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from supernets.training.context import Moment
from supernets.training.samplers import bit_freezing
from supernets.training.samplers.bit_freezing import BitFreezing

LONG = replace(SETTINGS, quantized_epochs=40)
SPACE = elastic_space()
FIRST, SECOND = (SPACE.column[f"stage0.block{block}.weight.bits"] for block in (0, 1))


@pytest.fixture
def sampler():
    return BitFreezing(context_of(SPACE, LONG))


def at(sampler, epoch, step=0):
    """The moment of a step of an epoch of the quantized phase."""
    plan = sampler.context.plan
    return Moment(plan.float_steps + epoch * plan.epoch + step, plan)


def drawn_at(sampler, epoch, step=0, seed=0):
    moment = at(sampler, epoch, step)
    return sampler.draw(moment, sampler.context.batch(0), np.random.default_rng(seed))


def lowest(sampler):
    return sampler.tensors()["lowest"][[FIRST, SECOND]].tolist()


def test_turbulence_is_the_share_of_weights_near_an_edge_of_their_bin_over_the_bits(sampler):
    supernet, expected = sampler.context.supernet, []
    for layer in ("conv1", "conv2", "skip"):
        node = supernet.node(f"stage0.block0.{layer}")
        weight = node.tensors["weight"].detach()
        steps = node.weight.log_steps["int2_per-channel"].detach().exp().reshape(-1, 1, 1, 1)
        scaled = weight / steps
        error = (scaled - scaled.round().clamp(-1, 1)).abs()
        expected.append(float(((error > 0.375) & (error < 0.5001)).float().mean()) / 2)
    found = sampler.turbulence()
    assert found[FIRST] == pytest.approx(np.mean(expected))
    assert set(found) == {FIRST, SECOND}
    assert 0.05 < found[FIRST] < 0.2


def test_the_most_turbulent_choice_loses_a_bit_every_two_epochs_after_the_fifth(
    sampler, monkeypatch
):
    monkeypatch.setattr(sampler, "turbulence", lambda: {FIRST: 0.1, SECOND: 0.2})
    history = []
    for epoch in range(9):
        for step in (0, 1):
            drawn_at(sampler, epoch, step)
            history.append(lowest(sampler)[1])
    assert history == [0] * 10 + [1] * 4 + [2] * 4
    assert lowest(sampler)[0] == 0


def test_late_in_the_phase_bits_are_dropped_more_rarely_and_of_fewer_choices(sampler, monkeypatch):
    monkeypatch.setattr(bit_freezing, "_SHARE", 1.0)
    dropped = []

    def turbulence():
        return dict.fromkeys(range(8), 0.1)

    monkeypatch.setattr(sampler, "turbulence", turbulence)
    for epoch in range(40):
        sampler._lowest[:] = 0
        sampler._freeze(at(sampler, epoch))
        dropped.append(int(sampler._lowest.sum()))
    early = list(range(5, 29, 2))  # 72 % of 40 epochs are 28.8
    assert [epoch for epoch in range(40) if dropped[epoch]] == [*early, 35]
    assert dropped[5] == 8
    assert [dropped[e] for e in early] == sorted((dropped[e] for e in early), reverse=True)
    assert dropped[35] == 1


def test_a_dropped_bit_is_not_drawn_and_two_options_stay(sampler):
    for epoch in range(5, 20):
        drawn_at(sampler, epoch)
    assert lowest(sampler) == [1, 1], "of three options each"
    assert sampler.turbulence() == {}
    rows = np.array([drawn_at(sampler, 21, seed=seed).random for seed in range(30)]).reshape(-1, 9)
    assert set(rows[:, FIRST]) == {1, 2}
    deep = rows[rows[:, SPACE.column["stage0.depth"]] == 1]
    assert set(deep[:, SECOND]) == {1, 2}
    smallest = drawn_at(sampler, 21).smallest
    assert smallest == SPACE.canonical(smallest)
    assert smallest[FIRST] == 1
    assert sum(smallest) == 1


def test_what_was_dropped_survives_a_checkpoint(sampler):
    for epoch in (5, 6):
        subnets = drawn_at(sampler, epoch)
        sampler.tell(at(sampler, epoch), subnets, losses_of(subnets))
    again = BitFreezing(sampler.context)
    again.restore({name: tensor.clone() for name, tensor in sampler.tensors().items()})
    assert sorted(lowest(again)) == [0, 1]
    for epoch in (7, 8, 9):
        assert drawn_at(again, epoch) == drawn_at(sampler, epoch)
    assert torch.equal(again.tensors()["lowest"], sampler.tensors()["lowest"])


def test_formats_other_than_integers_are_refused():
    space = residual(
        inputs=(Input("image", (1, 6, 6)),),
        output=(3,),
        widths=((4, 6), (4, 8)),
        depths=((1, 2),),
        policy=Policy(weight_bits=(4, Float(4, 3))),
    )
    with pytest.raises(ValueError, match="give Int"):
        BitFreezing(context_of(space))
