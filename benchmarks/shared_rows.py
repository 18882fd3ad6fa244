"""The processor time of a training step in one process and in two, as a Markdown table.

    python benchmarks/shared_rows.py [--steps 10] [--batch 128]

One process with two threads runs whole batches; two processes with one thread each run halves and
exchange sums (gloo, on this machine). All processes of a row are counted together. The wall time
tells something only on a machine without other load.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing

from nas.tasks.criteria import Classification
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from supernets.calibrate import initialise_steps
from supernets.ranks import ALONE, Ranks
from supernets.supernet import Supernet
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.methods import Methods
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.step import TrainingStep

_WARM = 2
_SAMPLES = 1024


def step_of(batch_size: int, ranks: Ranks) -> TrainingStep:
    """The step of a training of a ResNet-20-like supernet on random images."""
    space = residual(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        widths=[(8, 12, 16), (8, 12, 16), (16, 24, 32), (32, 48, 64)],
        depths=[(1, 2, 3)] * 3,
        kernels=(3,),
        policy=Policy(weight_bits=(2, 3, 4, 6, 8), activation_bits=(4, 6, 8)),
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, 32, 32, generator=generator)
    targets = torch.randint(0, 10, (batch_size,), generator=generator)

    def batch(_: int) -> Batch:
        return {"image": images}, targets

    supernet = Supernet(space, seed=0)
    initialise_steps(supernet, [images])
    settings = TrainingSettings(float_epochs=0, batch_size=batch_size)
    plan = schedule(settings, max(batch_size, _SAMPLES))
    context = TrainingContext(supernet, settings, plan, Classification(), batch, None, ranks)
    return TrainingStep(context, Methods())


def run_rank(rank: int, count: int, folder: str, steps: int, batch_size: int) -> None:
    """Save the seconds of each step, of the processor and of the clock, `(steps, 2)`."""
    torch.set_num_threads(2 // count)
    if count > 1:
        meeting = f"file://{folder}/meeting{count}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    ranks = ALONE if count == 1 else Ranks.of_group()
    made = step_of(batch_size, ranks)
    context, moment = made.context, Moment(0, made.context.plan)
    own = context.rows(context.batch(0))
    seconds: list[tuple[float, float]] = []
    for step in range(_WARM + steps):
        start, clock = time.process_time(), time.perf_counter()
        with ranks.sharing():
            made.gradients(moment, own, made.sampler.draw(moment, own, context.rng(0, step)))
        seconds.append((time.process_time() - start, time.perf_counter() - clock))
    np.save(Path(folder) / f"{count}-{rank}.npy", seconds[_WARM:])
    if count > 1:
        dist.barrier()
        os._exit(0)  # gloo's threads abort about one in ten processes that clean up at their end


def main() -> None:
    """Time both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    asked = parser.parse_args()
    print("| processes x threads | CPU seconds per step | wall seconds per step |")
    print("| --- | --- | --- |")
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(
                run_rank, (count, folder, asked.steps, asked.batch), nprocs=count
            )
            found = np.array([np.load(Path(folder) / f"{count}-{r}.npy") for r in range(count)])
        cpu, wall = np.median(found[..., 0].sum(0)), np.median(found[..., 1].max(0))
        print(f"| {count} x {2 // count} | {cpu:.3f} | {wall:.3f} |")


if __name__ == "__main__":
    main()
