"""The contract of a zero-cost proxy."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies import score
from predictors.proxies.probe import Batch
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject


def fake_quantized(x: Tensor) -> Tensor:
    """The values rounded to multiples of 0.05, with 8 bits."""
    return torch.fake_quantize_per_tensor_affine(x, 0.05, 128, 0, 255)


def spelt_out(x: Tensor) -> Tensor:
    """The same as `fake_quantized`, written in the operations of an extracted subnet."""
    return torch.div(x, 0.05).round_().clamp_(-128.0, 127.0).mul_(0.05)


class Block(nn.Module):
    """A residual block with a quantized input, as in a subnet.

    Attributes:
        spelt_out: Whether the input is quantized by elementwise arithmetic, which has no gradient.
    """

    def __init__(self, channels: int, function: nn.Module, *, spelt_out: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.function = function
        self.spelt_out = spelt_out

    def forward(self, x: Tensor) -> Tensor:
        read = (spelt_out if self.spelt_out else fake_quantized)(x)
        return x + self.function(self.norm(self.conv(read)))


def network(function: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A small network with a dropout, and with statistics of norms as after some training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            Block(4, function(), spelt_out=False),
            Block(4, function(), spelt_out=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4, 3),
        )
        module(torch.randn(8, 1, 6, 6))
    return module


class Silent(nn.Module):
    """A network that computes its features and then gives zeros."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(self.inner(x))


def values_of(proxy: Proxy, module: nn.Module, batch: Batch) -> Mapping[str, Value]:
    """The values of a proxy for a classifier."""
    return proxy.score(Subject.of(module, batch, F.cross_entropy))


class ProxyContract:
    """The tests of a proxy, which a subclass gives as the fixture `proxy`."""

    @pytest.fixture
    def proxy(self) -> Proxy:
        raise NotImplementedError

    @pytest.fixture
    def batch(self) -> Batch:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(6, 1, 6, 6, generator=generator), torch.arange(6) % 3

    @pytest.mark.parametrize("function", [nn.ReLU, nn.ReLU6, nn.Hardswish, nn.GELU])
    def test_gives_a_finite_value_for_every_documented_name(self, proxy, batch, function) -> None:
        values = values_of(proxy, network(function), batch)
        assert set(values) == set(proxy.larger_is_better)
        totals = [value.total for value in values.values()]
        assert all(type(total) is float and math.isfinite(total) for total in totals)

    def test_values_of_layers_have_the_paths_of_modules(self, proxy, batch) -> None:
        module = network()
        for value in values_of(proxy, module, batch).values():
            assert set(value.layers) <= {path for path, _ in module.named_modules()}
            assert all(type(one) is float for one in value.layers.values())

    def test_is_a_function_of_its_arguments(self, proxy, batch) -> None:
        first = values_of(proxy, network(), batch)
        module = network()
        values_of(proxy, module, batch)
        assert values_of(proxy, module, batch) == first

    def test_mode_and_frozen_weights_make_no_difference(self, proxy, batch) -> None:
        frozen = network().eval().requires_grad_(requires_grad=False)
        with torch.inference_mode():
            inference = (batch[0].clone(), batch[1].clone())
            values = values_of(proxy, frozen, inference)
        assert values == values_of(proxy, network(), batch)

    def test_draws_no_random_numbers_of_others(self, proxy, batch) -> None:
        module = network()
        torch_before = torch.get_rng_state()
        numpy_before = repr(np.random.get_state())  # noqa: NPY002  # the global one is what is watched
        values_of(proxy, module, batch)
        assert torch.equal(torch.get_rng_state(), torch_before)
        assert repr(np.random.get_state()) == numpy_before  # noqa: NPY002

    def test_few_samples_dead_units_and_constant_outputs_give_no_nan(self, proxy, batch) -> None:
        dead, constant = network(), network()
        with torch.no_grad():
            for part in dead.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.bias.fill_(-1e6)
            for parameter in constant.parameters():
                parameter.zero_()
        few = [(network(), 1), (network(), 2), (dead, 3), (constant, 3), (Silent(network()), 3)]
        for module, count in few:
            samples = batch[0][:count], batch[1][:count]
            found = score(module, samples, F.cross_entropy, proxies=[proxy])
            assert list(found) == list(proxy.larger_is_better)
            every = [*found.values(), *(x for each in found.layers.values() for x in each.values())]
            assert not any(math.isnan(value) for value in every)

    def test_leaves_the_module_as_it_was(self, proxy, batch) -> None:
        module = _peculiar()
        before = _state(module)
        inputs = batch[0].clone()
        values_of(proxy, module, batch)
        _assert_same(_state(module), before)
        assert torch.equal(batch[0], inputs)
        assert batch[0].requires_grad is False

    def test_leaves_the_module_as_it_was_when_something_raises(self, proxy, batch) -> None:
        module = _peculiar()
        before = _state(module)

        def raising_loss(out: Tensor, target: Tensor) -> Tensor:
            raise RuntimeError("loss")

        # A proxy may call neither the loss nor the module.
        with contextlib.suppress(RuntimeError):
            proxy.score(Subject.of(module, batch, raising_loss))
        _assert_same(_state(module), before)
        with contextlib.suppress(RuntimeError):
            values_of(proxy, module, (torch.zeros(6, 5, 6, 6), batch[1]))
        _assert_same(_state(module), before)


def _peculiar() -> nn.Module:
    """A module in a mixed state: modes, gradients and hooks differ between its parts."""
    module = network()
    F.cross_entropy(module(torch.ones(2, 1, 6, 6)), torch.tensor([0, 1])).backward()
    module.train()
    module[1].eval()
    block = module[2]
    assert isinstance(block, Block)
    block.norm.weight.requires_grad = False
    block.conv.weight.grad = None
    module[1].register_forward_hook(lambda *_: None)
    return module


def _state(module: nn.Module) -> dict[str, object]:
    return {
        "tensors": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "identities": [id(tensor) for tensor in (*module.parameters(), *module.buffers())],
        "gradients": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "training": [part.training for part in module.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()],
        "grad_enabled": torch.is_grad_enabled(),
    }


def _assert_same(now: object, before: object) -> None:
    if isinstance(before, dict):
        assert isinstance(now, dict)
        assert list(now) == list(before)
        now, before = list(now.values()), list(before.values())
    if isinstance(before, list):
        assert isinstance(now, list)
        assert len(now) == len(before)
        for one, other in zip(now, before, strict=True):
            _assert_same(one, other)
    elif isinstance(before, Tensor):
        assert isinstance(now, Tensor)
        assert now.dtype == before.dtype
        assert torch.equal(now, before)
    else:
        assert now == before
