"""A training of a second or less, in which contracts try parts of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.tasks.criteria import Classification
from search_spaces.mlp import mlp
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet
from supernets.training.context import TrainingContext
from supernets.training.methods import Methods
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.train import History, train

SETTINGS = TrainingSettings(
    float_epochs=2, quantized_epochs=2, batch_size=8, random_subnets=1, checkpoint_seconds=0
)


@dataclass(frozen=True)
class Points:
    """24 points in eight dimensions, whose class is the largest of their first three numbers."""

    places: Tensor

    @classmethod
    def drawn(cls) -> Points:
        """The points, always the same."""
        return cls(torch.randn(24, 8, generator=torch.Generator().manual_seed(0)))

    def __len__(self) -> int:
        return len(self.places)

    def batch(
        self, rows: NDArray[np.integer], rng: np.random.Generator
    ) -> tuple[Mapping[str, Tensor], Tensor]:
        places = self.places[rows]
        noise = torch.from_numpy(0.1 * rng.standard_normal(tuple(places.shape))).float()
        return {"point": places + noise}, places[:, :3].argmax(1)


def points_space() -> SearchSpace:
    """Fully connected networks of one or two hidden layers, with weights of 2 or 8 bits."""
    policy = Policy(weight_bits=(2, 8), activation_bits=(4, 8))
    return mlp((Input("point", (8,)),), (3,), widths=(4, 8), depths=(1, 2), policy=policy)


def one_network() -> SearchSpace:
    """The space of the network that takes the first option of every choice of `points_space`."""
    return points_space().restrict(lambda choice, option: option == choice.options[0])


def context_of(space: SearchSpace, **changed: Any) -> TrainingContext:
    """The context of a training of a new supernet of `space` with changed settings."""
    data, settings = Points.drawn(), replace(SETTINGS, **changed)
    plan, size = schedule(settings, len(data)), settings.batch_size

    def batch(step: int) -> tuple[Mapping[str, Tensor], Tensor]:
        rows = np.arange(step * size, (step + 1) * size) % len(data)
        return data.batch(rows, np.random.default_rng(step))

    return TrainingContext(Supernet(space, seed=0), settings, plan, Classification(), batch)


def trained(
    path: Path,
    *,
    methods: Methods,
    space: SearchSpace | None = None,
    progress: Any = None,
    say: Any = None,
    **changed: Any,
) -> tuple[Supernet, History]:
    """A supernet of a space, and its training with checkpoints at `path` and changed settings."""
    supernet = Supernet(space or points_space(), seed=0, quantizer=methods.quantizer)
    history = train(
        supernet,
        Points.drawn(),
        replace(SETTINGS, **changed),
        criterion=Classification(),
        state_path=path,
        methods=methods,
        progress=progress,
        say=say,
    )
    return supernet, history
