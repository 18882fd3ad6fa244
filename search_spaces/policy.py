"""Quantization policies: which precisions layers choose from, and which layers choose together."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypedDict

from search_spaces.choice import choices_in, is_open, resolve
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


def uniform_policies(
    space: SearchSpace, genotype: Sequence[int] | None = None
) -> dict[str, Genotype]:
    """Every policy with one precision for all weights and one for all inputs, by its name.

    Precisions that fewer than half of the choices offer are left out. A choice that does not offer
    a precision, such as that of a first layer, picks the cheapest of its options with at least as
    many bits, or else its last option. Names are such as `int4-per-channel weights, uint8 inputs`.

    Args:
        space: The space.
        genotype: The network whose other picks stay as they are; the largest if left out.
    """
    start = space.largest if genotype is None else genotype
    fields_of = ("weight", "activation")
    offered = {part: _offered(space, part) for part in fields_of}
    found: dict[str, Genotype] = {}
    for weight in _common(offered["weight"]):
        for activation in _common(offered["activation"]):
            picks = dict(zip(space.column, start, strict=True))
            for part, quant in zip(fields_of, (weight, activation), strict=True):
                for options in offered[part]:
                    picks.update(options[_nearest(quant, options)])
            told = (f"{_told(weight, granularity=True)} weights", f"{_told(activation)} inputs")
            name = ", ".join(t for t, part in zip(told, fields_of, strict=True) if offered[part])
            found.setdefault(name, space.canonical([picks[one] for one in space.column]))
    names = {row: name for name, row in reversed(found.items())}
    return {name: row for row, name in reversed(names.items())}


def _offered(space: SearchSpace, part: str) -> list[dict[Quant | None, dict[str, int]]]:
    """For every open precision of weights or of inputs, its options and the picks of each."""
    held = (getattr(node.op, part) for node in space.graph.nodes.values())
    found: list[dict[Quant | None, dict[str, int]]] = []
    for placeholder in dict.fromkeys(quant for quant in held if is_open(quant)):
        named = {made.name: len(made.options) for made in choices_in(placeholder)}
        options: dict[Quant | None, dict[str, int]] = {}
        for indices in itertools.product(*map(range, named.values())):
            picks = dict(zip(named, indices, strict=True))
            options.setdefault(resolve(placeholder, picks), picks)
        found.append(options)
    return found


def _common(offered: Sequence[Iterable[Quant | None]]) -> list[Quant | None]:
    """The precisions that at least half of the choices offer; full precision without a choice."""
    counts = Counter(quant for options in offered for quant in options)
    return [q for q, count in counts.items() if 2 * count >= len(offered)] if offered else [None]


def _nearest(wanted: Quant | None, options: Iterable[Quant | None]) -> Quant | None:
    """The option that is wanted, or else the cheapest with as many bits, or else the last."""
    known = [*options]
    if wanted in known:
        return wanted
    enough = [quant for quant in known if bits_of(quant) >= bits_of(wanted)]
    return min(enough, key=bits_of) if enough else known[-1]


def _told(quant: Quant | None, *, granularity: bool = False) -> str:
    if quant is None:
        return "float"
    return f"{quant.name}-{quant.granularity.name}" if granularity else quant.name


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
