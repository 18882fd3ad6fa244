"""The milliseconds of every proxy on a small convolutional network and on a transformer.

    python -m benchmarks.predictors proxies [--repeats 3]

A proxy is timed alone, with all passes that it needs, and after all those above it in the table,
whose passes it shares. The time is that of the processor with one thread, the median of the
repeats. Both networks are quantized, so that proxies of precision have something to measure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.predictors.cells import CONV1, CONV3, SKIP, images, network
from nas.parts import Parts
from predictors.proxies.probe import Batch
from predictors.proxies.subject import Subject

BATCH = 16


def rounded(module: nn.Module) -> nn.Module:
    """The network with weights of 4 bits, one scale for each tensor."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim >= 2:
                step = parameter.abs().max() / 7
                parameter.copy_((parameter / step).round() * step)
    return module


def convolutional() -> tuple[nn.Module, Batch]:
    """A network of NAS-Bench-201 with 16 channels and three cells a stage, images of 16 pixels."""
    cell = (CONV3, SKIP, CONV3, CONV1, SKIP, CONV3)
    return network(cell, channels=16, cells=3), images(BATCH, 16)


class Reader(nn.Module):
    """A classifier of tokens: four layers of a transformer with 64 features."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 256, activation="gelu", batch_first=True)
        self.embed = nn.Embedding(1000, 64)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(64, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits of four classes."""
        return self.head(self.body(self.embed(tokens)).mean(1))


def transformer() -> tuple[nn.Module, Batch]:
    """The classifier, and sequences of 32 random tokens."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        tokens = torch.randint(0, 1000, (BATCH, 32)), torch.arange(BATCH) % 4
        return Reader(), tokens


def milliseconds(make: Callable[[], tuple[nn.Module, Batch]], repeats: int) -> np.ndarray:
    """The milliseconds of each proxy alone and after those before it, `(proxies, 2)`."""
    proxies = [*Parts("proxy").values()]
    module, batch = make()
    quantized = rounded(make()[0])
    found = np.zeros((repeats + 1, len(proxies), 2))
    for repeat in range(repeats + 1):
        together = Subject.of(module, batch, F.cross_entropy, quantized=quantized)
        for at, proxy in enumerate(proxies):
            alone = Subject.of(module, batch, F.cross_entropy, quantized=quantized)
            for column, subject in enumerate((alone, together)):
                start = time.process_time()
                proxy.score(subject)
                found[repeat, at, column] = 1000 * (time.process_time() - start)
    return np.median(found[1:], axis=0)  # the first repeat loads code


def main(arguments: list[str]) -> None:
    """Run the part with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    columns = np.hstack(
        [milliseconds(make, given.repeats) for make in (convolutional, transformer)]
    )
    print("| proxy | convolutional: alone | after those above | transformer: alone | after |")
    print("| --- | --: | --: | --: | --: |")
    for name, row in zip(Parts("proxy"), columns, strict=True):
        print(f"| `{name}` | {' | '.join(f'{value:,.0f}' for value in row)} |")
    print(f"| all | | {columns[:, 1].sum():,.0f} | | {columns[:, 3].sum():,.0f} |")
