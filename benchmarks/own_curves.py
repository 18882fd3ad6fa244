"""Learning curves of networks that this engine trains, for `benchmarks.learning_curves --own`.

    python -m benchmarks.own_curves [--count 120] [--first 0] [--run FOLDER]

Networks of a residual space learn the 1,347 first images of scikit-learn's digits for 50 epochs,
each alone, in full precision, by Adam with a rate between 0.0003 and 0.01 that the number of the
network draws. A curve has the logarithms of the cross-entropy of the other 450 images after every
epoch. Each curve is a file in FOLDER; start a killed run again with the same command.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from benchmarks.ranking import only
from nas.files.durable import write_atomic
from search_spaces.ops import Input
from search_spaces.residual import residual
from search_spaces.space import SearchSpace, as_genotypes
from supernets.supernet import Supernet

EPOCHS, BATCH, LEARNED = 50, 64, 1_347
RATES = (3e-4, 1e-2)
FOLDER = Path("runs/own_curves")


def space() -> SearchSpace:
    """The space of the networks, without choices of precision for their training in floats."""
    return residual(
        (Input("image", (1, 8, 8)),),
        (10,),
        widths=((4, 8, 16), (4, 8, 16), (8, 16, 32)),
        depths=((1, 2), (1, 2)),
    )


def curve(number: int) -> list[float]:
    """The curve of a random network, which `number` draws with its rate and its first weights."""
    rng, whole = np.random.default_rng(number), space()
    network = Supernet(only(whole, as_genotypes(whole.sample_array(rng, 1))[0]), seed=number)
    rate = float(np.exp(rng.uniform(*np.log(RATES))))
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(np.asarray(pixels)).float().reshape(-1, 1, 8, 8) / 8 - 1
    labels = torch.from_numpy(np.asarray(classes))
    found: list[float] = []
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(LEARNED), LEARNED // BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch], (), quantize=False), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            given = network(images[LEARNED:], (), quantize=False)
        found.append(float(F.cross_entropy(given, labels[LEARNED:]).log()))
    return found


def load(folder: Path) -> NDArray[np.float64]:
    """All curves of a folder, `(curves, epochs)`."""
    return np.array([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])


def main() -> None:
    """Train the networks that have no curve yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--run", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    for number in range(options.first, options.first + options.count):
        path = options.run / f"{number:04}.json"
        if not path.exists():
            write_atomic(path, json.dumps(curve(number)).encode())


if __name__ == "__main__":
    main()
