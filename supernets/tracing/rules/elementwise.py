"""Nonlinearities, sums and products number by number."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.ops import (
    Activation,
    Add,
    Affine,
    Clamp,
    LeakyReLU,
    Multiply,
    Nonlinearity,
    Op,
    Opaque,
    PositionalEmbedding,
    Read,
    Scale,
)
from supernets.tracing.builder import Builder
from supernets.tracing.layout import Layout
from supernets.tracing.site import Site, refused, rule
from supernets.tracing.values import Constant, Held, Value


def pointwise(site: Site, op: Op) -> Value:
    """The result of an operator on each number of the only tensor that the call reads."""
    value = next(part for part in site.given.values() if isinstance(part, Held))
    return site.like(value, site.add(op, value.address, main=True))


_FUNCTIONS: dict[str, Nonlinearity] = {
    "relu": "relu",
    "relu6": "relu6",
    "hardswish": "hardswish",
    "hardsigmoid": "hardsigmoid",
    "silu": "silu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "selu": "selu",
    "mish": "mish",
}


@rule(*_FUNCTIONS)
def _(site: Site) -> Value:
    return pointwise(site, Activation(_FUNCTIONS[site.call.name]))


@rule("gelu")
def _(site: Site) -> Value:
    return pointwise(site, Activation("gelu_tanh" if site["approximate"] == "tanh" else "gelu"))


@rule("elu", "celu")
def _(site: Site) -> Value:
    factors = {site.given.get(name, 1) for name in ("alpha", "scale", "input_scale")}
    return pointwise(site, Activation("elu")) if factors == {1} else None


@rule("softplus")
def _(site: Site) -> Value:
    usual = (site["beta"], site["threshold"]) == (1, 20)
    return pointwise(site, Activation("softplus")) if usual else None


@rule("leaky_relu")
def _(site: Site) -> Value:
    slope = float(site["negative_slope"])
    return pointwise(site, LeakyReLU(slope)) if 0 <= slope < 1 else None


@rule("hardtanh", "clamp", "clamp_min", "clamp_max")
def _(site: Site) -> Value:
    low = site.given.get("min_val", site.given.get("min"))
    high = site.given.get("max_val", site.given.get("max"))
    if any(not isinstance(end, int | float | None) for end in (low, high)) or low is high is None:
        return None
    if (low, high) == (0, 6):
        return pointwise(site, Activation("relu6"))
    least, most = (None if end is None or math.isinf(end) else end for end in (low, high))
    return pointwise(site, Clamp(least, most))


@rule("neg")
def _(site: Site) -> Value:
    return pointwise(site, Scale(-1.0))


@rule("square")
def square(site: Site) -> Value:
    """The square of each number, as a product of a tensor with itself."""
    value = site["self"]
    return site.like(value, site.add(Multiply(), value.address, value.address))


@rule("pow")
def _(site: Site) -> Value:
    if not isinstance(site["self"], Held) or site["exponent"] != 2:
        return None
    return square(site)


@rule("add", "sub", "rsub")
def _(site: Site) -> Value:
    first, second, weight = site["self"], site["other"], site.given.get("alpha", 1)
    if site.call.name == "rsub":
        first, second = second, first
    if site.call.name != "add":
        weight = -weight
    if not isinstance(second, Held | Constant):  # a number
        return pointwise(site, Scale(1.0, float(weight * second)))
    if weight != 1:
        second = scaled(site, second, float(weight))
    if isinstance(first, int | float):
        assert isinstance(second, Held)
        return site.like(second, site.add(Scale(1.0, float(first)), second.address))
    return beside(site, Add(), first, second)


@rule("mul")
def _(site: Site) -> Value:
    first, second = site["self"], site["other"]
    if not isinstance(second, Held | Constant):
        return pointwise(site, Scale(float(second)))
    if isinstance(first, Held) and isinstance(second, Held) and first.layout == second.layout:
        for gate, gated in ((first, second), (second, first)):
            op = site.build.op(gate.address)
            sigmoid = isinstance(op, Activation) and op.function == "sigmoid"
            if sigmoid and site.build.source(gate.address) == gated.address:
                return site.like(gated, site.add(Activation("silu"), gated.address, main=True))
    return beside(site, Multiply(), first, second)


@rule("div")
def _(site: Site) -> Value:
    first, second = site["self"], site["other"]
    if site.given.get("rounding_mode") is not None or not isinstance(first, Held):
        return None
    if isinstance(second, int | float):
        return pointwise(site, Scale(1.0 / second))
    if isinstance(second, Constant) and second.value.is_floating_point():
        return beside(site, Multiply(), first, replace(second, value=1 / second.value, name=None))
    return None


def scaled(site: Site, value: Held | Constant, factor: float) -> Held | Constant:
    """A tensor times a number."""
    if isinstance(value, Constant):
        return replace(value, value=value.value * factor, name=None)
    return replace(value, address=site.add(Scale(factor), value.address))


def beside(site: Site, op: Add | Multiply, first: object, second: object) -> Held | None:
    """The sum or the product of two tensors, at least one of which depends on the inputs."""
    if isinstance(first, Constant):
        first, second = second, first
    if not isinstance(first, Held):
        return None
    if isinstance(second, Constant):
        return _with_constant(site, op, first, second)
    return _with_held(site, op, first, second) if isinstance(second, Held) else None


def _with_held(site: Site, op: Op, first: Held, second: Held) -> Held | None:
    rank = max(len(first.called), len(second.called))
    layouts, reads = [], []
    for value in (first, second):
        ahead = rank - len(value.called)
        layouts.append(replace(value.layout, axis=value.layout.axis + ahead))
        shape = (*(1,) * ahead, *site.sample(value))
        reads.append(site.build.reshaped(site.call, value.address, shape))
    if layouts[0] != layouts[1]:
        return None
    called = torch.broadcast_shapes(first.called, second.called)
    plain = [_unrepeated(site, address) for address in reads]
    if torch.broadcast_shapes(*(site.build.shapes[a] for a in plain)) == layouts[0].sample(called):
        reads = plain
    address = site.add(op, *reads)
    return site.build.held(site.call, address, layouts[0], called)


def _unrepeated(site: Site, address: str) -> str:
    """The node before a repetition along an axis, which sums and products do themselves."""
    op = site.build.op(address)
    if not isinstance(op, Opaque) or op.target != "aten.expand.default":
        return address
    source = site.build.source(address)
    plain = op.gives == Read(0) == op.arguments[0]
    return source if plain and len(site.build.shapes[source]) == len(op.shape) else address


def _with_constant(site: Site, op: Add | Multiply, value: Held, constant: Constant) -> Held | None:
    if not constant.value.is_floating_point():
        return None
    found, shape = for_samples(site, constant, value), site.sample(value)
    if found is None:
        return None
    called = torch.broadcast_shapes(value.called, _called(found, value.layout, value.called))
    along = [axis for axis, length in enumerate(found.shape) if length > 1]
    number, keeps = found.reshape(-1)[0], called == value.called
    if keeps and not constant.trained and bool((found == number).all()):
        times = isinstance(op, Multiply)
        made = Scale(float(number)) if times else Scale(1.0, float(number))
        address = site.add(made, value.address)
    elif keeps and len(along) == 1:
        address = _affine(site, op, value, found, along[0])
    elif keeps and isinstance(op, Add) and len(shape) == 2 and along == [0, 1]:
        word, tensors = Builder.word(constant), {"positions": found}
        address = site.add(PositionalEmbedding(), value.address, word=word, tensors=tensors)
    else:
        other = site.build.learned(site.call, constant, found, value.address)
        address = site.add(op, value.address, other)
    return site.build.held(site.call, address, value.layout, called)


def _affine(site: Site, op: Op, value: Held, numbers: Tensor, axis: int) -> str:
    """An affine operator with `numbers` as its factors or as its shifts."""
    shape = site.sample(value)
    flat = numbers.reshape(-1)
    same = {"scale": torch.ones(len(flat)), "shift": torch.zeros(len(flat))}
    tensors = same | {"scale" if isinstance(op, Multiply) else "shift": flat}
    last = axis == len(shape) - 1
    made = Affine(-1 if last and axis else axis)
    return site.add(made, value.address, main=True, tensors=tensors)


def _called(numbers: Tensor, layout: Layout, called: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of `numbers` for each sample in a call with this layout, with 1 for the batch."""
    axes = layout.axes(len(called))
    return tuple(
        1 if axis == layout.axis else math.prod(numbers.shape[at] for at in held)
        for axis, held in enumerate(axes)
    )


def for_samples(site: Site, constant: Constant, value: Held) -> Tensor | None:
    """A constant as it meets each sample of `value`: with as many axes as a sample has.

    Raises:
        TraceError: If the constant is not the same for every sample.
    """
    rank, layout = len(value.called), value.layout
    if constant.value.dim() > rank:
        return None
    numbers = constant.value.detach().cpu()
    numbers = numbers.reshape((1,) * (rank - numbers.dim()) + tuple(numbers.shape))
    length, axis = numbers.shape[layout.axis], layout.axis
    ahead, behind = numbers.shape[:axis], numbers.shape[axis + 1 :]
    inner = [n for n in (layout.before, layout.behind) if n > 1]
    if length == 1:
        return numbers.reshape(*ahead, *(1 for _ in inner), *behind)
    if length != value.called[axis]:
        return None
    split = numbers.reshape(*ahead, layout.before, -1, layout.behind, *behind)
    first = split.narrow(axis + 1, 0, 1)
    # Products of equal rows may differ in their last bits.
    if not torch.allclose(first.expand_as(split), split, rtol=1e-5, atol=1e-6, equal_nan=True):
        raise refused(site, "reads a tensor of the model that differs from sample to sample")
    return first.reshape(*ahead, *inner, *behind)
