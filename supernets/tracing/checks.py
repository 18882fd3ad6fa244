"""What a model must be before it is traced, and whether the traced network computes the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from supernets.tracing.errors import TraceError
from supernets.tracing.outputs import named_outputs
from supernets.tracing.program import SIZES, Given, place_of, sized

TOLERANCE = 1e-5
"""The largest difference, as a share of the largest number of an output, or of one."""
_DOUBLE_TOLERANCE = 1e-9
_SHOWN = 3
Answers = dict[str, Tensor]


def answers(model: nn.Module, batch: Given, *, by_name: bool) -> Answers:
    """What the model gives for a batch, by the names of outputs.

    Raises:
        TraceError: If the model does not run, or gives something else than tensors.
    """
    try:
        with torch.no_grad():
            found = model(**batch) if by_name else model(*batch.values())
    except Exception as error:  # whatever the code of the model raises
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in batch.items())
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise TraceError(
            f"the model does not run on inputs of the shapes {shapes} with the batch first; it "
            f"said: {told[0]}{place_of(error)}; give an example batch as the model reads it"
        ) from error
    return named_outputs(found)


def require_traceable(model: nn.Module, batch: Given) -> None:
    """Raise `TraceError` with all that keeps a model from being traced, before any work."""
    if faults := [*_faults(model), *_odd_inputs(model, batch)]:
        raise TraceError("; ".join(faults))


def _faults(model: nn.Module) -> Iterator[str]:
    parameters = dict(model.named_parameters())
    if not parameters:
        yield "the model has no parameters, so there is nothing to compress; give a trained network"
    training = [name or "the model" for name, part in model.named_modules() if part.training]
    if training:
        yield f"in training mode: {_listed(training)}; call model.eval()"
    types = sorted({str(p.dtype) for p in parameters.values() if p.dtype != torch.float32})
    if types:
        yield f"the model has parameters of {', '.join(types)}; call model.float()"
    held = {name: tensor for name, tensor in model.named_buffers() if "running_" in name}
    broken = [name for name, t in (parameters | held).items() if not bool(t.isfinite().all())]
    if broken:
        yield f"not finite: {_listed(broken)}; train or load the network again"


def _odd_inputs(model: nn.Module, batch: Given) -> Iterator[str]:
    if not batch:
        yield "no inputs are given; give an example batch"
        return
    known = {torch.float32, torch.int64}
    if odd := [f"{name} is {x.dtype}" for name, x in batch.items() if x.dtype not in known]:
        yield f"inputs are float32, or int64 for tokens, but {', '.join(odd)}"
    if flat := [name for name, x in batch.items() if not x.dim()]:
        yield f"inputs have the batch as first axis, but {_listed(flat)} is a single number"
        return
    if len(counts := {len(x) for x in batch.values()}) > 1 or 0 in counts:
        told = ", ".join(f"{len(x)} of {name}" for name, x in batch.items())
        yield f"inputs of one batch have equal numbers of samples, at least one, given {told}"
    there = {p.device for p in model.parameters()}
    if other := sorted({str(x.device) for x in batch.values() if there and x.device not in there}):
        devices = " and ".join(sorted(map(str, there)))
        yield (
            f"the model is on {devices} but inputs are on {', '.join(other)}; put both on one "
            "device"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def largest_difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The largest difference of two answers, over the largest number of an output, or over one."""
    shares = [
        float((found[name] - answer).abs().max() / answer.abs().max().clamp(min=1))
        for name, answer in wanted.items()
        if answer.numel()
    ]
    return max(shares, default=0.0)


def require_equal(
    model: nn.Module,
    traced: nn.Module,
    batch: Given,
    *,
    by_name: bool,
    unpack: Callable[[Tensor], Answers],
) -> None:
    """Raise `TraceError` if the traced network differs from the model for another batch size.

    Where sums of many numbers differ by more than `TOLERANCE` only because they are added up in
    another order, both are equal in double precision.

    Args:
        model: The model.
        traced: The traced network, whose arguments are in the order of `batch`.
        batch: An example batch.
        by_name: Whether the model is called by name.
        unpack: Gives the outputs by name out of what the traced network gives.
    """
    rows = {name: sized(x, SIZES[1]) for name, x in batch.items()}
    for kind, tolerance in ((torch.float32, TOLERANCE), (torch.float64, _DOUBLE_TOLERANCE)):
        given = {name: x.to(kind) if x.is_floating_point() else x for name, x in rows.items()}
        if kind is torch.float64:
            model, traced = copy.deepcopy(model).double(), traced.double()
        wanted = answers(model, given, by_name=by_name)
        with torch.no_grad():
            found = unpack(traced(*given.values()))
        share = largest_difference(found, wanted)
        if share <= tolerance:
            return
    raise TraceError(
        f"the traced network differs from the model by {share:.2g} of its largest output, which is "
        "a fault of the tracing; please report it with the model"
    )
