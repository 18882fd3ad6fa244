"""The trained networks and the images of the tables of "your own trained network".

The networks are the ResNets for CIFAR-10 of github.com/akamaster/pytorch_resnet_cifar10 (BSD), as
a user holds them: a torch module with its weights. Images are the lossless ones; float ResNet-20
gets 91.73 % of the 10,000 test images right. Settings are chosen on training images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cifar10_npz import labels, tiles
from benchmarks.resnet20 import MEAN, STD
from benchmarks.tables import ROOT
from supernets.inputs import Inputs

DEPTHS = (20, 32, 44, 56)
WIDTHS = (16, 32, 64)
TEST = tuple(f"test_{n:02}" for n in range(5))
_SHEETS = tuple(f"train_{n:02}" for n in range(5))  # of which calibration images are drawn
JUDGED = ("train_20", "train_21")
"""Training images on which settings are chosen; none of them calibrates."""
PORTION = 50


class Block(nn.Module):
    """Two convolutions beside a shortcut that takes every second pixel and adds empty channels."""

    def __init__(self, read: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(read, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, (width - read) // 2

    def forward(self, x: Tensor) -> Tensor:
        """The images behind the block."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added, self.added))
        return F.relu(y + x)


class ResNet(nn.Module):
    """A residual network for images of 32 x 32 pixels (He et al. 2016, section 4.2)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks, read = (depth - 2) // 6, WIDTHS[0]
        self.conv1 = nn.Conv2d(3, read, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(read)
        for stage, width in enumerate(WIDTHS, start=1):
            strides = [2 if stage > 1 else 1] + [1] * (blocks - 1)
            reads = [read] + [width] * (blocks - 1)
            made = [Block(r, width, s) for r, s in zip(reads, strides, strict=True)]
            self.add_module(f"layer{stage}", nn.Sequential(*made))
            read = width
        self.linear = nn.Linear(read, 10)

    def forward(self, image: Tensor) -> Tensor:
        """The logits of ten classes."""
        x = F.relu(self.bn1(self.conv1(image)))
        for stage in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


def resnet(depth: int) -> ResNet:
    """The trained network of this depth, 20, 32, 44 or 56, in evaluation mode."""
    made = ResNet(depth)
    with np.load(ROOT / "cifar_resnet_weights" / f"resnet{depth}.npz", allow_pickle=False) as file:
        held = {name: torch.from_numpy(values) for name, values in file.items()}
    missing, unknown = made.load_state_dict(held, strict=False)
    assert not unknown
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return made.eval()


@lru_cache(maxsize=4)
def images(sheets: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The images of some sheets, `(n, 3, 32, 32)`, normalised, and their classes, `(n,)`."""
    known = labels(ROOT / "cifar10")
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (MEAN, STD))
    pixels = np.concatenate([tiles(ROOT / "cifar10" / f"{name}.webp") for name in sheets])
    shown = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)
    found = np.concatenate([known[name] for name in sheets]).astype(np.int64)
    return shown.contiguous(memory_format=torch.channels_last), torch.from_numpy(found)


def calibration(seed: int, count: int, *, batch: int = 128) -> list[Inputs]:
    """So many training images without labels, drawn by `seed`, in batches."""
    sheet = _SHEETS[seed % len(_SHEETS)]
    drawn = np.random.default_rng(seed).permutation(2000)[:count]
    shown = images((sheet,))[0][torch.from_numpy(drawn)]
    return [{"image": part} for part in shown.split(batch)]


def outputs(module: nn.Module, sheets: Sequence[str], count: int | None = None) -> Tensor:
    """The outputs of a network for the images of some sheets, or for the first `count` of them."""
    with torch.no_grad():
        shown = images(tuple(sheets))[0][:count]
        return torch.cat([module(part) for part in shown.split(PORTION)])


def accuracy(module: nn.Module, sheets: Sequence[str] = TEST, count: int | None = None) -> float:
    """The accuracy of a network in percent, by default on all test images."""
    right = outputs(module, sheets, count).argmax(1) == images(tuple(sheets))[1][:count]
    return 100 * float(right.double().mean())
