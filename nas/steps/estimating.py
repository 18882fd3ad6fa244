"""How long a run will take, from a moment of its own work."""

from __future__ import annotations

import time

import numpy as np
import torch

from nas.plan import Plan
from nas.steps.training import device_of
from supernets.sampling import sandwich
from supernets.schedule import schedule
from supernets.supernet import Supernet
from supernets.train import sandwich_step

_TIMED_STEPS = 2


def estimate(plan: Plan) -> str:
    """A sentence on the training time that is left, from two steps of an untrained supernet."""
    if plan.files.supernet.exists():
        return "The supernet is trained already."
    settings, device = plan.recipe.training, device_of(plan)
    steps = schedule(settings, len(plan.task.train))
    supernet = Supernet(plan.space, seed=0).to(device)
    rng = np.random.default_rng(0)
    rows = np.arange(settings.batch_size)
    seconds: list[float] = []
    for _ in range(_TIMED_STEPS):
        images, labels = plan.task.train.batch(rows, rng)
        subnets = sandwich(plan.space, rng, random=settings.random_subnets)
        start = time.perf_counter()
        batch = images.to(device), labels.to(device)
        sandwich_step(supernet, batch, subnets, settings, quantize=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    total = min(seconds) * steps.total
    return f"Training takes about {_words(total)} ({steps.total} sandwich steps) on {device}."


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
