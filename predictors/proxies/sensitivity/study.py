"""The subject of sensitivities: a float network, samples, and the precisions to try.

The network is run node by node, so that any weight and any input of a layer can be rounded, and
every tensor on the way can be looked at. Nothing is kept of one batch when the next one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from predictors.proxies.probe import Inputs, each, tensors_of
from predictors.proxies.rounding import rounded
from predictors.proxies.sensitivity.values import SensitivityCost
from search_spaces.quant import Quant

Distance = Callable[[Tensor, Tensor], Tensor]
Options = Sequence[Quant | None]


class Site(NamedTuple):
    """A tensor that is rounded: the weight of the layer at an address, or what the layer reads."""

    tensor: Literal["weight", "activation"]
    address: str


class Entry(NamedTuple):
    """One tensor in one precision, whose sensitivity is measured."""

    site: Site
    quant: Quant


@dataclass(frozen=True, eq=False)
class Study:
    """A float network whose precisions are to be chosen.

    Attributes:
        module: The network in full precision, in evaluation mode. It is left unchanged.
        batches: Inputs without labels: each one tensor, or tensors by argument of the module.
        distance: The distance of outputs from those in full precision, a scalar; the mean over the
            samples. Curvatures need a distance that can be differentiated twice.
        nodes: Address -> the name of the node of the module's graph that computes the layer.
        weights: Address -> the name of the parameter that is the weight of the layer.
        precisions: What to try, for each tensor.
        seed: The seed of all random directions.
    """

    module: fx.GraphModule
    batches: Sequence[Inputs]
    distance: Distance
    nodes: Mapping[str, str]
    weights: Mapping[str, str]
    precisions: Mapping[Site, Options]
    seed: int = 0
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.batches:
            raise ValueError("sensitivities need at least one batch of inputs, given none")
        if any(part.training for part in self.module.modules()):
            raise ValueError("the network is in training mode; call its method `eval` before")
        names = {node.name for node in self.module.graph.nodes}
        parameters = dict(self.module.named_parameters())
        for site in self.precisions:
            if self.nodes.get(site.address) not in names:
                raise ValueError(
                    f"the layer {site.address!r} is not a node of the network, which has "
                    f"{sorted(names)}; name its node in `nodes`"
                )
            if site.tensor == "weight" and self.weights.get(site.address) not in parameters:
                raise ValueError(
                    f"the weight of {site.address!r} is not a parameter of the network, which has "
                    f"{sorted(parameters)}; name its parameter in `weights`"
                )

    @cached_property
    def entries(self) -> list[Entry]:
        """Every tensor in every precision to try but full precision, in order."""
        return [
            Entry(site, quant)
            for site, quants in self.precisions.items()
            for quant in quants
            if quant is not None
        ]

    def weight(self, address: str) -> Tensor:
        """The weight of a layer in full precision."""
        return self.module.get_parameter(self.weights[address]).detach()

    def rounded_weight(self, entry: Entry) -> Tensor:
        """The weight of an entry's layer in the entry's precision."""
        found = rounded(self.weight(entry.site.address), entry.quant)
        return nn.Parameter(found, requires_grad=False)

    def run(self, inputs: Inputs, entries: Sequence[Entry] = ()) -> Tensor:
        """The outputs `(n, ...)` with the tensors of `entries` rounded."""
        weights = [e for e in entries if e.site.tensor == "weight"]
        reads = {self.nodes[e.site.address]: e.quant for e in entries if e not in weights}
        changed = {self.weights[e.site.address]: self.rounded_weight(e) for e in weights}
        with torch.no_grad():
            return self.walk(inputs, tensors=changed, reads=reads)[0]

    def references(self) -> list[Tensor]:
        """The outputs of every batch in full precision; they are computed once."""
        if "references" not in self._known:
            self._known["references"] = [self.run(batch) for batch in self.batches]
        return self._known["references"]

    def walk(
        self,
        inputs: Inputs,
        *,
        tensors: Mapping[str, Tensor] | None = None,
        reads: Mapping[str, Quant] | None = None,
        marks: Container[str] = (),
        keep: bool = False,
    ) -> tuple[Tensor, Walk]:
        """The outputs, and the run that computed them.

        Args:
            inputs: A batch.
            tensors: Parameters that take the place of those of the same names.
            reads: The name of a node -> the precision to which its inputs are rounded.
            marks: The names of nodes by whose inputs gradients are taken.
            keep: Whether the run keeps what the layers of this study read and gave.
        """
        # Autograd refuses tensors made in inference mode.
        inputs = each(inputs, lambda x: x.clone() if x.is_inference() else x)
        named = {} if isinstance(inputs, Tensor) else inputs
        places = [str(n.target) for n in self.module.graph.nodes if n.op == "placeholder"]
        ordered = [named[place] for place in places] if named else tensors_of(inputs)
        kept = frozenset(self.nodes.values()) if keep else frozenset()
        walk = Walk(self.module, tensors or {}, reads or {}, marks=marks, kept=kept)
        return walk.run(*ordered), walk

    def generator(self, batch: int) -> torch.Generator:
        """The source of random directions for the batch of this number."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + batch)


def weight_names(module: nn.Module, layers: Mapping[str, str]) -> dict[str, str]:
    """Address -> the name of the only parameter with two or more dimensions inside a submodule.

    Args:
        module: The network.
        layers: Address -> the name of the submodule that holds the one weight of that layer.

    Raises:
        ValueError: If a submodule does not hold exactly one.
    """
    found: dict[str, str] = {}
    parameters = dict(module.named_parameters())
    for address, layer in layers.items():
        inside = [name for name in parameters if name.startswith(f"{layer}.")]
        weights = [name for name in inside if parameters[name].ndim >= 2]
        if len(weights) != 1:
            raise ValueError(
                f"submodule {layer!r} must hold one weight to be rounded, given {sorted(inside)}; "
                "name the submodule of a single layer"
            )
        found[address] = weights[0]
    return found


class Walk(fx.Interpreter):
    """A run of a network with some parameters replaced and the inputs of some nodes rounded.

    Attributes:
        read: The name of a node that is kept -> the arguments that it read.
        given: The name of a node that is kept -> its result.
        marked: The name of a marked node -> the tensors that it read, with gradients.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        tensors: Mapping[str, Tensor],
        reads: Mapping[str, Quant],
        *,
        marks: Container[str],
        kept: Container[str],
    ) -> None:
        super().__init__(module)
        self._tensors, self._reads, self._marks, self._kept = tensors, reads, marks, kept
        self._nodes = list(module.graph.nodes)
        self.read: dict[str, tuple[Any, Any]] = {}
        self.given: dict[str, Tensor] = {}
        self.marked: dict[str, list[Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """The result of a node."""
        result = super().run_node(n)
        if n.name in self._kept:
            self.given[n.name] = result
        return result

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        """What a node reads."""
        args, keywords = super().fetch_args_kwargs_from_env(n)
        if n.name in self._reads:
            args = on_inputs(args, lambda x: rounded(x, self._reads[n.name], channels=1))
        if n.name in self._marks:
            self.marked[n.name] = []
            args = on_inputs(args, lambda x: self._mark(n.name, x))
        if n.name in self._kept:
            self.read[n.name] = args, keywords
        return args, keywords

    def _mark(self, node: str, x: Tensor) -> Tensor:
        """The tensor as a value of its own, by which gradients are taken."""
        own = x.clone() if x.requires_grad else x.clone().requires_grad_()
        self.marked[node].append(own)
        return own

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a layer, with its replaced parameters."""
        inside = {
            name.removeprefix(f"{target}."): tensor
            for name, tensor in self._tensors.items()
            if name.startswith(f"{target}.")
        }
        if not inside:
            return super().call_module(target, args, kwargs)
        return functional_call(self.fetch_attr(target), inside, args, kwargs)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A parameter, or what replaces it."""
        found = self._tensors.get(target)
        return super().get_attr(target, args, kwargs) if found is None else found

    def again(
        self, node: str, *, weight: tuple[str, Tensor] | None = None, quant: Quant | None = None
    ) -> Tensor:
        """The result of one kept node once more, with another weight or with rounded inputs."""
        (found,) = (n for n in self._nodes if n.name == node)
        args, keywords = self.read[node]
        self._tensors = dict([weight] if weight else [])
        if weight is not None:
            # A weight that stands in the graph as a tensor of its own is among the arguments.
            held = self.module.get_parameter(weight[0])
            args = tree_map_only(Tensor, lambda x: weight[1] if x is held else x, args)
        if quant is not None:
            args = on_inputs(args, lambda x: rounded(x, quant, channels=1))
        return getattr(self, found.op)(found.target, args, keywords)


def on_inputs(args: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The arguments of a node with `function` applied to its activations.

    Parameters and whole numbers, such as tokens, stay. A concatenation reads a list of tensors.
    """

    def applied(x: Tensor) -> Tensor:
        plain = isinstance(x, nn.Parameter) or not x.is_floating_point()
        return x if plain else function(x)

    return tree_map_only(Tensor, applied, args)


Sensitivity = Callable[[Study, Sequence[Entry]], Iterator[tuple[Entry, float]]]
"""A kind of sensitivity: gives each entry with its sensitivity, at least 0, once each."""


def measured(
    study: Study,
    sensitivity: Sensitivity,
    *,
    known: Mapping[Entry, float] | None = None,
    told: Callable[[Entry, float], None] | None = None,
) -> SensitivityCost:
    """The sensitivity of every tensor to every precision, of which those `known` are not measured.

    Args:
        study: The network and the precisions.
        sensitivity: The kind of sensitivity.
        known: What an earlier, interrupted measurement has told.
        told: Called with each new entry as soon as it is known.

    Raises:
        ValueError: The kind left an entry out, or gave a value that is no sensitivity.
    """
    found = {entry: (known or {})[entry] for entry in study.entries if entry in (known or {})}
    left = [entry for entry in study.entries if entry not in found]
    for entry, value in sensitivity(study, left) if left else ():
        if not 0 <= value < float("inf"):
            raise ValueError(
                f"the sensitivity of {entry.site} to {entry.quant.name} is {value}; it must be a "
                "finite number of at least 0, so look for infinite or missing numbers in the "
                "network and its samples"
            )
        found[entry] = value
        if told is not None:
            told(entry, value)
    if lacking := [entry for entry in study.entries if entry not in found]:
        raise ValueError(
            f"the sensitivity of {lacking[0]} was not given, nor {len(lacking) - 1} more"
        )
    values: dict[str, dict[tuple[str, Quant | None], float]] = {"weight": {}, "activation": {}}
    for site, quants in study.precisions.items():
        for quant in quants:
            at = 0.0 if quant is None else found[Entry(site, quant)]
            values[site.tensor][site.address, quant] = at
    return SensitivityCost(values["weight"], values["activation"])
