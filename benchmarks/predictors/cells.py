"""The networks of NAS-Bench-201, built from its description, and CIFAR-10 images of 16 pixels.

The original has 16 channels and five cells a stage on images of 32 pixels; here each number is a
parameter, so that proxies of 725 networks take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.tables import ROOT

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NONE, SKIP, CONV1, CONV3, POOL = range(5)


def convolution(read: int, given: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A rectifier, a convolution and a batch norm."""
    conv = nn.Conv2d(read, given, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(given))


class Cell(nn.Module):
    """Four nodes, each the sum of what the edges bring from earlier ones.

    Args:
        channels: The channels of every node.
        operations: The operation of each of `EDGES`, by its number in the table.
    """

    def __init__(self, channels: int, operations: Sequence[int]) -> None:
        super().__init__()
        makers = {
            SKIP: nn.Identity,
            CONV1: lambda: convolution(channels, channels, 1),
            CONV3: lambda: convolution(channels, channels, 3),
            POOL: lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        }
        made = {str(edge): makers[op]() for edge, op in enumerate(operations) if op != NONE}
        self.edges = nn.ModuleDict(made)

    def forward(self, x: Tensor) -> Tensor:
        """The last node."""
        nodes = [x]
        for node in range(1, 4):
            sums = [
                self.edges[str(edge)](nodes[start])
                for edge, (start, end) in enumerate(EDGES)
                if end == node and str(edge) in self.edges
            ]
            nodes.append(torch.stack(sums).sum(0) if sums else 0.0 * nodes[0])
        return nodes[-1]


class Reduction(nn.Module):
    """A residual block that halves the image and doubles the channels."""

    def __init__(self, read: int) -> None:
        super().__init__()
        self.first = convolution(read, 2 * read, 3, stride=2)
        self.second = convolution(2 * read, 2 * read, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(read, 2 * read, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        return self.second(self.first(x)) + self.shortcut(x)


def network(
    operations: Sequence[int], *, channels: int, cells: int, seed: int = 0, classes: int = 10
) -> nn.Module:
    """An untrained network of the benchmark: three stages of equal cells."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = [
            nn.Sequential(
                nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
            )
        ]
        for stage in range(3):
            width = channels * 2**stage
            parts += [Reduction(width // 2)] if stage else []
            parts += [Cell(width, operations) for _ in range(cells)]
        last = channels * 4
        head = [nn.BatchNorm2d(last), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*parts, *head, nn.Linear(last, classes))


def images(count: int, size: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of CIFAR-10 `(count, 3, size, size)`, normalised, and their labels."""
    with np.load(ROOT / "cifar10" / "cifar10_mini.npz") as held:
        x, y = held["x_train"], held["y_train"]
    chosen = np.random.default_rng(seed).choice(len(x), count, replace=False)
    pictures = torch.from_numpy(x[chosen]).permute(0, 3, 1, 2).float() / 255
    small = F.adaptive_avg_pool2d(pictures, size)
    small = (small - small.mean((0, 2, 3), keepdim=True)) / small.std((0, 2, 3), keepdim=True)
    return small, torch.from_numpy(y[chosen]).long()
