import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.parts import Parts
from nas.testing.proxy import ProxyContract, fake_quantized, network, spelt_out
from predictors.proxies import scores
from predictors.proxies.counts import COUNTS, counts, space_counts
from predictors.proxies.gradients import GRADIENTS, gradients
from predictors.proxies.jacobian import JACOB_COV, jacob_cov
from predictors.proxies.naswot import NASWOT, naswot
from predictors.proxies.proxy import Proxy
from predictors.proxies.synflow import SYNFLOW, synflow
from search_spaces.costs import SpaceKernels, bitops, total
from search_spaces.ops import Input
from search_spaces.residual import residual

PROXIES = [*Parts("proxy").values()]

torch.set_num_threads(1)


class TestCounts(ProxyContract):
    @pytest.fixture
    def proxy(self):
        return COUNTS


class TestGradients(ProxyContract):
    @pytest.fixture
    def proxy(self):
        return GRADIENTS


class TestSynflow(ProxyContract):
    @pytest.fixture
    def proxy(self):
        return SYNFLOW


class TestNaswot(ProxyContract):
    @pytest.fixture
    def proxy(self):
        return NASWOT


class TestJacobCov(ProxyContract):
    @pytest.fixture
    def proxy(self):
        return JACOB_COV


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


def test_gradient_proxies_equal_autograd_on_the_weights_alone() -> None:
    module, (images, labels) = mlp(bias=True), mlp_batch()
    F.cross_entropy(module(images), labels).backward()
    weights = [module[1].weight, module[3].weight]
    values = gradients(module, (images, labels), F.cross_entropy)
    assert values["grad_norm"] == pytest.approx(sum(float(w.grad.norm()) for w in weights))
    snip = sum(float((w.detach() * w.grad).abs().sum()) for w in weights)
    assert values["snip"] == pytest.approx(snip)


def test_gradient_proxies_normalize_by_the_batch_as_in_training() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    batch = mlp_batch()
    value = gradients(module.eval(), batch, F.cross_entropy)["grad_norm"]
    F.cross_entropy(module.train()(batch[0]), batch[1]).backward()
    assert value == pytest.approx(float(module[0].weight.grad.norm()), abs=1e-6)


class Quantized(nn.Module):
    def __init__(self, quantizer) -> None:
        super().__init__()
        self.first, self.rest = mlp()[:2], mlp()[2:]
        self.quantizer = quantizer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.quantizer(self.first(self.quantizer(3 * x))))


@pytest.mark.parametrize("score", [gradients, jacob_cov, synflow])
def test_gradients_pass_straight_through_every_spelling_of_rounding(score) -> None:
    batch = mlp_batch()
    expected = score(Quantized(fake_quantized), batch, F.cross_entropy)
    values = score(Quantized(spelt_out), batch, F.cross_entropy)
    assert values == pytest.approx(expected, rel=1e-3)
    assert all(abs(value) > 0.1 for value in values.values())


def test_a_module_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="weights of two or more dimensions, given Flatten"):
        gradients(nn.Flatten(), mlp_batch(), F.cross_entropy)


def test_synflow_of_two_linear_layers_has_a_closed_form() -> None:
    module = mlp()
    first, second = (module[i].weight.detach().double().abs() for i in (1, 3))
    # The flow is conserved: each of the two layers holds all of it.
    expected = 2 * float((second @ first).sum())
    value = synflow(module, mlp_batch(), F.cross_entropy)["synflow"]
    assert value == pytest.approx(math.log(expected), rel=1e-12)


def test_synflow_is_independent_of_data_norms_and_quantizers() -> None:
    module, (images, labels) = network(), (torch.randn(4, 1, 6, 6), torch.arange(4) % 3)
    value = synflow(module, (images, labels), F.cross_entropy)
    with torch.no_grad():
        module[1].norm.weight.fill_(7.0)
        module[1].norm.running_var.fill_(7.0)
    assert synflow(module, (100 * images, labels), F.cross_entropy) == value


@pytest.mark.parametrize(
    "between",
    [
        *(nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.RMSNorm(5)),
        *(nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.Tanh()),
    ],
)
def test_synflow_sees_the_weights_past_norms_and_bounded_functions(between: nn.Module) -> None:
    module, batch = mlp(), mlp_batch()
    with_norm = nn.Sequential(*module[:2], between, *module[2:])
    found = synflow(with_norm, batch, F.cross_entropy)
    assert found == synflow(module, batch, F.cross_entropy)


def test_naswot_reads_what_a_tanh_reads() -> None:
    module, batch = mlp(), mlp_batch()
    curved = nn.Sequential(*module[:2], nn.Tanh(), *module[3:])
    assert naswot(curved, batch, F.cross_entropy) == naswot(module, batch, F.cross_entropy)


def test_synflow_of_a_deep_wide_network_does_not_overflow() -> None:
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(60)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    parts = [part for layer in layers for part in (layer, nn.BatchNorm2d(64), nn.ReLU6())]
    module = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    value = synflow(module, (torch.zeros(2, 64, 4, 4), torch.zeros(2)), F.cross_entropy)["synflow"]
    assert 60 * math.log(64 * 4) < value < 60 * math.log(64 * 9) + math.log(64 * 60)


def test_naswot_of_two_images_by_hand() -> None:
    module = nn.Sequential(nn.Flatten(), nn.ReLU())
    images = torch.tensor([[1.0, 2.0, -1.0, -1.0], [1.0, -2.0, 3.0, -1.0]]).reshape(2, 1, 2, 2)
    # Codes 1100 and 1010: four units agree with themselves, two between the images.
    value = naswot(module, (images, torch.tensor([0, 1])), F.cross_entropy)["naswot"]
    assert value == pytest.approx(math.log(4 * 4 - 2 * 2))


def test_naswot_sums_over_nonlinearities_however_they_are_called() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.hardswish(torch.relu(x.flatten(1)) - 1.5)

    images = torch.tensor([[1.0, 2.0, -1.0, -1.0], [1.0, -2.0, 3.0, -1.0]]).reshape(2, 1, 2, 2)
    # The second layer fires for 0100 and 0010: again two of four agree.
    value = naswot(Twice(), (images, torch.tensor([0, 1])), F.cross_entropy)["naswot"]
    assert value == pytest.approx(math.log(8 * 8 - 4 * 4))


def test_naswot_of_two_equal_images_is_minus_infinity() -> None:
    same = torch.ones(2, 1, 2, 2)
    assert naswot(mlp(), (same, torch.tensor([0, 1])), F.cross_entropy)["naswot"] == -math.inf


def test_jacobian_covariance_equals_a_direct_computation() -> None:
    module, (images, labels) = mlp(), mlp_batch(4)
    rows = []
    for image in images:
        x = image.unsqueeze(0).clone().requires_grad_()
        module(x).sum().backward()
        rows.append(x.grad.flatten().double().numpy())
    values = np.linalg.eigvalsh(np.corrcoef(np.array(rows)))
    values = np.maximum(values, 0.0) + 1e-5
    expected = -np.sum(np.log(values) + 1.0 / values)
    given = jacob_cov(module, (images, labels), F.cross_entropy)["jacob_cov"]
    assert given == pytest.approx(expected, rel=1e-4)


def test_counts_of_a_known_network() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Flatten(),
        nn.Linear(8 * 16, 10),
    )
    batch = (torch.zeros(4, 3, 8, 8), torch.zeros(4))
    values = counts(module, batch, F.cross_entropy)
    assert values["params"] == 8 * 27 + 16 + (8 * 25 + 8) + (1280 + 10)
    assert values["macs"] == 8 * 27 * 16 + 8 * 25 * 16 + 1280


def test_macs_equal_those_of_torch_for_matrix_products_too() -> None:
    class Products(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.conv1d(x.flatten(2), torch.ones(4, 2, 3))
            return (x @ x.transpose(1, 2)).bmm(x)

    images = torch.ones(1, 2, 4, 4)
    with FlopCounterMode(display=False) as flops:
        Products()(images)
    batch = (images, torch.zeros(1))
    assert counts(Products(), batch, F.cross_entropy)["macs"] == flops.get_total_flops() / 2


def test_counts_of_a_space_are_those_of_its_graphs() -> None:
    space = residual(
        inputs=(Input("image", (1, 8, 8)),), output=(10,), widths=((4,), (4, 8)), depths=((1, 2),)
    )
    genotypes = space.sample_array(np.random.default_rng(0), 5)
    values = space_counts(SpaceKernels(space))
    assert set(values) == {"params", "macs", "bitops", "model_bytes"}
    expected = [total(bitops, space.decode(row)) for row in genotypes.tolist()]
    np.testing.assert_allclose(values["bitops"](genotypes), expected)


def test_all_scores_have_distinct_names_and_no_nan() -> None:
    names = [name for proxy in PROXIES for name in proxy.larger_is_better]
    assert len(set(names)) == len(names)
    # An image that the network does not see has no gradient, so no correlation.
    dead = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3))
    nn.init.constant_(dead[1].bias, -1e6)
    values = scores(dead, mlp_batch(), F.cross_entropy, proxies=PROXIES)
    assert list(values) == names
    assert values["jacob_cov"] == -math.inf
    assert not any(math.isnan(value) for value in values.values())


def test_a_score_that_should_be_small_turns_from_nan_to_infinity() -> None:
    undefined = Proxy(lambda *_: {"sharpness": math.nan}, {"sharpness": False})
    assert scores(mlp(), mlp_batch(), F.cross_entropy, proxies=[undefined]) == {
        "sharpness": math.inf
    }


def test_a_score_that_a_network_does_not_have_is_the_worst() -> None:
    tokens = torch.tensor([[0, 1, 2], [2, 1, 0]])
    reader = nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(12, 2))
    values = scores(reader, (tokens, torch.tensor([0, 1])), F.cross_entropy, proxies=[JACOB_COV])
    assert values == {"jacob_cov": -math.inf}
