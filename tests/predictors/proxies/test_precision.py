"""Proxies of precision against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.parts import Parts
from nas.testing.proxy import fake_quantized, network, spelt_out
from predictors.proxies import score
from predictors.proxies.compositions import Composition
from tests.predictors.proxies.test_proxies import Quantized, mlp, mlp_batch
from tests.predictors.proxies.test_theory import linear, total_of

NAMES = ("sqnr", "output-distance", "empirical-fisher", "hessian")
PRECISION = [Parts("proxy")[name] for name in NAMES]
DRAWN = torch.Generator().manual_seed(5)
X, T = torch.randn(8, 3, generator=DRAWN), torch.randn(8, 1, generator=DRAWN)
WEIGHT, ERROR = torch.randn(1, 3, generator=DRAWN), torch.tensor([[0.01, -0.02, 0.03]])


def squared(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (out - target).square().sum(1).mean()


def test_errors_of_weights_cost_what_the_closed_forms_say() -> None:
    found = score(
        linear(WEIGHT), (X, T), squared, proxies=PRECISION, quantized=linear(WEIGHT + ERROR)
    )
    out = X @ WEIGHT.T
    moved = X @ ERROR.T
    assert found["sqnr"] == pytest.approx(
        10 * math.log10(float(out.square().sum() / moved.square().sum())), rel=1e-4
    )
    share = float(moved.square().sum() / out.square().sum())
    assert found["output_distance"] == pytest.approx(share, rel=1e-3)
    each = 2 * (out - T) * X  # the gradient of each sample
    assert found["empirical_fisher"] == pytest.approx(
        float((each.square().mean(0) * ERROR.square()).sum()) / 2, rel=1e-3
    )


def test_the_hessian_of_a_quadratic_loss_is_exact_without_correlated_inputs() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # random signs then give the trace without error
    weight, error = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.1, 0.2]])
    pair = linear(weight), linear(weight + error)
    found = score(pair[0], (x, x[:, :1]), squared, proxies=PRECISION, quantized=pair[1])
    trace = float(2 * x.square().mean(0).sum())
    assert found["hessian"] == pytest.approx(trace / 2 * float(error.square().sum()) / 2, rel=1e-4)
    assert found.layers["hessian"] == {"0": found["hessian"]}


class FakeQuantized(nn.Module):
    """A linear layer whose weight and input are rounded in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(WEIGHT.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(fake_quantized(x), fake_quantized(self.weight))


def test_torchs_fake_quantizers_show_the_errors_of_weights() -> None:
    rounded = fake_quantized(WEIGHT)
    found = score(FakeQuantized(), (X, T), squared, proxies=PRECISION)
    expected = score(
        linear(WEIGHT), (X, T), squared, proxies=PRECISION[2:], quantized=linear(rounded)
    )
    assert {name: found[name] for name in expected} == pytest.approx(dict(expected), rel=1e-4)
    moved = fake_quantized(X) @ rounded.T - X @ WEIGHT.T
    ratio = float((X @ WEIGHT.T).square().sum() / moved.square().sum())
    assert found["sqnr"] == pytest.approx(10 * math.log10(ratio), rel=1e-3)


@pytest.mark.parametrize("quantizer", [fake_quantized, spelt_out])
def test_without_its_roundings_a_module_is_in_full_precision(quantizer) -> None:
    found = score(Quantized(quantizer), mlp_batch(), F.cross_entropy, proxies=PRECISION)
    plain = Quantized(lambda x: x)
    given = score(
        plain, mlp_batch(), F.cross_entropy, proxies=PRECISION, quantized=Quantized(quantizer)
    )
    assert dict(found) == pytest.approx(dict(given))
    assert 5 < found["sqnr"] < 60
    assert found["empirical_fisher"] == 0.0  # no weight is rounded


class Clipped(nn.Module):
    """A network with a clip of its own, which is no part of a quantizer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.clamp(x, -0.1, 0.1))


@pytest.mark.parametrize("module", [mlp(), Clipped()])
def test_a_network_in_full_precision_loses_nothing(module: nn.Module) -> None:
    found = score(module, mlp_batch(), F.cross_entropy, proxies=PRECISION)
    lost = {"output_distance": 0.0, "empirical_fisher": 0.0, "hessian": 0.0}
    assert found == {"sqnr": math.inf, **lost}


def test_the_distance_is_that_of_the_caller() -> None:
    found = score(
        linear(WEIGHT),
        (X, T),
        squared,
        proxies=PRECISION[1:2],
        quantized=linear(WEIGHT + ERROR),
        distance=F.l1_loss,
    )
    expected = float((X @ ERROR.T).abs().mean())
    assert found == {"output_distance": pytest.approx(expected, rel=1e-4)}


def test_layers_that_give_the_same_depend_wholly_and_those_apart_not_at_all() -> None:
    orthogonality = [Parts("proxy")["orthogonality"]]
    x = torch.eye(2)
    same = score(linear(torch.eye(2), torch.eye(2)), (x, x), total_of, proxies=orthogonality)
    assert same["orthogonality"] == pytest.approx(0.0)
    assert same.layers["orthogonality"] == pytest.approx({"0": -1.0, "1": -1.0})
    half = score(linear(torch.eye(2), [[1.0, 1.0]]), (x, x), total_of, proxies=orthogonality)
    # The inner products are the identity and all ones: 2 / (sqrt(2) * 2).
    assert half["orthogonality"] == pytest.approx(1 - math.sqrt(0.5))
    alone = score(linear(torch.eye(2)), (x, x), total_of, proxies=orthogonality)
    assert alone["orthogonality"] == 1.0


def test_a_composition_of_absolute_values_is_the_mean_saliency() -> None:
    proxy = Composition(("abs",), ("abs",), "multiply").proxy("mine")
    proxies = [proxy, Parts("proxy")["gradients"]]
    found = score(network(), (torch.randn(6, 1, 6, 6), torch.arange(6) % 3), F.cross_entropy,
                  proxies=proxies).layers  # fmt: skip
    sizes = {path: network().get_submodule(path).weight.numel() for path in found["snip"]}
    means = {path: value / sizes[path] for path, value in found["snip"].items()}
    assert found["mine"] == pytest.approx(means, rel=1e-4)


def test_a_composition_of_unknown_operations_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"no operation 'cube', 'times'.*abs, square.*add, sub"):
        Composition(("abs", "cube"), (), "times")
