"""The training of the shipped network of the prior-fitted forecast of learning curves.

    python -m benchmarks.curve_network [--steps 4000] [--seed 0] [--out FILE]

Four minutes on one core. Without `--out`, the weights take the place of those in the package.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from predictors.curves.fitting import fitted
from predictors.curves.prior_fitted import WEIGHTS

EVERY = 250


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    losses: list[float] = []

    def told(step: int, loss: float) -> None:
        losses.append(loss)
        if step % EVERY == 0:
            print(f"{step}: {sum(losses[-EVERY:]) / EVERY:.3f}", file=sys.stderr, flush=True)

    network = fitted(steps=options.steps, seed=options.seed, told=told)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, options.out)


if __name__ == "__main__":
    main()
