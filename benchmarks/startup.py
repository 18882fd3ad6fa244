"""Seconds of CPU before the first result, beside another checkout: help, planning, one evaluation.

    python -m benchmarks.startup --before ../checkout-of-before

Prints a Markdown table. Every figure is measured in processes of their own that take turns between
the two checkouts, and is the median of `--rounds`. Planning is `nas run RECIPE` until training
begins; the recipe must be one that both checkouts read, and should name targets that need no
measurement. An evaluation is one of random subnets of an untrained digits supernet.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HELP = """
sys.argv = ["nas", "--help"]
atexit.register(lambda: print(time.process_time()))
runpy.run_module("nas", run_name="__main__")
"""
PLANNING = """
import supernets.training.train
def begin(*_, **__):
    print(time.process_time(), flush=True)
    os._exit(0)
supernets.training.train.train = begin
sys.argv = ["nas", "run", recipe, "--out", folder]
runpy.run_module("nas", run_name="__main__")
"""
EVALUATION = """
import numpy as np
import torch
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.tasks.criteria import Classification
from search_spaces.residual import residual
from supernets.calibrate import initialise_steps
from supernets.deploy import Deployment
from supernets.supernet import Supernet
torch.set_num_threads(1)
shape = {"inputs": (Input("image", (1, 8, 8)),), "output": (10,)}
space = residual(**shape, widths=[[4, 8, 12], [6, 12, 16], [8, 16, 24]], depths=[[1, 2], [1, 2]])
images = torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
supernet = Supernet(space, seed=0)
initialise_steps(supernet, [images])
labels = torch.zeros(256, dtype=torch.long)
shown = [({"image": images}, labels)]
criterion = Classification()
evaluate = SupernetEvaluator(Deployment(supernet, [images]), shown, criterion=criterion, seed=0)
asked = [space.sample(np.random.default_rng(seed)) for seed in range(30)]
list(evaluate(asked[:5]))
start = time.process_time()
list(evaluate(asked))
print((time.process_time() - start) / len(asked))
"""
FIGURES = {"`nas --help`": HELP, "planning": PLANNING, "one evaluation": EVALUATION}


def seconds(code: str, checkout: Path, recipe: Path) -> float:
    """The number that `code` prints last, run against the packages of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        given = "import atexit, os, runpy, sys, time\n"
        given += f"recipe, folder = {str(recipe)!r}, {folder + '/run'!r}\n"
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-c", given + code]
        done = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{checkout} failed, exit {done.returncode}:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure both checkouts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--recipe", type=Path, required=True, help="what is planned")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    checkouts = (given.before.resolve(), Path(__file__).resolve().parent.parent)
    print("| | before, s | now, s | times faster |\n| --- | --- | --- | --- |")
    for name, code in FIGURES.items():
        taken = [
            [seconds(code, checkout, given.recipe.resolve()) for checkout in checkouts]
            for _ in range(given.rounds)
        ]
        before, now = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"| {name} | {before:.3f} | {now:.3f} | {before / now:.2f} |", flush=True)


if __name__ == "__main__":
    main()
