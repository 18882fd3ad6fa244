import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from supernets.exchange import exchanged
from tests.supernets.stripes import Stripes, train_stripes


def sum_of_squares(logits):
    return logits.square().sum()


def one_pick_away(space, genotype):
    """Every other network that differs in one open pick."""
    found = {
        space.canonical((*genotype[:place], option, *genotype[place + 1 :]))
        for place, count in enumerate(space.counts)
        for option in range(count)
    }
    return sorted(found - {genotype})


@pytest.mark.parametrize("seed", range(8))
def test_the_subnet_that_runs_is_that_of_the_supernet(supernet, images, seed):
    space = supernet.space
    genotype = space.sample(np.random.default_rng(seed))
    loss, changes = exchanged(
        supernet, images, sum_of_squares, genotype=genotype, others=[genotype]
    )
    wanted = float(sum_of_squares(supernet(images, genotype)).detach())
    assert loss == pytest.approx(wanted, rel=1e-3)
    assert changes == [0.0]


@pytest.mark.parametrize("seed", range(4))
def test_every_pick_is_compared_and_gradients_are_left_alone(supernet, images, seed):
    space = supernet.space
    genotype = space.sample(np.random.default_rng(seed))
    others = one_pick_away(space, genotype)
    _, changes = exchanged(supernet, images, sum_of_squares, genotype=genotype, others=others)
    assert np.isfinite(changes).all()
    assert (changes != 0).mean() > 0.8
    assert all(parameter.grad is None for parameter in supernet.parameters())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_stripes(tmp_path_factory.mktemp("stripes") / "state.pt")[0]


def test_first_order_changes_rank_like_those_measured(trained):
    data, space = Stripes.drawn(256), trained.space

    def loss(logits):
        return F.cross_entropy(logits, data.labels)

    estimated, measured = [], []
    for seed in range(6):
        genotype = space.sample(np.random.default_rng(seed))
        others = one_pick_away(space, genotype)
        here, changes = exchanged(trained, data.images, loss, genotype=genotype, others=others)
        with torch.no_grad():
            measured += [float(loss(trained(data.images, other))) - here for other in others]
        estimated += list(changes)
    assert spearmanr(estimated, measured).statistic > 0.5
