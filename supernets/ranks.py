"""Ranks: the processes that train one supernet together, each on its own rows of every batch.

All ranks hold the same weights and draw the same subnets. What a step needs of the whole batch are
sums over its rows, so the ranks add their sums: the gradients once per step, and the statistics of
every batch norm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """The place of this process among the processes of a training.

    Attributes:
        rank: The number of this process, from 0.
        count: The number of processes; a training in a single process needs no process group.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def of_group(cls) -> Ranks:
        """The place of this process in torch's default process group."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def alone(self) -> bool:
        """Whether this process trains without others."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes checkpoints."""
        return self.rank == 0

    def rows(self, samples: int) -> slice:
        """The rows of this process in a batch; two processes differ by at most one row."""
        start, stop = (samples * rank // self.count for rank in (self.rank, self.rank + 1))
        return slice(start, stop)

    def share(self, rows: Tensor) -> float:
        """The number of `rows` of this process over that of all processes.

        A mean over all rows is the sum over processes of their means times their shares.
        """
        if self.alone:
            return 1.0
        count = torch.tensor([float(len(rows))], device=rows.device)
        self.add(count)
        return len(rows) / float(count)

    def add(self, *tensors: Tensor) -> None:
        """Replace tensors of one type by their sums over all processes, in a single exchange."""
        if self.alone:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view_as(tensor))

    def spread(self, module: nn.Module) -> None:
        """Give `module` the parameters and buffers that it has in the first process."""
        if self.alone:
            return
        held = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        for tensor in held.values():
            dist.broadcast(tensor, src=0)
        module.load_state_dict(held)

    def copy(self, path: Path) -> None:
        """Write the first process's file at `path` to the `path` of every other process."""
        if self.alone:
            return
        held = [path.read_bytes() if self.first else b""]
        dist.broadcast_object_list(held, src=0)
        if not self.first:
            path.write_bytes(held[0])

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """A context in which networks run on this process's rows of a batch.

        Their batch norms use the statistics of all rows.
        """
        before = _PRESENT.set(self)
        try:
            yield
        finally:
            _PRESENT.reset(before)


ALONE = Ranks()
_PRESENT = ContextVar("_PRESENT", default=ALONE)


def present() -> Ranks:
    """The ranks among which the rows of a batch are shared in this context."""
    return _PRESENT.get()


def require_rows(processes: int, batch_size: int) -> None:
    """Raise `ValueError` if a process would have no row of a batch."""
    if processes > batch_size:
        raise ValueError(
            f"{processes} processes cannot share batches of batch_size = {batch_size} rows, since "
            "each needs a row; give fewer processes or larger batches"
        )
