"""Every shipped score of importance keeps the contract, and means what it says."""

from __future__ import annotations

import pytest
import torch

from nas.parts import Parts
from nas.testing.importance import ImportanceContract
from search_spaces.channel_groups import Coupling
from search_spaces.coupling import coupling
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Input, Linear
from supernets.post_training import Reference, float_network


class TestShipped(ImportanceContract):
    @pytest.fixture(params=sorted(Parts("importance")))
    def importance(self, request: pytest.FixtureRequest):
        return Parts("importance")[request.param]


WIDTH = 6


@pytest.fixture(scope="module")
def two_layers() -> tuple[Reference, Coupling]:
    """Two linear layers with a ReLU between them, and inputs that are not centred."""
    graph = Graph(Input("features", (4,)))
    graph.add("first", Linear(WIDTH))
    graph.add("relu", Activation("relu"))
    graph.add("second", Linear(3))
    drawn = torch.Generator().manual_seed(3)
    shapes = {"first.weight": (6, 4), "first.bias": (6,), "second.weight": (3, 6)}
    held = {name: torch.randn(shape, generator=drawn) for name, shape in shapes.items()}
    held["second.bias"] = torch.randn(3, generator=drawn)
    batches = [{"features": 1 + torch.randn(40, 4, generator=drawn)} for _ in range(2)]
    return Reference(float_network(graph, held), batches), coupling(graph)


def scores(name: str, two_layers: tuple[Reference, Coupling]) -> torch.Tensor:
    return Parts("importance")[name](*two_layers)["first.width"].double()


def hidden(reference: Reference) -> tuple[torch.Tensor, torch.Tensor]:
    """What the second layer reads, `(samples, 6)`, and its weight, `(3, 6)`."""
    read = torch.cat([*reference.activations("relu")]).double()
    return read, torch.from_numpy(reference.network.parameters["second"]["weight"]).double()


def test_norms_are_sums_of_sizes(two_layers: tuple[Reference, Coupling]) -> None:
    held = two_layers[0].network.parameters
    made, read = (torch.from_numpy(held[a]["weight"]).double() for a in ("first", "second"))
    torch.testing.assert_close(scores("filter-norm", two_layers), made.abs().sum(1))
    torch.testing.assert_close(scores("reading-norm", two_layers), read.abs().sum(0))


def test_fidelity_is_the_share_of_variance_that_a_unit_hands_on(
    two_layers: tuple[Reference, Coupling],
) -> None:
    read, weight = hidden(two_layers[0])
    parts = [(read[:, [u]] * weight[:, u]).var(0, correction=0).sum() for u in range(WIDTH)]
    whole = (read @ weight.T).var(0, correction=0).sum()
    torch.testing.assert_close(scores("fidelity", two_layers), torch.stack(parts) / whole)


def test_reconstruction_is_the_error_left_by_least_squares(
    two_layers: tuple[Reference, Coupling],
) -> None:
    read, weight = hidden(two_layers[0])
    wanted = read @ weight.T
    found = scores("reconstruction", two_layers)
    centred, whole = read - read.mean(0), wanted - wanted.mean(0)
    for kept in (5, 3, 1):
        left = found.argsort(descending=True)[:kept]
        solved = torch.linalg.lstsq(centred[:, left], whole).solution
        error = (whole - centred[:, left] @ solved).square().sum() / whole.square().sum()
        least = float(found.sort().values[WIDTH - kept - 1])
        assert least == pytest.approx(float(error), rel=0.05, abs=1e-3)


def test_gradients_are_those_of_the_outputs(two_layers: tuple[Reference, Coupling]) -> None:
    read, weight = hidden(two_layers[0])
    # The expected square over random signs is the sum over outputs.
    exact = (read.square().sum(0) * weight.square().sum(0)) * 4
    torch.testing.assert_close(scores("fisher", two_layers), exact, rtol=0.6, atol=1e-3)


def test_trajectory_is_the_error_of_all_later_layers(
    two_layers: tuple[Reference, Coupling],
) -> None:
    read, weight = hidden(two_layers[0])
    bias = torch.from_numpy(two_layers[0].network.parameters["second"]["bias"]).double()
    first = read[:40]  # of the first batch
    wanted = first @ weight.T + bias
    error = [(first[:, [u]] * weight[:, u]).square().sum() for u in range(WIDTH)]
    exact = torch.stack(error) / wanted.square().sum()
    torch.testing.assert_close(scores("trajectory", two_layers), exact, rtol=1e-4, atol=1e-6)


def test_relevance_is_shared_by_positive_contributions(
    two_layers: tuple[Reference, Coupling],
) -> None:
    read, weight = hidden(two_layers[0])
    bias = torch.from_numpy(two_layers[0].network.parameters["second"]["bias"]).double()
    given = (read[:, None, :] * weight).clamp(min=0)  # (samples, outputs, units)
    relevant = (read @ weight.T + bias).square()[..., None]
    exact = (given / (given.sum(2, keepdim=True) + 1e-9) * relevant).sum((0, 1))
    torch.testing.assert_close(scores("relevance", two_layers), exact, rtol=1e-3, atol=1e-3)
