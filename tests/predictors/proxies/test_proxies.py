import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.parts import Parts
from nas.testing.proxy import ProxyContract, fake_quantized, network, spelt_out
from predictors.proxies import PROXIES, score
from predictors.proxies.counts import BITOPS, COUNTS, space_counts
from predictors.proxies.gradients import GRADIENTS
from predictors.proxies.grid import bits_of
from predictors.proxies.jacobian import JACOB_COV
from predictors.proxies.naswot import NASWOT
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.synflow import SYNFLOW
from search_spaces.costs import SpaceKernels, bitops, total
from search_spaces.ops import Input
from search_spaces.residual import residual

torch.set_num_threads(1)


class TestShippedProxies(ProxyContract):
    @pytest.fixture(params=Parts("proxy"))
    def proxy(self, request):
        return Parts("proxy")[request.param]


def test_the_proxies_of_one_call_are_those_with_a_name() -> None:
    assert list(PROXIES) == [*Parts("proxy").values()]


def test_the_page_about_proxies_lists_all_with_their_values_and_directions() -> None:
    page = (Path(__file__).parents[3] / "docs" / "proxies.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    listed = {
        row[0].strip("| `"): dict.fromkeys(re.findall(r"`(\w+)`", row[1]), row[2] == "larger")
        for row in rows
    }
    assert listed == {name: proxy.larger_is_better for name, proxy in Parts("proxy").items()}


def mlp(*, bias: bool = False) -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias)
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def mlp_batch(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(count, 1, 2, 2, generator=generator), torch.arange(count) % 3


def only(proxy: Proxy, module: nn.Module, batch=None) -> dict[str, float]:
    """The values of one proxy for a network."""
    return dict(score(module, batch or mlp_batch(), F.cross_entropy, proxies=[proxy]))


class Quantized(nn.Module):
    def __init__(self, quantizer) -> None:
        super().__init__()
        self.first, self.rest = mlp()[:2], mlp()[2:]
        self.quantizer = quantizer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.quantizer(self.first(self.quantizer(3 * x))))


@pytest.mark.parametrize("proxy", [GRADIENTS, JACOB_COV, SYNFLOW])
def test_gradients_pass_straight_through_every_spelling_of_rounding(proxy) -> None:
    values = only(proxy, Quantized(spelt_out))
    assert values == pytest.approx(only(proxy, Quantized(fake_quantized)), rel=1e-3)
    assert all(abs(value) > 0.1 for value in values.values())


def test_gradient_proxies_normalize_by_the_batch_as_in_training() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    batch = mlp_batch()
    value = only(GRADIENTS, module.eval(), batch)["grad_norm"]
    F.cross_entropy(module.train()(batch[0]), batch[1]).backward()
    assert value == pytest.approx(float(module[0].weight.grad.norm()), abs=1e-6)


def test_a_module_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="weights of two or more dimensions, given Flatten"):
        score(nn.Flatten(), mlp_batch(), F.cross_entropy)


def test_synflow_is_independent_of_data_norms_and_quantizers() -> None:
    module, (images, labels) = network(), (torch.randn(4, 1, 6, 6), torch.arange(4) % 3)
    value = only(SYNFLOW, module, (images, labels))
    with torch.no_grad():
        module[1].norm.weight.fill_(7.0)
        module[1].norm.running_var.fill_(7.0)
    assert only(SYNFLOW, module, (100 * images, labels)) == value


@pytest.mark.parametrize(
    "between",
    [
        *(nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.RMSNorm(5)),
        *(nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.Tanh()),
    ],
)
def test_synflow_sees_the_weights_past_norms_and_bounded_functions(between: nn.Module) -> None:
    module = mlp()
    with_norm = nn.Sequential(*module[:2], between, *module[2:])
    assert only(SYNFLOW, with_norm) == only(SYNFLOW, module)


def test_synflow_of_a_deep_wide_network_does_not_overflow() -> None:
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(60)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    parts = [part for layer in layers for part in (layer, nn.BatchNorm2d(64), nn.ReLU6())]
    module = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    value = only(SYNFLOW, module, (torch.zeros(2, 64, 4, 4), torch.zeros(2)))["synflow"]
    assert 60 * math.log(64 * 4) < value < 60 * math.log(64 * 9) + math.log(64 * 60)


def test_naswot_reads_what_a_tanh_reads() -> None:
    module = mlp()
    curved = nn.Sequential(*module[:2], nn.Tanh(), *module[3:])
    assert only(NASWOT, curved) == only(NASWOT, module)


def test_naswot_of_two_equal_images_is_minus_infinity() -> None:
    same = torch.ones(2, 1, 2, 2)
    assert only(NASWOT, mlp(), (same, torch.tensor([0, 1]))) == {"naswot": -math.inf}


def test_counts_of_a_known_network() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.ConvTranspose2d(8, 2, 3, stride=2),
        nn.Flatten(),
        nn.Linear(2 * 81, 10),
    )
    found = score(module, (torch.zeros(4, 3, 8, 8), torch.zeros(4)), F.mse_loss, proxies=[COUNTS])
    params = {"0": 8 * 27, "1": 16, "2": 8 * 25 + 8, "3": 16 * 9 + 2, "5": 1620 + 10}
    assert found.layers["params"] == params
    macs = {"0": 8 * 27 * 16, "2": 8 * 25 * 16, "3": 8 * 16 * 2 * 9, "5": 1620}
    assert found.layers["macs"] == macs
    assert found == {"params": sum(params.values()), "macs": sum(macs.values())}


class Products(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv1d(x.flatten(2), torch.ones(4, 2, 3))
        return (x @ x.transpose(1, 2)).bmm(x)


class Recurrent(nn.Module):
    """A classifier of sequences of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read, self.head = nn.Embedding(9, 6), nn.LSTM(6, 4), nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.read(self.embed(tokens).transpose(0, 1))[0][-1])


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Embedding(9, 8), body, nn.Flatten(), nn.Linear(40, 3))


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 9, (6, 5), generator=generator), torch.arange(6) % 3


@pytest.mark.parametrize("module", [Products(), transformer()])
def test_macs_equal_those_of_torch_for_matrix_products_too(module) -> None:
    inputs = torch.ones(1, 2, 4, 4) if isinstance(module, Products) else tokens()[0][:1]
    with FlopCounterMode(display=False) as flops:
        module.train()(inputs)
    found = only(COUNTS, module, (inputs, torch.zeros(1)))["macs"]
    assert found == flops.get_total_flops() / 2


def test_macs_of_a_fused_recurrent_layer_are_seen() -> None:
    per_token = 4 * 4 * (6 + 4)
    assert only(COUNTS, Recurrent(), tokens())["macs"] == 5 * per_token + 12


@pytest.mark.parametrize("module", [transformer(), Recurrent()])
def test_networks_that_read_tokens_have_every_proxy(module) -> None:
    found = score(module, tokens(), F.cross_entropy)
    lacking = {name for name, value in found.items() if not math.isfinite(value)}
    # Nothing is rounded, and a fused recurrent layer shows none of its nonlinearities.
    assert lacking == {"sqnr"} | ({"naswot"} if isinstance(module, Recurrent) else set())


def test_layers_of_a_transformer_are_its_blocks() -> None:
    found = score(transformer(), tokens(), F.cross_entropy).layers
    assert list(found["expressivity"]) == ["1.layers.0", "1.layers.1"]
    assert "1.layers.0.self_attn" in found["fisher"]


def test_counts_of_a_space_are_those_of_its_graphs() -> None:
    space = residual(
        inputs=(Input("image", (1, 8, 8)),), output=(10,), widths=((4,), (4, 8)), depths=((1, 2),)
    )
    genotypes = space.sample_array(np.random.default_rng(0), 5)
    values = space_counts(SpaceKernels(space))
    assert set(values) == {"params", "macs", "bitops", "model_bytes"}
    expected = [total(bitops, space.decode(row)) for row in genotypes.tolist()]
    np.testing.assert_allclose(values["bitops"](genotypes), expected)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_bits_are_seen_by_values_whatever_the_scales(bits: int, symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(bits)
    high = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
    low = -high if symmetric else 0
    whole = torch.randint(low, high + 1, (5, 200), generator=generator).float()
    whole[:, 0], whole[:, 1] = low, high
    scales = torch.rand(5, 1, generator=generator) + 0.01
    assert bits_of(whole * scales) == bits
    assert bits_of((whole * scales).reshape(1, -1)) == 32  # five scales, and one grid
    assert bits_of(torch.randn(5, 200, generator=generator)) == 32
    assert bits_of(torch.zeros(5, 200)) == 1


def test_bitops_of_a_quantized_network_count_the_bits_of_both_factors() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 8, bias=False))
    levels = torch.arange(32).reshape(8, 4) % 7 - 3.0
    with torch.no_grad():
        module[1].weight.copy_(0.1 * levels)
    images = (torch.arange(4).reshape(1, 1, 2, 2) + 252.0) / 255
    assert only(BITOPS, module, (images, torch.zeros(1))) == {"bitops": 32.0 * 3 * 8}
    images = images + 0.0123
    assert only(BITOPS, module, (images, torch.zeros(1))) == {"bitops": 32.0 * 3 * 32}


def test_all_scores_have_distinct_names_and_no_nan() -> None:
    names = [name for proxy in PROXIES for name in proxy.larger_is_better]
    assert len(set(names)) == len(names)
    # An image that the network does not see has no gradient, so no correlation.
    dead = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3))
    nn.init.constant_(dead[1].bias, -1e6)
    values = score(dead, mlp_batch(), F.cross_entropy)
    assert list(values) == names
    assert values["jacob_cov"] == -math.inf
    assert not any(math.isnan(value) for value in values.values())


def test_a_score_that_should_be_small_turns_from_nan_to_infinity() -> None:
    def undefined(_):
        return {"sharpness": Value(math.nan, {"1": math.nan, "3": 2.0})}

    found = score(mlp(), mlp_batch(), F.mse_loss, proxies=[Proxy(undefined, {"sharpness": False})])
    assert found == {"sharpness": math.inf}
    assert found.layers == {"sharpness": {"1": math.inf, "3": 2.0}}


def test_a_score_that_a_network_does_not_have_is_the_worst() -> None:
    batch = (torch.randn(4, 4), torch.randn(4, 3))  # targets that are no classes
    found = score(mlp(), batch, F.mse_loss)
    assert found["epe_nas"] == -math.inf
    assert found["progressivity"] < math.inf
    single = score(mlp(), (batch[0][:1], batch[1][:1]), F.mse_loss)
    lacking = {"jacob_cov", "epe_nas", "zico", "ntk_condition", "sqnr"}
    assert {name for name, value in single.items() if not math.isfinite(value)} == lacking


def test_what_other_proxies_have_asked_for_makes_no_difference() -> None:
    batch = torch.randn(6, 1, 6, 6), torch.arange(6) % 3
    alone = [score(network(), batch, F.cross_entropy, proxies=[proxy]) for proxy in PROXIES]
    for proxies in (PROXIES, PROXIES[::-1]):
        together = score(network(), batch, F.cross_entropy, proxies=proxies)
        for found in alone:
            assert {name: together[name] for name in found} == found
            assert {name: together.layers[name] for name in found} == found.layers


def test_a_shared_pass_is_made_once() -> None:
    calls = []

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return self.inner(x)

    named = ("gradients", "plain", "fisher", "grasp", "jacob-cov", "naswot", "meco", "az-nas")
    score(Counted(), mlp_batch(), F.cross_entropy, proxies=[Parts("proxy")[n] for n in named])
    assert calls == [6]
