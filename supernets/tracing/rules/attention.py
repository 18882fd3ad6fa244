"""Softmax, and attention as a call of its own."""

from __future__ import annotations

import torch

from search_spaces.ops import Add, MatMul, Softmax
from supernets.tracing.rules.elementwise import beside
from supernets.tracing.rules.products import product
from supernets.tracing.site import Site, rule
from supernets.tracing.values import Constant, Held, Value

# A place that a mask forbids: its exponential is zero, and sums of it stay finite.
_FORBIDDEN = -1e9


@rule("softmax", "_softmax")
def _(site: Site) -> Value:
    value = site["self"]
    if not isinstance(value, Held):
        return None
    axis = site.axis(value, site["dim"])
    if axis is None:
        return None
    order = [*range(len(site.sample(value)))]
    order[axis], order[-1] = order[-1], order[axis]
    address = site.build.permuted(site.call, value.address, order)
    address = site.add(Softmax(), address, main=True)
    return site.like(value, site.build.permuted(site.call, address, order))


@rule("scaled_dot_product_attention")
def _(site: Site) -> Value:
    query, key, value, mask = (site[name] for name in ("query", "key", "value", "attn_mask"))
    if site["enable_gqa"] or site["dropout_p"] or not _alike(query, key, value):
        return None
    if isinstance(mask, Held) and mask.dtype != torch.float32:
        return None
    scale = query.called[-1] ** -0.5 if site["scale"] is None else float(site["scale"])
    scores = _scores(site, query, key, scale)
    if scores is None:
        return None
    causal = bool(site["is_causal"])
    if causal and scores.called[-1] != scores.called[-2]:
        return None
    if mask is not None:
        scores = beside(site, Add(), scores, _added(mask))
        if scores is None:
            return None
    address = site.add(Softmax(causal), scores.address)
    weights = site.build.held(site.call, address, scores.layout, scores.called)
    return product(site, weights, value)


def _alike(*parts: object) -> bool:
    """Whether queries, keys and values depend on the inputs and hold the batch alike."""
    held = [part for part in parts if isinstance(part, Held)]
    return len(held) == len(parts) and len({part.layout for part in held}) == 1


def _added(mask: Held | Constant) -> Held | Constant:
    """A mask as numbers that are added to scores."""
    if isinstance(mask, Held) or mask.value.dtype != torch.bool:
        return mask
    added = torch.zeros(mask.value.shape).masked_fill(~mask.value.cpu(), _FORBIDDEN)
    return Constant(added, mask.name, layout=mask.layout)


def _scores(site: Site, query: Held, key: Held, scale: float) -> Held | None:
    """The products of all queries with all keys."""
    if (
        site.sample(query)[:-2] != site.sample(key)[:-2]
        or query.layout.axis >= len(query.called) - 2
    ):
        return None
    op = MatMul(transposed=True, scale=scale)
    address = site.add(op, query.address, key.address, word="scores")
    shape = (*query.called[:-1], key.called[-2])
    return site.build.held(site.call, address, query.layout, shape)
