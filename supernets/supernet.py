"""The supernet: the weights of the largest network of a space, shared by all its networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor, nn

from search_spaces.choice import variants
from search_spaces.graph import Graph
from search_spaces.ops import Op, Parameter
from search_spaces.quant import Quant
from search_spaces.space import Genotype, SearchSpace
from supernets.assemble import Step, steps_of
from supernets.elastic import compute
from supernets.inputs import Inputs, inputs_of
from supernets.largest import largest_parameters
from supernets.quantizers import LearnedSteps, Quantizer
from supernets.weights import require_weights

_SMALL = 0.02

# A function of a node's address, the position of an input, and the input before quantization.
Observer = Callable[[str, int, Tensor], None]


@dataclass(frozen=True)
class Subnet:
    """A subnet: its resolved graph and its nodes in execution order, without the inputs."""

    graph: Graph
    steps: tuple[Step, ...]

    def fed(self, inputs: Inputs | Tensor) -> dict[str, Tensor]:
        """The tensor of every input by address, for a checked batch of inputs."""
        named = inputs_of(self.graph, inputs)
        return {address: named[op.name] for address, op in self.graph.inputs.items()}


@lru_cache(maxsize=1024)
def subnet_of(space: SearchSpace, genotype: Genotype) -> Subnet:
    """The subnet of `genotype`, cached."""
    graph = space.decode(genotype)
    return Subnet(graph, tuple(step for step in steps_of(graph) if step.reads))


class SharedNode(nn.Module):
    """The state that subnets share at a node: the largest parameters, and quantizers."""

    def __init__(
        self,
        op: Op,
        parameters: Mapping[str, Parameter],
        generator: torch.Generator,
        quantizer: type[Quantizer],
    ) -> None:
        super().__init__()
        self.described = parameters
        self.tensors = nn.ParameterDict(
            {name: _initial(parameter, generator) for name, parameter in parameters.items()}
        )
        weights, activations = [*_quants(op.weight)], [*_quants(op.activation)]
        for quant in activations:
            if not quant.granularity.single:
                raise ValueError(
                    f"{type(op).__name__} quantizes its input {quant.granularity.name}, which no "
                    "runtime runs for convolutions and linear layers; give activations PerTensor()"
                )
        self.weight = quantizer(weights, parameters["weight"]) if weights else None
        self.inputs = nn.ModuleList(
            quantizer(activations) for _ in range(op.arity * bool(activations))
        )

    def subnet(self, step: Step, *, quantize: bool = True) -> dict[str, Tensor]:
        """The parameters of the node in the subnet of `step`, with the weight fake-quantized."""
        tensors = step.sliced(self.parameters_by_name())
        if quantize and step.op.weight is not None and self.weight is not None:
            tensors["weight"] = self.weight(tensors["weight"], step.op.weight)
        return tensors

    def compute(self, step: Step, read: Sequence[Tensor], *, quantize: bool = True) -> Tensor:
        """The output of the node in the subnet of `step` for the inputs `read`."""
        if quantize and step.op.activation is not None:
            quant = step.op.activation
            read = [q(value, quant) for q, value in zip(self.inputs, read, strict=True)]
        return compute(step.op, self.subnet(step, quantize=quantize), *read)

    def parameters_by_name(self) -> dict[str, Tensor]:
        """The largest parameters of the node, by name."""
        return {name: self.tensors[name] for name in self.tensors}

    def input_quantizer(self, position: int) -> Quantizer:
        """The quantizer of the input at `position`."""
        found = self.inputs[position]
        assert isinstance(found, Quantizer)
        return found


@cache
def _key(address: str) -> str:
    """The name of a node's module in the supernet, and so in checkpoints.

    Torch forbids dots and the names of a dictionary's own attributes, such as `keys`.
    """
    key = address.replace(".", "/")
    return f"{key}/" if hasattr(nn.ModuleDict(), key) else key


def parameter_key(address: str, name: str) -> str:
    """The name, in `state_dict` and so in checkpoints, of a parameter of the node at `address`."""
    return f"nodes.{_key(address)}.tensors.{name}"


def _quants(precision: Quant | None) -> Iterator[Quant]:
    return (form for form in variants(precision) if form is not None)


def _initial(parameter: Parameter, generator: torch.Generator) -> nn.Parameter:
    """The initial values of a parameter; `fan_in` is Kaiming's normal (He et al. 2015, eq. 10)."""
    shape = parameter.shape
    match parameter.start:
        case "fan_in":
            fan_in = math.prod(parameter.along("in", "window"))
            return nn.Parameter(torch.randn(shape, generator=generator) * math.sqrt(2.0 / fan_in))
        case "small":
            return nn.Parameter(torch.randn(shape, generator=generator) * _SMALL)
        case "ones":
            return nn.Parameter(torch.ones(shape))
        case "zeros":
            return nn.Parameter(torch.zeros(shape))


class Supernet(nn.Module):
    """All networks of a space on shared weights; an argument of `forward` picks the network to run.

    All quantizer steps are one until `calibrate.initialise_steps` sets them from data.

    Args:
        space: The search space; the parameters have the largest shapes of the space.
        seed: The seed of the initial weights; torch's global generator is not used.
        quantizer: The quantizer of all weights and inputs.
    """

    def __init__(
        self, space: SearchSpace, *, seed: int, quantizer: type[Quantizer] = LearnedSteps
    ) -> None:
        super().__init__()
        self.space, self.quantizer = space, quantizer
        generator = torch.Generator().manual_seed(seed)
        parameters = largest_parameters(space)
        self.nodes = nn.ModuleDict(
            {
                _key(address): SharedNode(node.op, parameters[address], generator, quantizer)
                for address, node in space.graph.nodes.items()
            }
        )

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        tensors: Mapping[str, Tensor],
        *,
        quantizer: type[Quantizer] = LearnedSteps,
    ) -> Supernet:
        """The supernet whose largest parameters are copies of `tensors`.

        Nodes with the very same tensor share one parameter, as a module that is called twice.

        Args:
            space: The space, such as that of a traced network.
            tensors: The parameters by `ADDRESS.NAME` in their largest shapes. Statistics of norms,
                `ADDRESS.mean` and `ADDRESS.variance`, are left out, as a supernet has none.
            quantizer: The quantizer of all weights and inputs.

        Raises:
            WeightsError: If a tensor is missing, unknown, of another shape, or not finite.
        """
        supernet = cls(space, seed=0, quantizer=quantizer)
        norms = {address for address, node in space.graph.nodes.items() if node.op.folds}
        statistics = {f"{address}.{name}" for address in norms for name in ("mean", "variance")}
        weights = {name: tensor for name, tensor in tensors.items() if name not in statistics}
        set_weights(supernet, _factored(supernet, weights))
        first: dict[int, nn.Parameter] = {}
        for name, tensor in weights.items():
            address, _, part = name.rpartition(".")
            own = supernet.node(address).tensors
            own[part] = first.setdefault(id(tensor), own[part])
        return supernet

    def node(self, address: str) -> SharedNode:
        """The parameters and quantizers that subnets share at `address`."""
        shared = self.nodes[_key(address)]
        assert isinstance(shared, SharedNode)
        return shared

    def forward(
        self, inputs: Inputs | Tensor, genotype: Sequence[int], *, quantize: bool = True
    ) -> Tensor:
        """The output `(batch, ...)` of a subnet for a batch of inputs.

        Batch norm uses the statistics of the batch, in training mode and in evaluation mode alike.
        Use `extract` to evaluate a subnet.

        Args:
            inputs: The tensors by the names of the inputs; one tensor for a space with one input.
            genotype: The subnet to run.
            quantize: Whether to quantize as the genotype says; False is full precision everywhere.
        """
        return self.run(inputs, genotype, quantize=quantize)

    def run(
        self,
        inputs: Inputs | Tensor,
        genotype: Sequence[int],
        *,
        quantize: bool = True,
        observe: Observer | None = None,
    ) -> Tensor:
        """`forward` with a call of `observe` for every input that has a quantizer."""
        current = subnet_of(self.space, tuple(genotype))
        values = current.fed(inputs)
        for step in current.steps:
            shared = self.node(step.address)
            read = [values[address] for address in step.reads]
            if observe is not None:
                for slot in range(len(shared.inputs)):
                    observe(step.address, slot, read[slot])
            values[step.address] = shared.compute(step, read, quantize=quantize)
        return values[current.graph.output]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters by kind.

        Weight decay is meant for `weights` only. The gradients of `weight_steps` and of
        `input_steps`, the steps of quantizers, differ in size from each other and from those of
        weights. All other parameters, such as those of norms and biases, are `others`.
        """
        kinds = ("weights", "others", "weight_steps", "input_steps")
        groups: dict[str, list[nn.Parameter]] = {kind: [] for kind in kinds}
        met: set[nn.Parameter] = set()  # several nodes may share one
        for node in self.nodes.values():
            assert isinstance(node, SharedNode)
            for name, parameter in node.tensors.items():
                if parameter not in met:
                    groups["weights" if name == "weight" else "others"].append(parameter)
                    met.add(parameter)
            groups["input_steps"] += node.inputs.parameters()
            groups["weight_steps"] += node.weight.parameters() if node.weight else ()
        return groups


def weights_of(supernet: Supernet) -> dict[str, Tensor]:
    """The largest parameters of `supernet`, without quantizer steps, by `ADDRESS.NAME`.

    `ADDRESS` is the address of a node, such as `stage0.block1.conv1`, and `NAME` the name of one of
    the node's parameters, such as `weight`. The tensors are those of the supernet, not copies.
    """
    return {
        f"{address}.{name}": tensor
        for address in supernet.space.graph.nodes
        for name, tensor in supernet.node(address).parameters_by_name().items()
    }


def _factored(supernet: Supernet, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with products, such as heads times features, described by their factors."""
    found = dict(weights)
    for name, own in weights_of(supernet).items():
        tensor = weights.get(name)
        if tensor is not None and 0 < tensor.dim() < own.dim():
            address, _, part = name.rpartition(".")
            shape = supernet.node(address).described[part].factored(tuple(tensor.shape))
            found[name] = tensor.view(shape) if math.prod(shape) == tensor.numel() else tensor
    return found


def set_weights(supernet: Supernet, weights: Mapping[str, Tensor]) -> None:
    """Set the largest parameters of `supernet`, which keeps its quantizer steps.

    Args:
        supernet: The supernet; changed only if all tensors fit.
        weights: The tensors by the names of `weights_of`, in the largest shapes of the space.

    Raises:
        WeightsError: As `require_weights` does.
    """
    require_weights(supernet.space, weights)
    with torch.no_grad():
        for name, tensor in weights_of(supernet).items():
            tensor.copy_(weights[name])
