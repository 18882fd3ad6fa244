"""Proxies against closed forms on tiny networks."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.parts import Parts
from predictors.proxies import Scores, score
from tests.predictors.proxies.test_proxies import mlp, mlp_batch


def scored(name: str, module: nn.Module, batch, loss=F.cross_entropy) -> Scores:
    return score(module, batch, loss, proxies=[Parts("proxy")[name]])


def linear(*weights) -> nn.Sequential:
    """A network of linear layers with these weights."""
    made = nn.Sequential()
    for weight in weights:
        matrix = torch.as_tensor(weight, dtype=torch.float32)
        made.append(nn.Linear(*reversed(matrix.shape), bias=False))
        made[-1].weight.data = matrix
    return made


def total_of(out: torch.Tensor, _target: torch.Tensor) -> torch.Tensor:
    return out.sum(1).mean()


def test_gradient_norm_and_snip_equal_autograd_on_the_weights_alone() -> None:
    module, (images, labels) = mlp(bias=True), mlp_batch()
    F.cross_entropy(module(images), labels).backward()
    weights = {"1": module[1].weight, "3": module[3].weight}
    slopes = {at: (w.detach(), w.grad) for at, w in weights.items()}
    found = scored("gradients", module, (images, labels))
    norms = {at: float(slope.norm()) for at, (_, slope) in slopes.items()}
    assert found.layers["grad_norm"] == pytest.approx(norms)
    shares = {at: float((weight * slope).abs().sum()) for at, (weight, slope) in slopes.items()}
    assert found.layers["snip"] == pytest.approx(shares)
    assert found["snip"] == pytest.approx(sum(found.layers["snip"].values()))


def test_plain_is_the_same_for_every_layer_of_a_homogeneous_network() -> None:
    module, (images, labels) = mlp(), mlp_batch()
    out = module(images).detach().requires_grad_()
    F.cross_entropy(out, labels).backward()
    euler = float((out.detach() * out.grad).sum())
    layers = scored("plain", module, (images, labels)).layers["plain"]
    assert layers == pytest.approx({"1": euler, "3": euler}, rel=1e-4)


def test_fisher_of_a_linear_layer_by_hand() -> None:
    x, slope = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([[1.0, 0.0], [2.0, -1.0]])
    given = x @ torch.tensor([[1.0, 1.0], [0.0, 2.0]]).T  # [[3, 4], [2, -2]]
    products = given * slope / 2  # of a mean over two samples
    expected = float(products.square().mean(0).sum()) / 2

    def loss(out: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return (out * slope).sum() / 2

    module = linear([[1.0, 1.0], [0.0, 2.0]])
    assert scored("fisher", module, (x, x), loss) == {"fisher": pytest.approx(expected)}


def test_fisher_sums_over_positions_before_it_squares() -> None:
    module = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(module.weight)
    image = torch.tensor([[1.0, -3.0], [2.0, 1.0]]).reshape(1, 1, 2, 2)
    found = scored("fisher", nn.Sequential(module, nn.Flatten()), (image, image), total_of)
    assert found == {"fisher": pytest.approx((1 - 3 + 2 + 1) ** 2 / 2)}


def test_grasp_of_a_quadratic_loss_has_a_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(5, 3, generator=generator), torch.randn(5, 1, generator=generator)
    weight = torch.randn(1, 3, generator=generator)
    hessian = x.T @ x * (2 / 5)
    gradient = hessian @ weight.T - x.T @ t * (2 / 5)
    expected = -float(weight @ hessian @ gradient)
    assert scored("grasp", linear(weight), (x, t), F.mse_loss)["grasp"] == pytest.approx(expected)


def test_grasp_equals_the_hessian_product_of_autograd() -> None:
    module, (images, labels) = mlp(), mlp_batch()
    first, second = (module[at].weight.detach() for at in (1, 3))

    def loss(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(F.relu(images.flatten(1) @ one.T) @ other.T, labels)

    gradient = torch.autograd.functional.jacobian(loss, (first, second))
    products = torch.autograd.functional.hvp(loss, (first, second), gradient)[1]
    layers = [-float((w * p).sum()) for w, p in zip((first, second), products, strict=True)]
    found = scored("grasp", module, (images, labels)).layers["grasp"]
    assert [*found.values()] == pytest.approx(layers, rel=1e-4)


def test_synflow_of_a_chain_is_the_product_of_its_weights_in_every_layer() -> None:
    module = linear([[-2.0]], [[0.5]], [[3.0]])
    found = scored("synflow", module, (torch.zeros(2, 1), torch.zeros(2)))
    assert found.layers["synflow"] == pytest.approx(dict.fromkeys("012", math.log(3.0)))
    assert found["synflow"] == pytest.approx(math.log(9.0))


def test_synflow_of_two_linear_layers_has_a_closed_form() -> None:
    module = mlp()
    first, second = (module[i].weight.detach().double().abs() for i in (1, 3))
    # The flow is conserved: each of the two layers holds all of it.
    expected = 2 * float((second @ first).sum())
    value = scored("synflow", module, mlp_batch())["synflow"]
    assert value == pytest.approx(math.log(expected), rel=1e-12)


def test_synflow_of_a_layer_that_nothing_flows_through_is_minus_infinity() -> None:
    module = linear([[1.0], [0.0]], [[0.0, 1.0]])
    assert scored("synflow", module, (torch.zeros(2, 1), torch.zeros(2)))["synflow"] == -math.inf


def test_jacobian_covariance_of_a_linear_network_has_a_closed_form() -> None:
    # All rows are equal, so one eigenvalue is the number of samples, and the others are 0.
    count, k = 4, 1e-5
    expected = -(math.log(count + k) + 1 / (count + k) + (count - 1) * (math.log(k) + 1 / k))
    batch = torch.randn(count, 3), torch.arange(count) % 2
    module = linear(torch.randn(2, 3))
    assert scored("jacob-cov", module, batch)["jacob_cov"] == pytest.approx(expected, rel=1e-4)


def rows_of(module: nn.Module, images: torch.Tensor) -> np.ndarray:
    x = images.clone().requires_grad_()
    module(x).sum().backward()
    return x.grad.flatten(1).double().numpy()


def test_jacobian_covariance_equals_a_direct_computation() -> None:
    module, (images, labels) = mlp(), mlp_batch(4)
    values = np.linalg.eigvalsh(np.corrcoef(rows_of(module, images)))
    values = np.maximum(values, 0.0) + 1e-5
    expected = -np.sum(np.log(values) + 1.0 / values)
    given = scored("jacob-cov", module, (images, labels))["jacob_cov"]
    assert given == pytest.approx(expected, rel=1e-4)


def test_epe_nas_sums_correlations_within_each_class() -> None:
    module, (images, labels) = mlp(), mlp_batch(6)
    correlation = np.corrcoef(rows_of(module, images))
    expected = 0.0
    for kind in range(3):
        inside = correlation[np.ix_(labels == kind, labels == kind)]
        expected += abs(np.log(np.abs(inside) + 1e-5).sum())
    value = scored("epe-nas", module, (images, labels))["epe_nas"]
    assert value == pytest.approx(expected, rel=1e-4)


def test_epe_nas_compares_classes_if_there_are_more_than_a_hundred() -> None:
    images, labels = torch.randn(204, 1, 2, 2), torch.arange(204) % 102
    module = mlp()
    module[2] = nn.Softplus()
    correlation = np.corrcoef(rows_of(module, images))
    sums = [
        np.log(np.abs(correlation[np.ix_(labels == kind, labels == kind)]) + 1e-5).sum()
        for kind in range(102)
    ]
    expected = np.abs(np.subtract.outer(sums, sums)).sum() / 2 / 102
    value = scored("epe-nas", module, (images, labels), total_of)["epe_nas"]
    assert value == pytest.approx(expected, rel=1e-3)


def test_naswot_of_two_images_by_hand() -> None:
    module = nn.Sequential(nn.Flatten(), nn.ReLU())
    images = torch.tensor([[1.0, 2.0, -1.0, -1.0], [1.0, -2.0, 3.0, -1.0]]).reshape(2, 1, 2, 2)
    # Codes 1100 and 1010: four units agree with themselves, two between the images.
    value = scored("naswot", module, (images, torch.tensor([0, 1])))["naswot"]
    assert value == pytest.approx(math.log(4 * 4 - 2 * 2))


def test_naswot_sums_over_nonlinearities_however_they_are_called() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.hardswish(self.relu(x.flatten(1)) - 1.5)

    images = torch.tensor([[1.0, 2.0, -1.0, -1.0], [1.0, -2.0, 3.0, -1.0]]).reshape(2, 1, 2, 2)
    # The second layer fires for 0100 and 0010: again two of four agree.
    found = scored("naswot", Twice(), (images, torch.tensor([0, 1])))
    assert found["naswot"] == pytest.approx(math.log(8 * 8 - 4 * 4))
    assert found.layers["naswot"] == pytest.approx(dict.fromkeys(("relu", ""), math.log(12)))


def test_zen_of_linear_layers_is_the_size_of_their_random_product() -> None:
    x = torch.zeros(3, 4)
    found = scored("zen", linear(torch.ones(5, 4), torch.ones(2, 5)), (x, x))
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(5, 4, generator=generator)
    torch.randn(2, 5, generator=generator)  # the last layer gives no feature
    torch.randn(3, 4, generator=generator)
    moved = 0.01 * torch.randn(3, 4, generator=generator) @ first.T
    assert found["zen"] == pytest.approx(math.log(float(moved.abs().mean())), rel=1e-4)


@pytest.mark.parametrize(
    "norm",
    [
        *(nn.BatchNorm2d(1), nn.GroupNorm(1, 1)),
        *(kind([1, 8, 8], elementwise_affine=False) for kind in (nn.LayerNorm, nn.RMSNorm)),
    ],
)
def test_zen_undoes_norms(norm: nn.Module) -> None:
    batch = torch.zeros(16, 1, 8, 8), torch.zeros(16)
    layers = nn.Conv2d(1, 1, 5, padding=2, bias=False), nn.Conv2d(1, 1, 1, bias=False)
    late = nn.BatchNorm2d(1)  # comes after the features
    plain = scored("zen", nn.Sequential(*layers, nn.Flatten()), batch)
    normed = scored("zen", nn.Sequential(layers[0], norm, layers[1], late, nn.Flatten()), batch)
    assert normed.layers["zen"].keys() == {"1"}
    exact = isinstance(norm, nn.BatchNorm2d)
    assert normed["zen"] == pytest.approx(plain["zen"], abs=1e-3 if exact else 0.1)


def test_zen_reads_what_the_last_block_gives() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2.0 * self.layer(x)

    x = torch.zeros(3, 4)
    two, head = (Twice(), Twice()), nn.Linear(4, 2, bias=False)
    layers = nn.Sequential(two[0].layer, two[1].layer, head)
    blocks = scored("zen", nn.Sequential(*two, head), (x, x))["zen"]
    assert blocks == pytest.approx(scored("zen", layers, (x, x))["zen"] + math.log(4), rel=1e-4)


def test_zico_of_a_linear_model_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0, 5.0], [3.0, 0.0, 5.0], [0.0, 6.0, 5.0], [2.0, 2.0, 5.0]])
    # Gradients of the halves: (2, 1, 5) and (1, 4, 5); the last one has no deviation.
    expected = math.log(1.5 / 0.5 + 2.5 / 1.5)
    module = linear([[0.3, -0.2, 1.0]])
    assert scored("zico", module, (x, x), total_of)["zico"] == pytest.approx(expected)


def test_the_tangent_kernel_of_a_linear_layer_is_that_of_its_inputs() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    values = np.linalg.eigvalsh((x @ x.T).numpy())
    found = scored("ntk", linear(torch.randn(3, 2)), (x, x), total_of)["ntk_condition"]
    assert found == pytest.approx(math.log(values[1] / values[0]), rel=1e-4)


def test_the_tangent_kernel_of_more_samples_than_weights_is_singular() -> None:
    x = torch.randn(4, 2)
    found = scored("ntk", linear(torch.randn(3, 2)), (x, x), total_of)["ntk_condition"]
    assert found == math.inf


def test_meco_of_two_channels_is_one_less_their_correlation() -> None:
    module = nn.Conv2d(2, 2, 1, bias=False)
    module.weight.data = torch.eye(2).reshape(2, 2, 1, 1)
    images = torch.randn(3, 2, 4, 4)
    correlation = np.corrcoef(images[0].flatten(1).numpy())[0, 1]
    found = scored("meco", nn.Sequential(module, nn.Flatten()), (images, images))["meco"]
    assert found == pytest.approx(1 - abs(correlation), rel=1e-4)


def test_expressivity_is_the_entropy_of_the_covariance() -> None:
    x = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]])  # variances 9 and 1
    found = scored("az-nas", linear(np.eye(2), np.diag([1.0, 3.0])), (x, x), total_of)
    first = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    layers = {"0": pytest.approx(first, rel=1e-5), "1": pytest.approx(math.log(2), rel=1e-5)}
    assert found.layers["expressivity"] == layers
    assert found["progressivity"] == pytest.approx(math.log(2) - first, rel=1e-4)


@pytest.mark.parametrize("weight", [1.0, -0.5, 3.0])
def test_trainability_of_one_channel_is_known(weight: float) -> None:
    x = torch.randn(6, 1)
    found = scored("az-nas", linear([[weight]], [[1.0]]), (x, x), total_of)
    expected = {"0": 2 - abs(weight) - 1 / abs(weight), "1": 0.0}
    assert found.layers["trainability"] == pytest.approx(expected, abs=1e-5)


def test_trainability_looks_at_neighbouring_positions_where_images_shrink() -> None:
    module = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 2, stride=2, bias=False), nn.Flatten())
    nn.init.constant_(module[1].weight, 0.5)
    images = torch.randn(2, 1, 8, 8)
    found = scored("az-nas", module, (images, images), total_of)
    # Every position reads four with a weight of 0.5: the mean gradient of these is 0.5.
    assert found.layers["trainability"] == pytest.approx({"1": 2 - 0.5 - 2}, abs=1e-5)
