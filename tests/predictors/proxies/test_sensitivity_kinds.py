import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from nas.parts import Parts
from nas.testing.sensitivity import SensitivityContract, divergence, study
from predictors.proxies.rounding import rounded
from predictors.proxies.sensitivity import (
    Entry,
    SensitivityCost,
    Site,
    Study,
    curvature,
    hessian_trace,
    interactions,
    measured,
    neighbours,
    output_distance,
    output_fisher,
    pairwise,
    repaired,
    squared_error,
    together,
    weight_names,
)
from predictors.proxies.sensitivity.curvature import hessian_product, root_product, traces
from search_spaces.formats import E4M3, Int
from search_spaces.quant import PerChannel, Quant

torch.set_num_threads(1)
FOUR = Quant(Int(4), PerChannel())


@pytest.mark.parametrize("name", [*Parts("sensitivity")])
class TestShipped(SensitivityContract):
    @pytest.fixture
    def sensitivity(self, name):
        return Parts("sensitivity")[name]


def weight_of(subject: Study, entry: Entry) -> Tensor:
    return subject.module.get_parameter(subject.weights[entry.site.address]).detach()


def exact_hessian(subject: Study, name: str) -> Tensor:
    """The Hessian of the mean distance of the first batch by one parameter, by autograd."""
    start = subject.module.get_parameter(name).detach().clone()
    reference = subject.references()[0]

    def loss(weight: Tensor) -> Tensor:
        out = functional_call(
            subject.module, {name: weight.reshape(start.shape)}, subject.batches[0]
        )
        return divergence(out, reference)

    found = torch.autograd.functional.hessian(loss, start.flatten())
    assert isinstance(found, Tensor)
    return found


def test_the_squared_error_is_that_of_the_tensor() -> None:
    subject = study()
    found = dict(squared_error(subject, subject.entries))
    entry = Entry(Site("weight", "second"), FOUR)
    weight = weight_of(subject, entry)
    assert found[entry] == pytest.approx(float((rounded(weight, FOUR) - weight).square().sum()))
    quant = Quant(Int(4, symmetric=False))
    images = [x for x in subject.batches if isinstance(x, Tensor)]
    errors = [(rounded(x, quant, channels=1) - x).square().sum() for x in images]
    wanted = float(sum(errors)) / 8
    assert found[Entry(Site("activation", "first"), quant)] == pytest.approx(wanted, rel=1e-5)


def test_the_output_distance_is_that_of_the_network_with_one_tensor_rounded() -> None:
    subject = study()
    entry = Entry(Site("weight", "head"), FOUR)
    ((_, value),) = output_distance(subject, [entry])
    changed = {"head.weight": rounded(weight_of(subject, entry), FOUR)}
    with torch.no_grad():
        found = [
            float(divergence(functional_call(subject.module, changed, x), subject.module(x)))
            for x in subject.batches
        ]
    assert value == pytest.approx(np.mean(found), rel=0.01)


def test_the_trace_converges_to_that_of_the_exact_hessian(monkeypatch) -> None:
    monkeypatch.setattr(curvature, "PROBES", 300)
    subject = study(batches=1)
    found = traces(subject)
    for layer in ("second", "head"):
        exact = float(exact_hessian(subject, f"{layer}.weight").trace())
        assert found[Site("weight", layer)] == pytest.approx(exact, rel=0.2)
    # The classifier reads means, so both of its Hessians are known: J' H J with J = W.
    reads = subject.walk(subject.batches[0], keep=True)[1].read["head"][0][0].detach()
    out, weight = subject.references()[0], subject.module.get_parameter("head.weight").detach()
    p = out.softmax(-1)
    h = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    exact = float(torch.einsum("oi,noq,qi->", weight, h, weight)) / len(reads)
    assert found[Site("activation", "head")] == pytest.approx(exact, rel=0.2)


def test_the_hessian_sensitivity_is_the_mean_eigenvalue_times_the_error(monkeypatch) -> None:
    monkeypatch.setattr(curvature, "PROBES", 300)
    subject = study(batches=1)
    entry = Entry(Site("weight", "head"), FOUR)
    weight = weight_of(subject, entry)
    error = float((rounded(weight, FOUR) - weight).square().sum())
    exact = float(exact_hessian(subject, "head.weight").trace()) / weight.numel() * error / 2
    ((_, value),) = hessian_trace(subject, [entry])
    assert value == pytest.approx(exact, rel=0.2)


def test_the_fisher_sensitivity_of_the_last_layer_is_its_exact_second_order_loss(
    monkeypatch,
) -> None:
    """The outputs of the last layer are those of the network; the diagonal is p - p^2 there."""
    monkeypatch.setattr(curvature, "DRAWS", 150)
    subject = study(batches=1)
    entry = Entry(Site("weight", "head"), FOUR)
    ((_, value),) = output_fisher(subject, [entry])
    out = subject.references()[0]
    p = out.softmax(-1)
    changed = {"head.weight": rounded(weight_of(subject, entry), FOUR)}
    error = functional_call(subject.module, changed, subject.batches[0]) - out
    exact = float(((p - p.square()) * error.detach().square()).sum()) / len(out) / 2
    assert value == pytest.approx(exact, rel=0.2)


def test_a_root_times_itself_is_the_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    out = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    product = hessian_product(lambda y: divergence(y, out), out)
    for _ in range(3):
        v = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(root_product(product, root_product(product, v)), product(v))


def test_interactions_are_the_second_order_loss_of_every_set() -> None:
    subject = study()
    eight = [Entry(Site("weight", layer), Quant(Int(8), PerChannel())) for layer in subject.nodes]
    found = interactions(subject, eight)
    assert np.linalg.eigvalsh(found.matrix).min() > -1e-12
    for chosen in ([0], [0, 1], [0, 2], [0, 1, 2]):
        actual = together(subject, [eight[number] for number in chosen])
        assert found.loss(chosen) == pytest.approx(actual, rel=0.1)
    np.testing.assert_allclose(found.alone, [found.loss([n]) for n in range(3)])


def test_measured_pairs_and_predicted_pairs_agree_where_errors_are_small() -> None:
    subject = study()
    eight = [Entry(Site("weight", layer), Quant(Int(8), PerChannel())) for layer in subject.nodes]
    alone = dict(output_distance(subject, eight))
    found = interactions(subject, eight)
    for one, other in itertools.combinations(range(3), 2):
        ((pair, value),) = pairwise(subject, [(eight[one], eight[other])], alone)
        assert pair == (eight[one], eight[other])
        scale = np.sqrt(alone[eight[one]] * alone[eight[other]])
        assert value == pytest.approx(found.matrix[one, other], abs=0.1 * scale)


def test_neighbours_are_layers_with_none_between() -> None:
    assert neighbours(study()) == [("first", "second"), ("first", "head"), ("second", "head")]


def test_repaired_values_never_rise_with_bits() -> None:
    values = {
        ("a", Quant(Int(2))): 3.0,
        ("a", Quant(Int(4))): 1.0,
        ("a", Quant(Int(8))): 1.5,
        ("a", Quant(E4M3)): 0.5,
        ("a", None): 0.0,
        ("b", Quant(Int(8))): 9.0,
    }
    found = repaired(values)
    assert found == {**values, ("a", Quant(Int(8))): 1.0}


def test_what_is_known_is_not_measured_again_and_the_rest_is_told() -> None:
    subject, told = study(), {}
    whole = measured(subject, output_distance, told=told.__setitem__)
    assert set(told) == set(subject.entries)
    known = dict(list(told.items())[:7])

    def counting(subject, wanted):
        assert not set(wanted) & set(known)
        return output_distance(subject, wanted)

    again = measured(subject, counting, known=known)
    assert again == whole
    assert isinstance(again, SensitivityCost)
    assert again.weights["head", None] == 0.0


def test_faults_of_a_kind_are_told() -> None:
    subject = study()
    with pytest.raises(ValueError, match="was not given"):
        measured(subject, lambda _, wanted: iter([(wanted[0], 1.0)]))
    with pytest.raises(ValueError, match="must be a finite number"):
        measured(subject, lambda _, wanted: iter([(wanted[0], float("nan"))]))


def test_faults_of_a_study_are_told() -> None:
    module = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2)).eval())
    site = {Site("weight", "a"): [FOUR]}
    x = torch.ones(1, 2)
    with pytest.raises(ValueError, match="at least one batch"):
        Study(module, [], divergence, {"a": "_0"}, {"a": "0.weight"}, site)
    with pytest.raises(ValueError, match="'a' is not a node"):
        Study(module, [x], divergence, {}, {"a": "0.weight"}, site)
    with pytest.raises(ValueError, match="not a parameter"):
        Study(module, [x], divergence, {"a": "_0"}, {"a": "weight"}, site)
    with pytest.raises(ValueError, match="training mode"):
        Study(module.train(), [x], divergence, {"a": "_0"}, {"a": "0.weight"}, site)
    both = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.ReLU())
    for name in ("0", "1"):
        with pytest.raises(ValueError, match="must hold one weight"):
            weight_names(both, {"a": name})


class Joined(nn.Module):
    """Functions that are no layers: an addition, and a concatenation of a list."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.cat([left + right, left], 1)


def test_inputs_of_functions_are_rounded_too_and_several_inputs_are_given_by_name() -> None:
    module = fx.symbolic_trace(Joined().eval())
    inputs = {"right": torch.rand(4, 2), "left": torch.rand(4, 2)}
    quant = Quant(Int(3, symmetric=False))
    subject = Study(
        module,
        [inputs],
        divergence,
        {"sum": "add", "join": "cat"},
        {},
        {Site("activation", "sum"): [quant], Site("activation", "join"): [quant]},
    )
    near, by = (rounded(inputs[name], quant, channels=1) for name in ("left", "right"))
    assert torch.equal(subject.run(inputs, [subject.entries[0]])[:, :2], near + by)
    assert torch.equal(subject.run(inputs, [subject.entries[1]])[:, 2:], near)
    assert torch.equal(subject.run(inputs), module(**inputs))
    assert all(value > 0 for value in dict(output_fisher(subject, subject.entries)).values())
