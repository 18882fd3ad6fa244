"""The proxies of AZ-NAS: how features and gradients change from block to block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies.layers import channels_first, channels_last
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject, slopes_of

_POOLS = {3: F.adaptive_avg_pool1d, 4: F.adaptive_avg_pool2d, 5: F.adaptive_avg_pool3d}


def az_nas(subject: Subject) -> Mapping[str, Value]:
    """The proxies `expressivity`, `progressivity` and `trainability` (Lee and Ham 2024, AZ-NAS).

    The expressivity of a block is the entropy of the eigenvalues of the covariance of its channels,
    divided by their sum; that of the network is the sum over blocks. The progressivity is the least
    rise of expressivity from a block to the next one, where a network has two or more. The
    trainability of a block is 2 - s - 1 / s, where s is the largest singular value of its Jacobian
    by channels: the mean over samples and positions of g v', with random signs v for what the block
    gave, and g their gradient with respect to what the block read. It is at most 0, where s = 1;
    that of the network is the mean over blocks. Blocks that give a constant have an expressivity
    of 0, and those that pass nothing back a trainability of minus infinity. The fourth proxy, the
    complexity, is `macs`. Their own sum of logarithms of ranks over a pool of networks is
    `log_rank_sum`. Cost: one forward and about one backward pass.
    """
    generator = subject.generator()
    entropies, trained = dict[str, float](), dict[str, float]()
    for path, found in subject.passed.calls.items():
        if path not in subject.blocks:
            continue
        part = subject.blocks[path]
        for read, given in found:
            entropies[path] = _entropy(channels_last(given.detach(), part).flatten(0, 1))
            if read is not None and read.requires_grad and given.requires_grad:
                signs = torch.randint(0, 2, given.shape, generator=generator) * 2.0 - 1
                trained[path] = _trainability(read, given, signs.to(given), part)
    rises = [after - before for before, after in itertools.pairwise(entropies.values())]
    return {
        "expressivity": Value.summed(entropies),
        "progressivity": Value(min(rises, default=math.nan)),
        "trainability": Value(
            sum(trained.values()) / len(trained) if trained else math.nan, trained
        ),
    }


def _entropy(rows: Tensor) -> float:
    """The entropy of the eigenvalues of the covariance of columns; `(positions, channels)`."""
    centred = (rows - rows.mean(0)).double().cpu()
    values = torch.linalg.eigvalsh(centred.T @ centred / len(rows)).clamp(min=0.0)
    if not float(values.sum()) > 0:
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum())


def _trainability(read: Tensor, given: Tensor, signs: Tensor, part: nn.Module) -> float:
    (back,) = slopes_of(given, [read], signs)
    behind, ahead = channels_last(_fitted(back, given, part), part), channels_last(signs, part)
    jacobian = behind.flatten(0, 1).double().T @ ahead.flatten(0, 1).double()
    largest = float(torch.linalg.matrix_norm(jacobian / (ahead.shape[0] * ahead.shape[1]), ord=2))
    return 2.0 - largest - 1.0 / largest if largest > 0 else -math.inf


def _fitted(x: Tensor, like: Tensor, part: nn.Module) -> Tensor:
    """`x` with the positions of `like`; where there are fewer, the mean over neighbours."""
    images = x.ndim == like.ndim and channels_first(like, part)
    if images and x.shape[2:] != like.shape[2:]:
        return _POOLS[x.ndim](x, like.shape[2:])
    positions = channels_last(like, part).shape[1]
    flat = channels_last(x, part)
    if flat.shape[1] == positions:
        return x
    return F.adaptive_avg_pool1d(flat.transpose(1, 2), positions).transpose(1, 2)


AZ_NAS = Proxy(az_nas, {"expressivity": True, "progressivity": True, "trainability": True})
