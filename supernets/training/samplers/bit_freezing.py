"""Bit freezing: layers whose weights stay between two codes stop to draw their lowest bits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from search_spaces.choice import choices_in, variants
from search_spaces.quant import Quant
from search_spaces.space import as_genotypes
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.samplers.precisions import bit_choices, drawn
from supernets.training.samplers.sampler import Sampler, Sandwich

_FIRST, _EVERY = 5, 2  # epochs of the quantized phase
_LATE, _EVERY_LATE = 0.72, 15
_OUTER = 0.25  # of a rounding bin
_ROUNDING = 1e-4  # of a bin, by the arithmetic of float32
_KEPT = 2  # options of a choice
# The share of the choices that lose a bit, at the start; it falls to 0 by a cosine. The paper
# anneals a share too, but we do not know its value.
_SHARE = 0.25


class BitFreezing(Sampler):
    """The sandwich rule with the bit-freeze scheduler of RFQuant (Tang et al. 2024).

    Every two epochs of the quantized phase after the fifth, and every 15 after 72 % of the phase,
    the most turbulent choices of the precision of weights lose their smallest bit-width: it is not
    drawn again, nor is it part of the smallest subnet. Turbulence is the share of the weights in
    the outer quarter of their rounding bins at the smallest bit-width, divided by this number of
    bits; a choice that several layers share has their mean. A choice keeps two options.

    A search may still pick a bit-width that was dropped. Subnets with dropped bits have been
    trained for fewer steps, so their errors are higher than a longer training would leave them.

    Raises:
        ValueError: If a weight can have another format than integers, which have equal bins.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._options = _weight_options(context)
        self._lowest = np.zeros(len(self.space.choices), dtype=np.int64)

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        space, count = self.space, self.context.settings.random_subnets
        if not moment.quantized:
            rows = drawn(space, rng, count, quantized=False)
        else:
            self._freeze(moment)
            shape = (count, len(space.counts))
            rows = space.canonical_array(rng.integers(self._lowest, space.counts, size=shape))
        smallest = space.canonical(self._lowest.tolist())
        return Sandwich(space.largest, tuple(as_genotypes(rows)), smallest)

    def turbulence(self) -> dict[int, float]:
        """The turbulence of every choice that can lose a bit-width, by the choice's column."""
        found: dict[int, float] = {}
        for column, layers in self._options.items():
            lowest = int(self._lowest[column])
            if self.space.counts[column] - lowest > _KEPT:
                held = [(a, options[lowest]) for a, options in layers.items()]
                found[column] = float(np.mean([self._outer(a, q) / q.bits for a, q in held]))
        return found

    def _freeze(self, moment: Moment) -> None:
        """Drop bit-widths if an epoch begins after which some are dropped."""
        plan = moment.plan
        epoch, rest = divmod(moment.step - plan.float_steps, plan.epoch)
        every = _EVERY_LATE if moment.phase_share > _LATE else _EVERY
        if rest or epoch < _FIRST or (epoch - _FIRST) % every:
            return
        share = _SHARE * (1 + math.cos(math.pi * moment.phase_share)) / 2
        turbulence = self.turbulence()
        count = math.ceil(share * len(turbulence))
        for column in sorted(turbulence, key=turbulence.__getitem__, reverse=True)[:count]:
            self._lowest[column] += 1

    def _outer(self, address: str, quant: Quant) -> float:
        """The share of a weight in the outer quarter of its rounding bins, 0 to 1."""
        node = self.context.supernet.node(address)
        assert node.weight is not None
        weight = node.tensors["weight"].detach()
        encoded = node.weight.encode(weight, quant, tuple(weight.shape))
        shape, over = quant.granularity.split(tuple(weight.shape))
        error = np.abs(weight.numpy(force=True) - encoded.values()).reshape(shape)
        bins = error / encoded.scale.reshape(over)
        inside = bins <= 0.5 + _ROUNDING  # others are beyond the last code
        return float((inside & (bins > (1 - _OUTER) / 2)).mean())

    def tensors(self) -> dict[str, Tensor]:
        return {"lowest": torch.from_numpy(self._lowest)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._lowest = tensors["lowest"].numpy().copy()


def _weight_options(context: TrainingContext) -> dict[int, dict[str, tuple[Quant, ...]]]:
    """The options of every choice of the precision of weights.

    Returns:
        Column of the choice -> address of the layer -> the options with a format, resolved.
    """
    space, found = context.supernet.space, dict[int, dict[str, tuple[Quant, ...]]]()
    columns = bit_choices(space)
    for address, node in space.graph.nodes.items():
        for made in choices_in(node.op.weight):
            if space.column[made.name] in columns:
                options = tuple(next(variants(one)) for one in made.options if one is not None)
                for option in options:
                    _ = option.integers
                found.setdefault(space.column[made.name], {})[address] = options
    return found
