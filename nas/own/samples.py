"""The samples of a user's loader: read, checked, and parted for calibration and for judging."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nas.own.model import OwnModelError, called, forward_names

Given = Tensor | list[Tensor] | dict[str, Tensor]
"""One batch in the form in which a network takes it."""

_TRIED = 2  # samples of the first batch on which the network is tried


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples that a network reads, without labels.

    Attributes:
        names: The names of the inputs, if the loader gives them by name; else empty.
        tensors: The values of each input for all samples, `(n, ...)`, in the order of the inputs.
    """

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors[0])

    def at(self, rows: Tensor | slice) -> Samples:
        """The samples at `rows`, in that order."""
        return Samples(self.names, tuple(tensor[rows] for tensor in self.tensors))

    def given(self) -> Given:
        """All samples as one batch that the network takes."""
        if self.names:
            return dict(zip(self.names, self.tensors, strict=True))
        return self.tensors[0] if len(self.tensors) == 1 else list(self.tensors)

    def batches(self, size: int) -> Iterator[Samples]:
        """The samples in their order, in batches of `size`; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.at(slice(start, start + size))

    def parted(self, shares: Sequence[float]) -> tuple[Samples, ...]:
        """Disjoint parts of the samples, drawn at random by a fixed seed.

        Args:
            shares: The share of each part but the last, which gets all others.
        """
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(self)))
        ends = [round(share * len(self)) for share in np.cumsum(shares)]
        bounds = zip([0, *ends], [*ends, len(self)], strict=True)
        return tuple(self.at(order[start:end]) for start, end in bounds)


def samples_of(loader: object, model: nn.Module, *, most: int, least: int) -> Samples:
    """The first samples of a loader, after the network was tried on two of them.

    A batch is a tensor, a sequence whose first items are the inputs (labels behind them are passed
    over), or a mapping from the names of the network's arguments to tensors.

    Args:
        loader: Gives batches, such as a `DataLoader`; one tensor `(n, ...)` is one batch.
        model: The network, as `require_model` accepts it.
        most: The number of samples after which nothing more is read.
        least: The number of samples that are needed.

    Raises:
        OwnModelError: The loader gives no such batches or too few samples, or the network does not
            run on them.
    """
    held: list[Samples] = []
    for batch in batches_in(loader):
        found = inputs_in(batch, model)
        if not held:
            where = f"samples of the shape {shapes_of(found)} that the calibration gives"
            outputs_of_few(model, found, where=where, remedy="prepare them as in the training")
        elif (before := shapes_of(held[0])) != (now := shapes_of(found)):
            raise OwnModelError(
                f"the calibration gives samples of {before} and then of {now}; give samples of "
                "one shape, such as images of one size"
            )
        held.append(found)
        if sum(map(len, held)) >= most:
            break
    count = sum(map(len, held))
    if count < least:
        raise OwnModelError(
            f"the calibration gives {count or 'no'} samples, and at least {least} are needed: "
            "some calibrate, others judge; give a loader of more (one that is an iterator gives "
            "nothing a second time)"
        )
    joined = zip(*(one.tensors for one in held), strict=True)
    return Samples(held[0].names, tuple(torch.cat(parts)[:most] for parts in joined))


def batches_in(loader: object) -> Iterator[Any]:
    """The batches of a loader; raises `OwnModelError` if it is none."""
    if isinstance(loader, Tensor):
        return iter([loader])
    if isinstance(loader, str | bytes) or not isinstance(loader, Iterable):
        raise OwnModelError(
            f"the calibration is a loader of batches or a tensor of samples, given "
            f"{type(loader).__name__}; give such as a torch DataLoader"
        )
    return _read(loader)


def inputs_in(batch: Any, model: nn.Module) -> Samples:
    """The inputs in a batch of a loader, without labels.

    Raises:
        OwnModelError: The batch has another form than the network takes.
    """
    names, needed = forward_names(model)
    if isinstance(batch, Mapping):
        kept = {name: batch[name] for name in names if isinstance(batch.get(name), Tensor)}
        if missing := [name for name in names[:needed] if name not in kept]:
            raise OwnModelError(
                f"a batch of the calibration has {', '.join(map(str, batch)) or 'nothing'}, but "
                f"the model needs {', '.join(missing)}; name the tensors like the arguments of "
                "the model's forward"
            )
        return _checked(Samples(tuple(kept), tuple(kept.values())))
    if isinstance(batch, Tensor):
        batch = [batch]
    if not isinstance(batch, Sequence) or isinstance(batch, str) or not batch:
        raise OwnModelError(
            f"a batch of the calibration is a tensor, a sequence or a mapping of tensors, given "
            f"{type(batch).__name__}; let the loader give such batches"
        )
    if not isinstance(batch[0], Tensor):  # the inputs together, labels behind them
        return inputs_in(batch[0], model)
    count = max(1, needed)
    if len(batch) < count or not all(isinstance(part, Tensor) for part in batch[:count]):
        raise OwnModelError(
            f"a batch of the calibration has {len(batch)} tensors, but the model needs {count}: "
            f"{', '.join(names[:count])}; give them in this order"
        )
    return _checked(Samples((), tuple(cast("Sequence[Tensor]", batch)[:count])))


def _checked(samples: Samples) -> Samples:
    """The same samples on the CPU, if they have numbers of a type and a size that fit together."""
    sizes = {tensor.shape[:1] for tensor in samples.tensors}
    if sizes == {torch.Size([])} or len(sizes) > 1:
        raise OwnModelError(
            f"a batch of the calibration has tensors of {shapes_of(samples)} with "
            f"{', '.join(str(tuple(size)) for size in sizes)} samples; the first axis of each is "
            "the batch"
        )
    for tensor in samples.tensors:
        if tensor.is_meta:
            raise OwnModelError("the calibration gives tensors on meta, which hold no numbers")
        if tensor.dtype not in (torch.float32, torch.int64):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise OwnModelError(
                f"the calibration gives numbers of the type {kind}; give float32, prepared as "
                "the model takes them, or int64 for tokens"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise OwnModelError("the calibration gives NaN or infinity; leave such samples out")
    return Samples(samples.names, tuple(tensor.detach().cpu() for tensor in samples.tensors))


def shapes_of(samples: Samples) -> str:
    """The shapes of a sample in words."""
    return " and ".join(str(tuple(tensor.shape[1:])) for tensor in samples.tensors)


def outputs_of_few(model: nn.Module, samples: Samples, *, where: str, remedy: str) -> list[Tensor]:
    """The outputs of the network for a few of the samples.

    Args:
        model: The network.
        samples: The samples.
        where: What the samples are, for the error.
        remedy: What the user can do if the network does not run.

    Raises:
        OwnModelError: The network does not run, or its outputs are none of these samples.
    """
    few = samples.at(slice(0, _TRIED))
    try:
        output = called(model, few.given())
    except Exception as error:
        raise OwnModelError(
            f"the model does not run on {where}: {type(error).__name__}: "
            f"{' '.join(str(error).split())}; {remedy}"
        ) from error
    return require_outputs(output, len(few))


def require_outputs(output: Any, count: int) -> list[Tensor]:
    """The tensors in an output of a network for `count` samples.

    Raises:
        OwnModelError: There is none, one has another number of samples, or not all are finite.
    """
    leaves = [leaf for leaf in pytree.tree_leaves(output) if leaf is not None]
    found = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if not found or len(found) < len(leaves):
        raise OwnModelError(
            f"the model gives {type(output).__name__}, which is or holds no tensor only; let its "
            "forward return tensors alone"
        )
    for tensor in found:
        if tensor.dim() == 0 or len(tensor) != count:
            raise OwnModelError(
                f"the model gives an output of the shape {tuple(tensor.shape)} for {count} "
                "samples; its first axis must be the batch"
            )
        if not bool(tensor.isfinite().all()):
            raise OwnModelError(
                "the model gives NaN or infinity for samples of the calibration; look at its "
                "weights and at how the samples are prepared"
            )
    return found


def _read(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a loader; what fails inside of it is told as its fault."""
    try:
        yield from loader
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise OwnModelError(
            f"the calibration failed while it gave batches: {told}; repair the loader"
        ) from error
