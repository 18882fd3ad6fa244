"""How fine a quantization policy is, and which precisions it chooses from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypedDict

from search_spaces.graph import Graph
from search_spaces.ops import Op
from search_spaces.quant import Granularity, PerChannel, PerTensor, Quant, bits_of, precision
from search_spaces.space import Genotype, SearchSpace

Fineness = Literal["network", "stage", "block", "layer"]


class LayerPrecision(TypedDict):
    """The two precision fields of a weighted operator."""

    weight: Quant | None
    activation: Quant | None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The precisions that a space lets its layers choose from; `None` bits are full precision.

    Two layers whose choice has the same name share the decision, so `fineness` is only a matter of
    naming. First and last layers, and the inputs of additions and poolings, stand at `edge_bits`,
    with the granularities and symmetries of all others. Where there are several, all first and last
    layers share one decision, and all additions and poolings another one.
    """

    weight_bits: Sequence[int | None] = (2, 4, 8)
    activation_bits: Sequence[int | None] = (4, 8)
    weight_granularities: Sequence[Granularity] = (PerChannel(),)
    activation_granularities: Sequence[Granularity] = (PerTensor(),)
    weight_symmetries: Sequence[bool] = (True,)
    activation_symmetries: Sequence[bool] = (False,)
    fineness: Fineness = "block"
    edge_bits: int | Sequence[int | None] | None = 8

    def layer(self, stage: str, block: str, layer: str) -> LayerPrecision:
        """The precision of one inner layer, decided at this policy's fineness."""
        scope = {"network": "", "stage": f"{stage}.", "block": f"{stage}.{block}."}
        prefix = scope.get(self.fineness, f"{stage}.{block}.{layer}.")
        return LayerPrecision(
            weight=self._weight(f"{prefix}weight", self.weight_bits),
            activation=self._activation(f"{prefix}activation", self.activation_bits),
        )

    def edges(self) -> Policy:
        """The policy under which every layer has the precision of first and last ones."""
        return _Edges(**{field.name: getattr(self, field.name) for field in fields(self)})

    def edge(self) -> LayerPrecision:
        """The precision of first and last layers."""
        return LayerPrecision(
            weight=self._weight("edge.weight", self._edge_bits),
            activation=self._activation("edge.activation", self._edge_bits),
        )

    def tensor(self) -> Quant | None:
        """The precision of what additions, gates and poolings read."""
        return self._activation("tensor.activation", self._edge_bits)

    @property
    def _edge_bits(self) -> Sequence[int | None]:
        return self.edge_bits if isinstance(self.edge_bits, Sequence) else (self.edge_bits,)

    def _weight(self, name: str, bits: Sequence[int | None]) -> Quant | None:
        return precision(
            name,
            bits,
            granularities=self.weight_granularities,
            symmetries=self.weight_symmetries,
        )

    def _activation(self, name: str, bits: Sequence[int | None]) -> Quant | None:
        return precision(
            name,
            bits,
            granularities=self.activation_granularities,
            symmetries=self.activation_symmetries,
        )


class _Edges(Policy):
    """A policy whose inner layers are edges too."""

    def layer(self, stage: str, block: str, layer: str) -> LayerPrecision:
        return self.edge()


def full_precision(graph: Graph) -> Graph:
    """The resolved `graph` with every quantization taken out."""
    return Graph.from_nodes(
        {address: replace(node, op=_plain(node.op)) for address, node in graph.nodes.items()}
    )


def _plain(op: Op) -> Op:
    held = {field.name for field in fields(op)} & {"weight", "activation"}
    return replace(op, **dict.fromkeys(held))


def uniform(space: SearchSpace, bits: int, genotype: Sequence[int]) -> Genotype | None:
    """`genotype` with every precision choice at `bits`, or None where one does not offer it."""
    picks = list(genotype)
    for position, made in enumerate(space.choices):
        widths = [bits_of(option) for option in made.options if isinstance(option, Quant | None)]
        if len(widths) < len(made.options):
            continue
        if bits not in widths:
            return None
        picks[position] = widths.index(bits)
    return space.canonical(picks)
