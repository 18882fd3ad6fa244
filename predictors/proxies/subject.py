"""The subject of proxies: a module, a batch and a loss, with the passes that proxies share.

A pass is made when a proxy first asks for what it gives, and serves all that ask later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies.layers import Calls, calls, paths, repeated, weighted
from predictors.proxies.probe import (
    AS_TRAINED,
    DIFFERENTIABLE,
    FAKE_QUANTIZERS,
    NONLINEARITIES,
    UNQUANTIZED,
    Batch,
    Function,
    Inputs,
    Loss,
    ProbedModule,
    each,
    probe,
    tensors_of,
)

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Pass:
    """A forward pass with batch statistics, whose gradients may be taken any number of times.

    Attributes:
        network: The module on copies of its tensors.
        read: The tensors through which samples enter, each `(n, ...)`, with gradients: floating-
            point inputs, or the embeddings of inputs that are whole numbers.
        output: The output of the network.
        calls: What layers and blocks read and gave, by path.
        alike: Path of a module -> for each nonlinearity in it, how many of its units have the same
            sign for two samples, `(n, n)`.
        rounded: The identity of a tensor that a fake quantizer of torch read -> what it gave.
    """

    network: ProbedModule
    read: list[Tensor]
    output: Tensor
    calls: Calls
    alike: Mapping[str, list[Tensor]]
    rounded: Mapping[int, Tensor]


@dataclass(frozen=True, eq=False)
class Slopes:
    """The gradients of the loss.

    Attributes:
        weights: Name of a parameter with two or more dimensions -> gradient.
        outputs: Path of a layer -> gradient for what each of its calls gave.
    """

    weights: Mapping[str, Tensor]
    outputs: Mapping[str, list[Tensor]]


def relative_distance(out: Tensor, reference: Tensor) -> Tensor:
    """The squared difference of two outputs, as a share of the square of the second one."""
    return (out - reference).square().sum() / reference.square().sum().clamp_min(1e-30)


@dataclass(frozen=True, eq=False)
class Subject:
    """A module, a batch and a loss, which proxies score.

    Attributes:
        module: Any module. It is left unchanged.
        inputs: One tensor `(n, ...)`, or tensors by argument of the module.
        targets: The targets of the samples.
        loss: Maps outputs and targets to a scalar.
        quantized: The same network with rounded weights and activations, whose parameters and
            submodules have the same names. By default it is `module` itself, and the network in
            full precision is `module` without its roundings.
        distance: Maps outputs and those in full precision to a scalar.
        seed: The seed of what some proxies draw.
    """

    module: nn.Module
    inputs: Inputs
    targets: Tensor
    loss: Loss
    quantized: nn.Module | None = None
    distance: Loss = relative_distance
    seed: int = 0
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, module: nn.Module, batch: Batch, loss: Loss, **further: Any) -> Subject:
        """The subject of a module and a batch of inputs and targets."""
        return cls(module, *batch, loss, **further)

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(tensors_of(self.inputs)[0])

    @cached_property
    def layers(self) -> Mapping[str, nn.Module]:
        """The modules that hold a parameter of two or more dimensions, by path."""
        return weighted(self.module)

    @cached_property
    def blocks(self) -> Mapping[str, nn.Module]:
        """The repeated modules, such as residual blocks; without any, the layers."""
        return repeated(self.module)

    @cached_property
    def passed(self) -> Pass:
        """The forward pass of the whole batch; needs no loss."""
        return run(self, self.inputs)

    @cached_property
    def given(self) -> Mapping[str, list[Tensor]]:
        """What the layers gave in `passed`, by path, in the order of the calls."""
        calls = self.passed.calls.items()
        return {path: [y for _, y in each] for path, each in calls if path in self.layers}

    @cached_property
    def value(self) -> Tensor:
        """The loss of the whole batch, a scalar."""
        with differentiable():
            return self.loss(self.passed.output, usable(self.targets))

    @cached_property
    def slopes(self) -> Slopes:
        """The gradients of the loss on the whole batch.

        Raises:
            ValueError: If the module has no weight of two or more dimensions.
        """
        passed = self.passed
        weights = passed.network.weights
        wanted = [*weights.values(), *(y for ys in self.given.values() for y in ys)]
        found = iter(slopes_of(self.value, wanted))
        return Slopes(
            {name: next(found) for name in weights},
            {path: [next(found) for _ in ys] for path, ys in self.given.items()},
        )

    @cached_property
    def jacobian(self) -> Tensor | None:
        """The gradient of the summed output with respect to each sample, `(n, inputs)`, float64.

        None if no tensor that the module reads has gradients.
        """
        if not self.passed.read:
            return None
        slopes = slopes_of(self.passed.output, self.passed.read)
        return torch.cat([slope.flatten(1).double().cpu() for slope in slopes], dim=1)

    @cached_property
    def both(self) -> tuple[Pass, Pass]:
        """The passes in full precision and of the quantized network, with running statistics."""
        if self.quantized is not None:
            other = replace(self, module=self.quantized)
            return run(self, self.inputs, DIFFERENTIABLE), run(other, self.inputs, {})
        full = run(self, self.inputs, {**DIFFERENTIABLE, **UNQUANTIZED})
        return full, run(self, self.inputs, {})

    @cached_property
    def weight_errors(self) -> Mapping[str, Tensor]:
        """What rounding adds to the weights, by name, float64.

        It is known for weights that `quantized` holds rounded, and for those that torch's fake
        quantizers round.

        Raises:
            ValueError: If the module has no weight of two or more dimensions.
        """
        full, rounded = self.both
        found = {}
        for name, weight in full.network.weights.items():
            other = rounded.network.parameters.get(name)
            if other is None or other.shape != weight.shape:
                continue
            last = rounded.rounded.get(id(other), other)
            found[name] = last.detach().double() - weight.detach().double()
        return found

    def part(self, start: int, stop: int) -> Subject:
        """The subject of some of the samples."""
        inputs = each(self.inputs, lambda x: x[start:stop])
        return replace(self, inputs=inputs, targets=self.targets[start:stop])

    def kept(self, function: Callable[[Subject], Kept]) -> Kept:
        """The result of a function of this subject, which is called once for all proxies."""
        if function not in self._kept:
            self._kept[function] = function(self)
        return self._kept[function]

    def generator(self) -> torch.Generator:
        """A source of random numbers, the same one each time."""
        return torch.Generator().manual_seed(self.seed)


def run(subject: Subject, inputs: Inputs, routes: Mapping[Function, Function] = AS_TRAINED) -> Pass:
    """A forward pass of the module of a subject.

    Args:
        subject: The module.
        inputs: What the module reads.
        routes: Torch function -> function that is called instead.
    """
    alike: Mapping[str, list[Tensor]] = defaultdict(list)
    rounded: dict[int, Tensor] = {}
    inputs = each(inputs, watched)
    read = [x for x in tensors_of(inputs) if x.requires_grad]
    tokens = {x.shape for x in tensors_of(inputs)} if not read else set()
    seen = {**subject.blocks, **subject.layers}
    with paths(subject.module) as path, calls(seen) as noted:
        embed = {F.embedding: _embedding(read, tokens)} if tokens else {}
        signs = {function: _compared(function, path, alike) for function in NONLINEARITIES}
        noting = {function: _noted(function, rounded) for function in FAKE_QUANTIZERS}
        with probe(subject.module, {**signs, **embed, **noting, **routes}) as network:
            output = network(inputs)
    return Pass(network, read, output, noted, alike, rounded)


def watched(x: Tensor) -> Tensor:
    """A copy of a tensor, by which gradients can be taken if it is floating-point."""
    return usable(x).detach().requires_grad_(x.is_floating_point())


def usable(x: Tensor) -> Tensor:
    """The tensor for autograd, which refuses tensors made in inference mode."""
    with differentiable():
        return x.clone()


def slopes_of(
    value: Tensor, wanted: list[Tensor], given: Tensor | None = None, *, again: bool = False
) -> list[Tensor]:
    """The gradients of the sum of a tensor, zeros where it does not depend on what is wanted.

    Args:
        value: Any tensor of a pass.
        wanted: The tensors by which gradients are taken.
        given: The weights of the sum, with the shape of `value`; all 1 where left out.
        again: Whether the gradients are to be differentiated once more.
    """
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in wanted]
    weights = torch.ones_like(value) if given is None else given
    keep = {"retain_graph": True, "create_graph": again}
    with differentiable():
        return [*torch.autograd.grad(value, wanted, weights, **keep, materialize_grads=True)]


@contextmanager
def differentiable() -> Iterator[None]:
    """A context in which gradients can be taken, whatever the caller has set."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def _embedding(read: list[Tensor], tokens: set[torch.Size]) -> Function:
    """`F.embedding`, which starts the gradients of samples at the embeddings of tokens."""

    def embedded(indices: Tensor, weight: Tensor, *args: Any, **options: Any) -> Tensor:
        output = F.embedding(indices, weight, *args, **options)
        if indices.shape in tokens:
            mark = torch.zeros_like(output, requires_grad=True)
            read.append(mark)
            return output + mark
        return output

    return embedded


def _compared(
    function: Function, path: Callable[[], str], alike: Mapping[str, list[Tensor]]
) -> Function:
    def compared(x: Tensor, *args: Any, **options: Any) -> Tensor:
        alike[path()].append(agreement(x.detach()))
        return function(x, *args, **options)

    return compared


def _noted(function: Function, rounded: dict[int, Tensor]) -> Function:
    def noted(x: Tensor, *args: Any, **options: Any) -> Tensor:
        output = function(x, *args, **options)
        rounded[id(x)] = output
        return output

    return noted


def agreement(x: Tensor) -> Tensor:
    """The number of units of `x` `(n, ...)` with equal sign, for each pair of samples: `(n, n)`."""
    signs = (x.flatten(1) > 0).to(torch.float32) * 2 - 1
    # The product is the number of equal units minus that of different units; the number of all
    # units is their sum. So one matrix product is enough. Float32 is exact here up to 2**24 units.
    return ((signs @ signs.T).double().cpu() + signs.shape[1]) / 2
