"""A small training that tests share: three classes of stripes on 6 x 6 pixels."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.tasks.criteria import Classification
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from supernets.supernet import Supernet
from supernets.training.train import TrainingSettings, train

SETTINGS = TrainingSettings(
    float_epochs=3, quantized_epochs=3, batch_size=16, random_subnets=1, checkpoint_seconds=0
)


@dataclass(frozen=True)
class Stripes:
    """Noisy stripes whose direction is their class; every batch is shifted at random."""

    images: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def drawn(cls, count: int = 64) -> "Stripes":
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, count)
        wave = np.cos(np.pi * np.arange(6))
        patterns = np.stack(
            [wave[:, None] + np.zeros(6), wave[None] + np.zeros((6, 1)), np.outer(wave, wave)]
        )
        images = patterns[labels][:, None] + 0.5 * rng.standard_normal((count, 1, 6, 6))
        return cls(torch.from_numpy(images).float(), torch.from_numpy(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows, rng):
        return {"image": self.images[rows].roll(int(rng.integers(2)), 3)}, self.labels[rows]


def stripes_space():
    return residual(
        inputs=(Input("image", (1, 6, 6)),),
        output=(3,),
        widths=[(4, 6), (4, 8)],
        depths=[(1, 2)],
        kernels=(3, 5),
        policy=Policy(weight_bits=(2, 8), activation_bits=(4, 8)),
    )


def train_stripes(path: Path, *, settings=SETTINGS, progress=None):
    """The trained supernet and its history."""
    supernet = Supernet(stripes_space(), seed=1)
    history = train(
        supernet,
        Stripes.drawn(),
        settings,
        criterion=Classification(),
        state_path=path,
        progress=progress,
    )
    return supernet, history


def _main() -> None:
    """Train to the checkpoint named on the command line, saying the number of every step."""
    torch.set_num_threads(1)
    train_stripes(
        Path(sys.argv[1]),
        progress=lambda done, *_: print(done, flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    _main()
