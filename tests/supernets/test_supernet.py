"""One set of weights, any subnet: deterministic, stateless, gradients where they belong."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Conv2d, Flatten, GlobalPool, Input, Linear, Resize
from search_spaces.quant import PerChannel, Quant
from search_spaces.residual import residual
from search_spaces.space import SearchSpace, as_genotypes
from supernets.checkpoint import CheckpointError, load, save
from supernets.extract import extract
from supernets.largest import largest_parameters
from supernets.supernet import Supernet, subnet_of
from tests.supernets.spaces import MOBILENET, RESIDUAL


def test_the_seed_alone_decides_the_weights() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (Supernet(RESIDUAL, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.random.get_rng_state())
    ours, same, not_ours = (net.node("stem").tensors["weight"] for net in (first, second, other))
    assert torch.equal(ours, same)
    assert not torch.equal(ours, not_ours)


def test_inputs_are_quantized_per_tensor_only() -> None:
    graph = Graph(Input("image", (1, 8, 8)))
    graph.add("conv", Conv2d(4, 3, activation=Quant(Int(8, symmetric=False), PerChannel())))
    with pytest.raises(ValueError, match="PerTensor"):
        Supernet(SearchSpace(graph), seed=0)


def test_weights_keep_the_scale_of_what_they_read() -> None:
    weight = Supernet(MOBILENET, seed=0).node("last").tensors["weight"]
    assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.1)


def test_a_forward_leaves_nothing_behind(supernet: Supernet, images: Tensor) -> None:
    genotypes = as_genotypes(supernet.space.sample_array(np.random.default_rng(1), 4))
    with torch.no_grad():
        alone = [supernet(images, genotype) for genotype in genotypes]
        after_others = [supernet(images, genotype) for genotype in reversed(genotypes)]
    assert all(map(torch.equal, alone, reversed(after_others)))


def test_every_used_parameter_learns_and_no_other(supernet: Supernet, images: Tensor) -> None:
    genotype = supernet.space.sample(np.random.default_rng(2))
    supernet.zero_grad(set_to_none=True)
    supernet(images, genotype).square().sum().backward()
    graph = subnet_of(supernet.space, genotype).graph
    for address in supernet.space.graph.nodes:
        shared = supernet.node(address)
        used = address in graph.nodes
        assert all((p.grad is not None) == used for p in shared.tensors.values())
        op = graph.nodes[address].op if used else None
        steps = [p for p in shared.parameters() if p is not None and p.grad is not None]
        quantized = [] if op is None else [op.weight, *[op.activation] * op.arity]
        expected = len(shared.tensors) * used + sum(quant is not None for quant in quantized)
        assert len(steps) == expected
    supernet.zero_grad(set_to_none=True)


def test_full_precision_ignores_the_steps(supernet: Supernet, images: Tensor) -> None:
    genotype = supernet.space.largest
    other = Supernet(supernet.space, seed=1)
    state = {n: t for n, t in supernet.state_dict().items() if ".tensors." in n}
    other.load_state_dict(state, strict=False)
    with torch.no_grad():
        ours = supernet(images, genotype, quantize=False)
        assert torch.equal(ours, other(images, genotype, quantize=False))
        assert not torch.equal(ours, supernet(images, genotype))


def test_parameter_groups_part_the_parameters(supernet: Supernet) -> None:
    groups = supernet.parameter_groups()
    together = [id(p) for group in groups.values() for p in group]
    assert sorted(together) == sorted(id(p) for p in supernet.parameters())
    assert all(p.dim() >= 2 for p in groups["weights"])
    assert all(p.dim() == 1 for p in groups["others"])
    steps = [id(p) for name, p in supernet.named_parameters() if ".log_steps." in name]
    assert sorted(map(id, [*groups["weight_steps"], *groups["input_steps"]])) == sorted(steps)


def test_parameters_hold_every_form_whatever_the_order_of_options() -> None:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("resize", Resize(choice("resolution", (8, 4))))
    graph.add("conv", Conv2d(choice("width", (6, 2)), choice("kernel", (5, 1))))
    graph.add("relu", Activation("relu"))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(4))
    space = SearchSpace(graph)
    shapes = {
        address: {name: parameter.shape for name, parameter in found.items()}
        for address, found in largest_parameters(space).items()
    }
    assert shapes["conv"] == {"weight": (6, 3, 5, 5)}
    assert shapes["head"] == {"weight": (4, 6), "bias": (4,)}
    assert Supernet(space, seed=0)(torch.zeros(2, 3, 8, 8), space.smallest).shape == (2, 4)


def test_a_space_of_smaller_depths_has_a_supernet() -> None:
    deep = residual(
        (Input("image", (1, 6, 6)),), (3,), widths=((4,), (4, 8)), depths=((1, 2, 3),), kernels=(3,)
    )
    shallow = deep.restrict(lambda made, option: not made.name.endswith("depth") or option < 3)
    supernet, images = Supernet(shallow, seed=0), torch.ones(2, 1, 6, 6)
    for genotype in (shallow.smallest, shallow.largest):
        assert supernet(images, genotype).shape == (2, 3)
        assert extract(supernet, genotype, [images]).module(images).isfinite().all()


def test_it_survives_pickling(supernet: Supernet, images: Tensor) -> None:
    again = pickle.loads(pickle.dumps(supernet))
    with torch.no_grad():
        assert torch.equal(
            again(images, again.space.smallest), supernet(images, supernet.space.smallest)
        )


def test_a_checkpoint_gives_the_same_supernet(
    supernet: Supernet, images: Tensor, tmp_path: Path
) -> None:
    save(supernet, tmp_path / "net", metadata={"epoch": "3"})
    again = load(supernet.space, tmp_path / "net")
    genotypes = as_genotypes(supernet.space.sample_array(np.random.default_rng(3), 5))
    with torch.no_grad():
        for genotype in genotypes:
            assert torch.equal(again(images, genotype), supernet(images, genotype))


def test_a_checkpoint_of_another_space_is_refused(supernet: Supernet, tmp_path: Path) -> None:
    other = MOBILENET if supernet.space.name == "residual" else RESIDUAL
    save(supernet, tmp_path / "net")
    with pytest.raises(CheckpointError, match=f"expected {other.fingerprint}"):
        load(other, tmp_path / "net")
