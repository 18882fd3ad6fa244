"""The example table: forty small networks trained on digits, with accuracy and costs, in nets.csv.

python -m examples.table.make
"""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

FILE = Path(__file__).with_name("nets.csv")
WIDTHS = (4, 8, 16, 32)
BATCHES = (1, 64)
RUNS = 200


def shapes() -> Iterator[tuple[int, ...]]:
    """The widths of the hidden layers of each network, one or two per network."""
    for depth in (1, 2):
        yield from itertools.product(WIDTHS, repeat=depth)


def latency_ms(network: MLPClassifier, images: object) -> float:
    """The latency of a network in ms: the fastest of many runs."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        network.predict(images)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def main() -> None:
    """Train and measure all networks, and write the table."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images / 16, labels, random_state=0, stratify=labels)
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        batches = [f"batch{size}_ms" for size in BATCHES]
        writer.writerow(["layers", "first", "second", "function", "accuracy", "weights", *batches])
        for shape, function in itertools.product(shapes(), ("relu", "tanh")):
            network = MLPClassifier(shape, activation=function, early_stopping=True, random_state=0)
            network.fit(x, y)
            weights = sum(part.size for part in (*network.coefs_, *network.intercepts_))
            spent = [f"{latency_ms(network, x_test[:size]):.4f}" for size in BATCHES]
            right = f"{network.score(x_test, y_test):.4f}"
            second = shape[1] if len(shape) > 1 else ""
            writer.writerow([len(shape), shape[0], second, function, right, weights, *spent])


if __name__ == "__main__":
    main()
