"""An extracted subnet is the supernet's subnet, bit for bit, and then its own."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.formats import Int
from search_spaces.quant import Quant
from search_spaces.space import as_genotypes
from supernets.assemble import module_name, scale_name
from supernets.encoded import ActivationScale, EncodedTensor
from supernets.extract import detached, extract, rescaled
from supernets.supernet import Supernet

SUBNETS = 100  # per family


def _allowed(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "torch" or kind is nn.Module


def test_equal_bits_over_random_genotypes(supernet: Supernet, images: Tensor) -> None:
    rng = np.random.default_rng(0)
    genotypes = set(as_genotypes(supernet.space.sample_array(rng, SUBNETS + 20)))
    genotypes |= {supernet.space.smallest, supernet.space.largest}
    assert len(genotypes) >= SUBNETS
    for genotype in genotypes:
        module = detached(supernet, genotype).module.train()
        with torch.no_grad():
            assert torch.equal(module(images), supernet(images, genotype))


def test_the_module_is_stock(supernet: Supernet, images: Tensor) -> None:
    module = extract(supernet, supernet.space.largest, [images]).module
    assert all(_allowed(type(layer)) for layer in module.modules() if layer is not module)
    assert isinstance(module, torch.fx.GraphModule)
    targets = [node.target for node in module.graph.nodes if node.op == "call_function"]
    assert all(
        target.__module__.startswith(("torch", "_operator"))
        for target in targets
        if not isinstance(target, str)
    )


def test_the_supernet_is_not_changed(supernet: Supernet, images: Tensor) -> None:
    before = copy.deepcopy(supernet.state_dict())
    module = extract(supernet, supernet.space.largest, [images]).module
    for parameter in module.parameters():
        parameter.data.add_(1.0)
    after = supernet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_extraction_is_a_pure_function(supernet: Supernet, images: Tensor) -> None:
    genotype = supernet.space.sample(np.random.default_rng(5))
    state = torch.random.get_rng_state()
    first = extract(supernet, genotype, [images, images[:4]])
    second = extract(supernet, genotype, [images, images[:4]])
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first.module(images), second.module(images))
    assert first.inputs == second.inputs


def test_statistics_are_the_average_over_the_batches(supernet: Supernet, images: Tensor) -> None:
    batches = [images[:4], images[4:]]
    found = extract(supernet, supernet.space.largest, batches).module
    layers = dict(found.named_modules())
    norm = layers[module_name("stem.norm")]
    assert isinstance(norm, nn.BatchNorm2d)
    scale = found.get_buffer(scale_name(("stem", 0)))
    low, high = 0.0, 255.0
    means = []
    for batch in batches:
        images_in = layers[module_name("resize")](batch)
        codes = torch.round(images_in / scale)
        zero = extract(supernet, supernet.space.largest, batches).inputs["stem", 0].zero_point
        means.append(
            layers[module_name("stem")](codes.clamp(low - zero, high - zero) * scale).mean(
                (0, 2, 3)
            )
        )
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    assert not norm.training


def test_weights_are_the_integers_that_are_told(supernet: Supernet, images: Tensor) -> None:
    rng = np.random.default_rng(6)
    for genotype in as_genotypes(supernet.space.sample_array(rng, 10)):
        extracted = extract(supernet, genotype, [images])
        quantized = {a for a, node in extracted.graph.nodes.items() if node.op.weight is not None}
        weights = {
            address: held["weight"]
            for address, held in extracted.parameters.items()
            if isinstance(held.get("weight"), EncodedTensor)
        }
        assert weights.keys() == quantized
        for address, weight in weights.items():
            _check_codes(weight)
            layer = extracted.module.get_submodule(module_name(address))
            held = next(iter(layer.parameters())).detach().numpy()
            np.testing.assert_array_equal(weight.values(), held)


def _check_codes(weight: EncodedTensor) -> None:
    low, high = weight.quant.integers.range
    assert low <= weight.codes.min() <= weight.codes.max() <= high
    assert (weight.scale > 0).all()
    assert low <= weight.zero_point.min() <= weight.zero_point.max() <= high


def test_every_quantized_input_has_a_scale(supernet: Supernet, images: Tensor) -> None:
    genotype = supernet.space.sample(np.random.default_rng(7))
    extracted = extract(supernet, genotype, [images])
    expected = {
        (address, position)
        for address, node in extracted.graph.nodes.items()
        if node.op.activation is not None
        for position in range(node.op.arity)
    }
    assert extracted.inputs.keys() == expected
    assert all(scale.scale > 0 for scale in extracted.inputs.values())


def test_it_survives_pickling(supernet: Supernet, images: Tensor) -> None:
    extracted = extract(supernet, supernet.space.smallest, [images])
    again = pickle.loads(pickle.dumps(extracted))
    assert torch.equal(again.module(images), extracted.module(images))
    assert again.inputs == extracted.inputs


def test_calibration_needs_a_batch(supernet: Supernet) -> None:
    with pytest.raises(ValueError, match="calibration holds no batch"):
        extract(supernet, supernet.space.smallest, [])


@pytest.mark.parametrize(("off", "kept"), [(1.0, True), (1.2, True), (2.2, False), (0.5, False)])
def test_a_learned_step_stays_unless_it_fits_badly(off: float, kept: bool) -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    best = 0.3534  # of a normal variable at 15 levels (Max 1960, table 2)
    step = torch.tensor([best * off])
    found = rescaled(values, step, ActivationScale(1.0, 0, Quant(Int(4))))
    assert (found.item() == step.item()) == kept
    assert found.item() == pytest.approx(step.item() if kept else best, rel=0.15)


def test_scales_come_from_what_arrives(supernet: Supernet, images: Tensor) -> None:
    genotype = supernet.space.largest
    learned = detached(supernet, genotype).inputs["stem", 0].scale
    assert extract(supernet, genotype, [images]).inputs["stem", 0].scale == learned
    assert extract(supernet, genotype, [images / 2]).inputs["stem", 0].scale < learned


def test_readers_of_one_tensor_at_one_precision_share_its_scale(
    supernet: Supernet, images: Tensor
) -> None:
    shared = 0
    for genotype in as_genotypes(supernet.space.sample_array(np.random.default_rng(8), 10)):
        extracted = extract(supernet, genotype, [images])
        scales: dict[object, set[float]] = {}
        for (address, slot), read in extracted.inputs.items():
            source = extracted.graph.nodes[address].inputs[slot]
            scales.setdefault((source, read.quant, read.zero_point), set()).add(read.scale)
        assert all(len(found) == 1 for found in scales.values())
        shared += len(extracted.inputs) - len(scales)
    assert shared
