"""A few epochs from trained weights: less error at few bits, and a killed tuning goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph, Node
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.checkpoint import CheckpointError
from supernets.deploy import Deployment
from supernets.supernet import Supernet
from supernets.tracing import Traced, trace
from supernets.training.fine_tune import (
    GENTLE,
    FineTuned,
    Imitated,
    Imitation,
    OwnLoss,
    fine_tune,
    share_of_variance,
)
from supernets.training.schedule import TrainingSettings
from supernets.weights import WeightsError

IMAGES = torch.randn(96, 1, 6, 6, generator=torch.Generator().manual_seed(0))
SETTINGS = replace(GENTLE, quantized_epochs=3, batch_size=16, learning_rate=0.02)


class Images:
    """Images with random classes, which an imitation does not read."""

    def __len__(self) -> int:
        return len(IMAGES)

    def batch(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Mapping[str, Tensor], Tensor]:
        return {"input": IMAGES[rows]}, torch.from_numpy(rows % 4)


@pytest.fixture(scope="module")
def traced() -> Traced:
    torch.manual_seed(0)
    parts = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)]
    return trace(nn.Sequential(*parts).eval(), IMAGES[:2]).folded()


@pytest.fixture(scope="module")
def space(traced: Traced) -> SearchSpace:
    """The traced network with 2 or 8 bits for each weight."""
    quants = tuple(Quant(Int(bits), PerChannel()) for bits in (2, 8))
    nodes = {
        address: Node(
            replace(node.op, weight=choice(f"{address}.bits", quants))  # pyright: ignore[reportCallIssue]
            if f"{address}.weight" in traced.tensors
            else node.op,
            node.inputs,
        )
        for address, node in traced.graph.nodes.items()
    }
    return SearchSpace(Graph.from_nodes(nodes))


@pytest.fixture(scope="module")
def tuned(
    traced: Traced, space: SearchSpace, tmp_path_factory: pytest.TempPathFactory
) -> FineTuned:
    data = Imitated(Images(), traced.module())
    path = tmp_path_factory.mktemp("tuned") / "state.safetensors"
    return fine_tune(space, traced.tensors, data, SETTINGS, criterion=Imitation(), state_path=path)


def distance(supernet: Supernet, traced: Traced) -> float:
    """The distance of the deployed network of 2 bits from the float network."""
    space = supernet.space
    deployed = Deployment(supernet, [{"input": IMAGES}])(space.smallest)
    with torch.no_grad():
        return float(share_of_variance(deployed.module()(IMAGES), traced.module()(IMAGES)))


def test_few_bits_come_nearer_to_the_float_network(
    traced: Traced, space: SearchSpace, tuned: FineTuned
) -> None:
    untouched = Supernet.of(space, traced.tensors)
    initialise_steps(untouched, [{"input": IMAGES}])
    assert distance(tuned.supernet, traced) < 0.7 * distance(untouched, traced)
    assert tuned.history.guess == pytest.approx(1, abs=1e-4)
    assert tuned.tensors.keys() == traced.tensors.keys()


def test_a_killed_tuning_continues_to_the_same_weights(
    traced: Traced, space: SearchSpace, tuned: FineTuned, tmp_path: Path
) -> None:
    data = Imitated(Images(), traced.module())
    path, often = tmp_path / "state.safetensors", replace(SETTINGS, checkpoint_seconds=0)

    def killed(step: int, total: int, losses: Mapping[str, float]) -> None:
        if step == total // 2:
            raise KeyboardInterrupt

    def go_on(progress=None) -> FineTuned:
        given = (space, traced.tensors, data, often)
        return fine_tune(*given, criterion=Imitation(), state_path=path, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        go_on(killed)
    found = go_on()
    for name, tensor in tuned.tensors.items():
        assert torch.equal(found.tensors[name], tensor), name


def test_a_tuning_does_not_continue_that_of_other_weights(
    traced: Traced, space: SearchSpace, tmp_path: Path
) -> None:
    data, path = Imitated(Images(), traced.module()), tmp_path / "state.safetensors"
    short = replace(SETTINGS, quantized_epochs=1, batch_size=48)
    fine_tune(space, traced.tensors, data, short, criterion=Imitation(), state_path=path)
    others = {name: 2 * tensor for name, tensor in traced.tensors.items()}
    with pytest.raises(CheckpointError, match="began from other weights"):
        fine_tune(space, others, data, short, criterion=Imitation(), state_path=path)


def test_an_own_loss_is_minimised_and_the_given_weights_stay(
    traced: Traced, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in traced.tensors.items()}
    settings = TrainingSettings(epochs=6, batch_size=16, learning_rate=0.05, warmup=0.1)
    found = fine_tune(
        SearchSpace(traced.graph),
        traced.tensors,
        Images(),
        settings,
        criterion=OwnLoss(F.cross_entropy),
        state_path=tmp_path / "state.safetensors",
    )
    losses = found.history.losses[:, 0]
    assert len(losses) == 6 * (len(IMAGES) // 16)
    assert losses[-6:].mean() < losses[:6].mean()
    assert all(torch.equal(tensor, before[name]) for name, tensor in traced.tensors.items())


def test_weights_of_another_network_are_refused(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        fine_tune(
            space, {}, Images(), criterion=Imitation(), state_path=tmp_path / "state.safetensors"
        )


def test_what_is_not_known_to_be_logits_is_refused() -> None:
    for criterion in (Imitation(), OwnLoss(F.cross_entropy)):
        with pytest.raises(ValueError, match=r"\(2, 3\) are not known to be logits"):
            criterion.log_probabilities(torch.zeros(2, 3))
