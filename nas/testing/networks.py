"""Small deployed networks of two families of spaces, with every precision of integers."""

from functools import cache

import numpy as np
import torch

from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.extract import extract
from supernets.supernet import Supernet

IMAGES = torch.randn(512, 1, 8, 8, generator=torch.Generator().manual_seed(0))
FAMILIES = ("residual", "mobilenet")
EVERY_PRECISION = Policy(
    weight_bits=(2, 3, 4, 6, 8, None),
    activation_bits=(2, 3, 4, 6, 8, None),
    weight_granularities=(PerTensor(), PerChannel()),
    weight_symmetries=(True, False),
    activation_symmetries=(False, True),
    fineness="layer",
)


def uniform(bits: int | None, *, activation_symmetric: bool = False, edge_bits: int = 8) -> Policy:
    """The policy with a single precision; None is full precision."""
    return Policy(
        weight_bits=(bits,),
        activation_bits=(bits,),
        activation_symmetries=(activation_symmetric,),
        edge_bits=None if bits is None else edge_bits,
    )


@cache
def space(family: str, policy: Policy = EVERY_PRECISION) -> SearchSpace:
    """The small space of a family, made once."""
    if family == "residual":
        return residual(
            inputs=(Input("image", (1, 8, 8)),),
            output=(10,),
            widths=((8, 16), (8, 16), (16, 24)),
            depths=((1, 2), (1, 2)),
            kernels=(3, 5),
            policy=policy,
        )
    stages = (
        Stage(8, 1, squeeze_excite=True),
        Stage(16, 2, squeeze_excite=True, function="hardswish"),
        Stage(16, 1, function="relu6"),
    )
    return mobilenet(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        stages=stages,
        depths=(1, 2),
        kernels=(3, 5),
        expansions=(2, 3),
        stem=8,
        stem_stride=1,
        head=32,
        policy=policy,
    )


@cache
def supernet(family: str, policy: Policy = EVERY_PRECISION) -> Supernet:
    """The supernet of a family with random weights and initialised steps, made once."""
    torch.set_num_threads(1)
    net = Supernet(space(family, policy), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith((".shift", ".bias")):  # not zero, as after a training
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
            elif name.endswith(".scale"):
                parameter.copy_(1 + 0.5 * torch.randn(parameter.shape, generator=generator))
    initialise_steps(net, [IMAGES[:128]])
    return net


def random_networks(family: str, count: int, *, seed: int = 0) -> list[Deployed]:
    """The deployed networks of random genotypes."""
    genotypes = space(family).sample_array(np.random.default_rng(seed), count)
    return [network(family, tuple(row)) for row in genotypes.tolist()]


def network(family: str, genotype: tuple[int, ...], policy: Policy = EVERY_PRECISION) -> Deployed:
    """The deployed network of a genotype."""
    return deploy(extract(supernet(family, policy), genotype, [IMAGES[:32]]))


def uniform_network(family: str, policy: Policy) -> Deployed:
    """The deployed network of the largest genotype under a policy."""
    return network(family, space(family, policy).largest, policy)
