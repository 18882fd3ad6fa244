"""A check that a training fits into memory, and its network into an exported file."""

from __future__ import annotations

import math

import torch

from nas.memory import gigabytes, memory_limit, shortage
from nas.recipe.recipe import RecipeError
from nas.run.plan import Plan
from search_spaces import costs

_FLOAT_BYTES = 4
_COPIES = 5  # of every weight: itself, its gradient, its momentum; two as of the last good epoch
_WRITTEN = (
    8  # and while a checkpoint is written, in this machine's memory, four of those twice more
)
_LARGEST_ONNX = 1 << 31  # of the protocol buffers that the file is made of


def require_room(plan: Plan, device: torch.device) -> str:
    """A warning if training needs more than half the memory; an empty text if it needs less.

    The least memory of a training is counted: weights, gradients, momenta, weights and momenta of
    the last good epoch, a checkpoint being written, and the outputs of the largest subnet's layers
    for one batch.

    Raises:
        RecipeError: Training needs more memory than the machine has, or an exported file would be
            larger than ONNX allows.
    """
    largest = plan.space.decode(plan.space.largest)
    weights = costs.total(costs.parameters, largest)
    values = sum(map(math.prod, largest.shapes().values()))
    batch = plan.recipe.training.batch_size
    if device.type == "cuda":
        copies, limit = _COPIES, torch.cuda.get_device_properties(device).total_memory
    else:
        copies, limit = _COPIES + _WRITTEN, memory_limit()
    needed = _FLOAT_BYTES * (copies * weights + batch * values)
    content = f"{weights:,.0f} weights, {values:,} values per sample in batches of {batch}"
    if missing := shortage(needed, limit=limit):
        raise RecipeError(
            f"training the largest network of space {plan.space.name!r} ({content}) {missing} on "
            f"{device}; give smaller widths or inputs, or a smaller training.batch_size"
        )
    size = costs.total(costs.model_bytes, largest)
    if "onnx" in plan.recipe.export.formats and size > _LARGEST_ONNX:
        raise RecipeError(
            f"the largest network of space {plan.space.name!r} takes {gigabytes(size)} as a file, "
            f"and an ONNX file holds {gigabytes(_LARGEST_ONNX)}; give smaller widths or fewer bits"
        )
    if needed <= limit / 2:
        return ""
    of = f"{gigabytes(needed)} of {gigabytes(limit)}"
    return f"Training takes at least {of} of memory ({content})."
