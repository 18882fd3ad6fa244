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
    naming. First and last layers, and the inputs of additions and poolings, stand at `edge_bits`.
    """

    weight_bits: Sequence[int | None] = (2, 4, 8)
    activation_bits: Sequence[int | None] = (4, 8)
    weight_granularities: Sequence[Granularity] = (PerChannel(),)
    activation_granularities: Sequence[Granularity] = (PerTensor(),)
    weight_symmetries: Sequence[bool] = (True,)
    activation_symmetries: Sequence[bool] = (False,)
    fineness: Fineness = "block"
    edge_bits: int | None = 8

    def layer(self, stage: str, block: str, layer: str) -> LayerPrecision:
        """The precision of one inner layer, decided at this policy's fineness."""
        scope = {"network": "", "stage": f"{stage}.", "block": f"{stage}.{block}."}
        prefix = scope.get(self.fineness, f"{stage}.{block}.{layer}.")
        return LayerPrecision(
            weight=precision(
                f"{prefix}weight",
                self.weight_bits,
                granularities=self.weight_granularities,
                symmetries=self.weight_symmetries,
            ),
            activation=precision(
                f"{prefix}activation",
                self.activation_bits,
                granularities=self.activation_granularities,
                symmetries=self.activation_symmetries,
            ),
        )

    def fixed(self) -> Policy:
        """The policy under which every layer stands at the precision of first and last ones."""
        bits = (self.edge_bits,)
        return Policy(weight_bits=bits, activation_bits=bits, edge_bits=self.edge_bits)

    def edge(self) -> LayerPrecision:
        """The fixed precision of first and last layers."""
        return LayerPrecision(
            weight=self._fixed(PerChannel(), symmetric=True), activation=self.tensor()
        )

    def tensor(self) -> Quant | None:
        """The fixed precision of what additions, gates and poolings read."""
        return self._fixed(PerTensor(), symmetric=False)

    def _fixed(self, granularity: Granularity, *, symmetric: bool) -> Quant | None:
        return None if self.edge_bits is None else Quant(self.edge_bits, granularity, symmetric)


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
