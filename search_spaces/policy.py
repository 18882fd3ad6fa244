"""Quantization policies: which precisions layers choose from, and which layers choose together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypedDict

from search_spaces.graph import Graph
from search_spaces.ops import Op
from search_spaces.options import Granularities, Precision, Precisions
from search_spaces.quant import Granularity, PerChannel, PerTensor, Quant, bits_of, precision
from search_spaces.space import Genotype, SearchSpace

Fineness = Literal["network", "stage", "block", "layer"]


class LayerPrecision(TypedDict):
    """The two precision fields of a weighted operator."""

    weight: Quant | None
    activation: Quant | None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The precisions that the layers of a space choose from.

    An option is a bit-width of integers, a number format such as `Float(4, 3)`, or `None` for full
    precision. The symmetries are those of bit-widths; a number format has its own.

    Two layers whose choices have the same name share the decision, so `fineness` only decides how
    choices are named. Edges are the first and last layers and the inputs of additions, gates and
    poolings. If edges have several options, then all first and last layers share one decision, and
    all additions, gates and poolings share another.

    Attributes:
        weight_bits: Options of the precision of a weight.
        activation_bits: Options of the precision of a layer's input.
        weight_granularities: Options of which elements of a weight share a scale.
        activation_granularities: The same for a layer's input.
        weight_symmetries: Options of whether a weight is quantized symmetrically.
        activation_symmetries: The same for a layer's input.
        fineness: The layers that share one decision: those of the network, of a stage, of a block,
            or each layer on its own.
        edge_bits: Options of the precision of edges, or the only one. Symmetries, and the
            granularities of inputs, are those of all other layers.
        edge_granularities: The same as `weight_granularities` for the weights of edges, which may
            have too few input channels for groups; those of all other layers if None.
    """

    weight_bits: Precisions = (2, 4, 8)
    activation_bits: Precisions = (4, 8)
    weight_granularities: Granularities = (PerChannel(),)
    activation_granularities: Granularities = (PerTensor(),)
    weight_symmetries: tuple[bool, ...] = (True,)
    activation_symmetries: tuple[bool, ...] = (False,)
    fineness: Fineness = "block"
    edge_bits: Precision | Precisions = 8
    edge_granularities: Granularities | None = None

    def layer(self, stage: str, block: str, layer: str) -> LayerPrecision:
        """The precision of one inner layer.

        Args:
            stage: The name of its stage, such as `stage1`.
            block: The name of its block within the stage, such as `block0`.
            layer: The name of the layer within the block, such as `conv1`.
        """
        scope = {"network": "", "stage": f"{stage}.", "block": f"{stage}.{block}."}
        prefix = scope.get(self.fineness, f"{stage}.{block}.{layer}.")
        return LayerPrecision(
            weight=self._weight(f"{prefix}weight", self.weight_bits, self.weight_granularities),
            activation=self._activation(f"{prefix}activation", self.activation_bits),
        )

    def edges(self) -> Policy:
        """The policy in which inner layers too have the precision of first and last layers."""
        return _Edges(**{field.name: getattr(self, field.name) for field in fields(self)})

    def edge(self) -> LayerPrecision:
        """The precision of first and last layers."""
        given = self.edge_granularities
        granularities = self.weight_granularities if given is None else given
        return LayerPrecision(
            weight=self._weight("edge.weight", self._edge_bits, granularities),
            activation=self._activation("edge.activation", self._edge_bits),
        )

    def tensor(self) -> Quant | None:
        """The precision of the inputs of additions, gates and poolings."""
        return self._activation("tensor.activation", self._edge_bits)

    @property
    def _edge_bits(self) -> Precisions:
        return self.edge_bits if isinstance(self.edge_bits, Sequence) else (self.edge_bits,)

    def _weight(
        self, name: str, bits: Precisions, granularities: Sequence[Granularity]
    ) -> Quant | None:
        return precision(
            name,
            bits,
            granularities=granularities,
            symmetries=self.weight_symmetries,
        )

    def _activation(self, name: str, bits: Precisions) -> Quant | None:
        return precision(
            name,
            bits,
            granularities=self.activation_granularities,
            symmetries=self.activation_symmetries,
        )


class _Edges(Policy):
    """A policy whose inner layers have the precision of first and last layers."""

    def layer(self, stage: str, block: str, layer: str) -> LayerPrecision:
        return self.edge()


def full_precision(graph: Graph) -> Graph:
    """The resolved `graph` with every weight and every activation in full precision."""
    return Graph.from_nodes(
        {address: replace(node, op=_plain(node.op)) for address, node in graph.nodes.items()}
    )


def _plain(op: Op) -> Op:
    held = {field.name for field in fields(op)} & {"weight", "activation"}
    return replace(op, **dict.fromkeys(held))


def uniform(space: SearchSpace, bits: int, genotype: Sequence[int]) -> Genotype | None:
    """The genotype with every precision choice at `bits` and all other picks of `genotype`.

    None where a precision choice does not offer these bits.
    """
    picks = list(genotype)
    for position, made in enumerate(space.choices):
        widths = [bits_of(option) for option in made.options if isinstance(option, Quant | None)]
        if len(widths) < len(made.options):
            continue
        if bits not in widths:
            return None
        picks[position] = widths.index(bits)
    return space.canonical(picks)
