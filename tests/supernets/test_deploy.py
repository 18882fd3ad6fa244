"""What is deployed computes what was extracted, in integers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import BatchNorm2d, Flatten, Input, Linear
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.assemble import module_name
from supernets.biases import round_biases
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.deployed import Deployed, values
from supernets.encoded import EncodedTensor, IntegerBias
from supernets.extract import Extracted, detached, extract
from supernets.fold import fold_norms, folded_weight
from supernets.supernet import Supernet


def _sampled(supernet: Supernet, count: int) -> list[Genotype]:
    return as_genotypes(supernet.space.sample_array(np.random.default_rng(0), count))


def _convolutions(extracted: Extracted) -> list[tuple[str, str]]:
    """Every norm with the convolution before it."""
    nodes = extracted.graph.nodes.items()
    return [(node.inputs[0], a) for a, node in nodes if isinstance(node.op, BatchNorm2d)]


def _layer_output(extracted: Extracted, conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """What convolution and norm make of random numbers, and those numbers."""
    layer = extracted.module.get_submodule(module_name(conv))
    assert isinstance(layer, nn.Conv2d)
    x = torch.randn(2, layer.in_channels, 6, 6, generator=torch.Generator().manual_seed(0))
    return extracted.module.get_submodule(module_name(norm))(layer(x)), x


def _folded_output(extracted: Extracted, deployed: Deployed, conv: str, x: Tensor) -> Tensor:
    layer = extracted.module.get_submodule(module_name(conv))
    assert isinstance(layer, nn.Conv2d)
    held = deployed.parameters[conv]
    weight, bias = (torch.from_numpy(values(held[name])) for name in ("weight", "bias"))
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, groups=layer.groups)


def test_norms_are_gone_and_everything_else_is_there(supernet: Supernet, images: Tensor) -> None:
    for genotype in _sampled(supernet, 10):
        extracted = extract(supernet, genotype, [images])
        deployed = deploy(extracted)
        before, after = extracted.graph.nodes, deployed.graph.nodes
        assert not any(isinstance(node.op, BatchNorm2d) for node in after.values())
        assert {a: n.op for a, n in after.items()} == {
            a: n.op for a, n in before.items() if not isinstance(n.op, BatchNorm2d)
        }
        assert deployed.graph.shapes().items() <= extracted.graph.shapes().items()
        assert not any("norm" in read for node in after.values() for read in node.inputs)


def test_codes_keep_to_their_range(supernet: Supernet, images: Tensor) -> None:
    for genotype in _sampled(supernet, 20):
        deployed = deploy(extract(supernet, genotype, [images]))
        for address, held in deployed.parameters.items():
            quant = deployed.graph.nodes[address].op.weight
            assert (quant is not None) == isinstance(held["weight"], EncodedTensor)
            assert values(held["bias"]).dtype == np.float32
            if isinstance(held["weight"], EncodedTensor):
                _check(held["weight"], quant)


def _check(weight: EncodedTensor, quant: Quant | None) -> None:
    assert weight.quant == quant
    low, high = weight.quant.integers.range
    count = len(weight.codes) if isinstance(weight.quant.granularity, PerChannel) else 1
    assert low <= weight.codes.min() <= weight.codes.max() <= high
    assert low <= weight.zero_point.min() <= weight.zero_point.max() <= high
    assert weight.scale.shape == weight.zero_point.shape == (count,)
    assert weight.scale.dtype == np.float32
    assert (weight.scale > 0).all()
    assert not weight.quant.integers.symmetric or not weight.zero_point.any()


def test_folding_is_exact_but_for_one_scale_per_tensor(supernet: Supernet, images: Tensor) -> None:
    kinds: set[object] = set()
    for genotype in _sampled(supernet, 20):
        extracted = extract(supernet, genotype, [images])
        deployed = fold_norms(extracted.deployed())
        for conv, norm in _convolutions(extracted):
            quant = extracted.graph.nodes[conv].op.weight
            if quant is not None and isinstance(quant.granularity, PerTensor):
                continue
            kinds.add(quant and quant.integers.symmetric)
            expected, x = _layer_output(extracted, conv, norm)
            found = _folded_output(extracted, deployed, conv, x)
            scale = expected.abs().max().item()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * scale)
    assert kinds == {None, True, False}


def test_folding_into_one_scale_errs_by_half_a_step_at_most_inside(
    supernet: Supernet, images: Tensor
) -> None:
    for genotype in _sampled(supernet, 10):
        extracted = extract(supernet, genotype, [images])
        deployed = deploy(extracted)
        for conv, norm in _convolutions(extracted):
            weight = deployed.weight(conv)
            if not isinstance(weight, EncodedTensor) or isinstance(
                weight.quant.granularity, PerChannel
            ):
                continue
            layer = extracted.module.get_submodule(module_name(norm))
            assert isinstance(layer, nn.BatchNorm2d)
            factor = (layer.weight / (layer.running_var + layer.eps).sqrt()).detach().numpy()
            held = values(extracted.parameters[conv]["weight"])
            exact = held * factor.reshape(-1, 1, 1, 1)
            bounds = weight.quant.integers.range
            low, high = ((b - weight.zero_point) * weight.scale for b in bounds)
            error = np.abs(weight.values() - exact.clip(low, high))
            assert (error <= 0.501 * weight.scale).all()


_DEFAULT_EDGES = {
    "edge.weight.granularity": PerChannel(),
    "edge.weight.symmetric": True,
    "edge.activation.symmetric": False,
    "tensor.activation.symmetric": False,
}


def _narrowed(space: SearchSpace, *, weight: int | None) -> SearchSpace:
    """Inner layers at these weight bits, one scale per tensor, activations in full precision.

    First and last layers, additions and poolings are as policies have them by default.
    """

    def keep(made: Choice[Any], option: Any) -> bool:
        if made.name in _DEFAULT_EDGES:
            return option == _DEFAULT_EDGES[made.name]
        if made.name.endswith("activation.bits"):
            return option is None
        if made.name.endswith("weight.granularity"):
            return option == PerTensor()
        wanted = getattr(option, "bits", None) == weight
        return wanted or not made.name.endswith("weight.bits")

    return space.restrict(keep)


def test_a_network_in_full_precision_is_the_same_network(
    supernet: Supernet, images: Tensor
) -> None:
    space = _narrowed(supernet.space, weight=None)
    full = Supernet(space, seed=0)
    initialise_steps(full, [images])
    for genotype in _sampled(full, 5):
        extracted = extract(full, genotype, [images])
        found, expected = deploy(extracted).module()(images), extracted.module(images)
        # First and last layers are at 8 bits, where a last bit can turn a code over.
        assert (found - expected).abs().max() < 0.1 * expected.std()


def test_the_module_computes_what_integers_compute(supernet: Supernet, images: Tensor) -> None:
    """The stem in 64-bit integers: codes times codes plus the integer bias, then one scale."""
    extracted = extract(supernet, supernet.space.largest, [images])
    deployed = deploy(extracted)
    module, read = deployed.module(), deployed.inputs["stem", 0]
    weight, bias = (deployed.parameters["stem"][name] for name in ("weight", "bias"))
    assert isinstance(weight, EncodedTensor)
    assert isinstance(bias, IntegerBias)
    low, high = read.bounds
    x = torch.round(images.double() / read.scale).clamp(low, high)
    codes = torch.from_numpy(weight.codes - weight.zero_point.reshape(-1, 1, 1, 1)).double()
    sums = F.conv2d(x, codes, torch.from_numpy(bias.codes).double(), padding=1)
    expected = sums * torch.from_numpy(bias.scale).double().reshape(-1, 1, 1)
    inputs = (x * read.scale).float()
    found = dict(module.named_modules())[module_name("stem")](inputs)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_an_integer_bias_is_within_half_a_unit(supernet: Supernet, images: Tensor) -> None:
    folded = fold_norms(extract(supernet, supernet.space.largest, [images]).deployed())
    rounded = round_biases(folded)
    for address in ("stem", "head"):
        weight, bias = (rounded.parameters[address][name] for name in ("weight", "bias"))
        assert isinstance(bias, IntegerBias)
        assert isinstance(weight, EncodedTensor)
        units = np.float32(rounded.inputs[address, 0].scale) * weight.scale
        np.testing.assert_allclose(bias.scale, np.broadcast_to(units, bias.scale.shape))
        exact = values(folded.parameters[address]["bias"])
        assert (np.abs(bias.codes * bias.scale - exact) <= 0.51 * bias.scale).all()


def test_a_rewrite_changes_no_network_but_its_own(supernet: Supernet, images: Tensor) -> None:
    before = extract(supernet, supernet.space.largest, [images]).deployed()
    expected = before.module()(images)
    round_biases(fold_norms(before))
    assert torch.equal(before.module()(images), expected)


def test_the_network_before_any_rewriting_is_the_extracted_one(
    supernet: Supernet, images: Tensor
) -> None:
    for genotype in _sampled(supernet, 5):
        extracted = extract(supernet, genotype, [images])
        found = extracted.deployed().module()(images)
        torch.testing.assert_close(found, extracted.module(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("granularity", "symmetric"),
    [*itertools.product((PerTensor(), PerChannel()), (True, False))],
)
def test_a_channel_switched_off_stays_off(
    granularity: PerTensor | PerChannel, symmetric: bool
) -> None:
    zero = np.array([0 if symmetric else 5] * (3 if isinstance(granularity, PerChannel) else 1))
    weight = EncodedTensor(
        codes=np.arange(-3, 3).reshape(3, 2) + (0 if symmetric else 8),
        scale=np.full(len(zero), 0.25, dtype=np.float32),
        zero_point=zero,
        quant=Quant(Int(4, symmetric), granularity),
    )
    factor = np.array([1.0, 0.0, -2.0])
    folded = folded_weight(weight, factor)
    assert isinstance(folded, EncodedTensor)
    assert (folded.scale > 0).all()
    assert not folded.values()[1].any()
    _check(folded, weight.quant)
    if isinstance(granularity, PerChannel):
        np.testing.assert_allclose(folded.values(), weight.values() * factor.reshape(3, 1))


def test_a_norm_without_a_convolution_before_it_is_refused(images: Tensor) -> None:
    graph = Graph(Input("image", (3, *images.shape[2:])))
    graph.add("norm", BatchNorm2d())
    graph.add("flat", Flatten())
    graph.add("head", Linear(2))
    supernet = Supernet(SearchSpace(graph), seed=0)
    with pytest.raises(ValueError, match="BatchNorm2d 'norm' cannot be folded"):
        deploy(extract(supernet, (), [images]))


def test_biases_take_back_what_rounding_shifts(supernet: Supernet, images: Tensor) -> None:
    """Channel means behind layers that were rounded anew are those of the extracted network."""
    space = _narrowed(supernet.space, weight=3)
    few_bits = Supernet(space, seed=0)
    initialise_steps(few_bits, [images])
    extracted = extract(few_bits, space.largest, [images])
    deployed = deploy(extracted)
    before, after = (
        _channel_means(extracted.module, images),
        _channel_means(deployed.module(), images),
    )
    rounded = [
        pair
        for pair in _convolutions(extracted)
        if isinstance(deployed.weight(pair[0]), EncodedTensor) and pair[0] not in ("stem", "last")
    ]
    assert len(rounded) > 3
    for conv, norm in rounded:
        torch.testing.assert_close(
            after[module_name(conv)], before[module_name(norm)], rtol=1e-3, atol=1e-3
        )


def _channel_means(module: nn.Module, images: Tensor) -> dict[str, Tensor]:
    means: dict[str, Tensor] = {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(
            lambda _layer, _read, output, name=name: means.update(
                {name: output.mean((0, 2, 3)) if output.dim() == 4 else output}
            )
        )
    module(images)
    return means


def test_a_subnet_must_be_calibrated_first(supernet: Supernet) -> None:
    with pytest.raises(ValueError, match="not calibrated"):
        deploy(detached(supernet, supernet.space.smallest))
