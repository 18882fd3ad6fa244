"""Of three subnets of about equal cost, the best or the worst is trained."""

import numpy as np
import pytest

from nas.testing.sampler import context_of, elastic_space
from supernets.training.context import Moment
from supernets.training.samplers.attentive import AttentiveBest, AttentiveWorst
from supernets.training.samplers.precisions import drawn
from supernets.training.samplers.windows import Windows


@pytest.fixture(scope="module")
def context():
    return context_of(elastic_space())


@pytest.mark.parametrize(("make", "wanted"), [(AttentiveBest, min), (AttentiveWorst, max)])
@pytest.mark.parametrize("step", [1, 9])
def test_the_candidate_of_the_lowest_or_highest_loss_is_trained(context, make, wanted, step):
    moment, batch, space = Moment(step, context.plan), context.batch(step), context.supernet.space
    found = make(context).draw(moment, batch, np.random.default_rng(3)).random

    def draw(rng, count):
        return drawn(space, rng, count, quantized=moment.quantized)

    windows, rng = Windows.spread(draw, context.cost, 40), np.random.default_rng(3)
    targets = windows.of(draw(rng, 3))
    for genotype, target in zip(found, targets, strict=True):
        candidates = [tuple(row) for row in windows.drawn(rng, target, 3).tolist()]
        losses = context.losses(candidates, batch, quantize=moment.quantized)
        assert genotype == candidates[losses.tolist().index(wanted(losses))]


def test_the_best_and_the_worst_differ(context):
    moment, batch = Moment(9, context.plan), context.batch(9)
    best, worst = (
        make(context).draw(moment, batch, np.random.default_rng(3)).random
        for make in (AttentiveBest, AttentiveWorst)
    )
    assert best != worst
    losses = [context.losses(group, batch, quantize=True).mean() for group in (best, worst)]
    assert losses[0] < losses[1]
