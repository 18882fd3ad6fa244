"""Equality of supernet, extracted subnets and deployed subnets, as two Markdown tables.

For the first table, random subnets of untrained supernets of both families, with every precision,
run on random images. For the second, each convolution runs alone: in a whole quantized network, one
code that is rounded differently at a tie changes all later layers.

    python benchmarks/extraction.py --genotypes 200
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import BatchNorm2d, Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import SearchSpace, as_genotypes
from supernets.assemble import module_name
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.deployed import Deployed, values
from supernets.extract import Extracted, calibrated, detached
from supernets.fold import fold_norms
from supernets.supernet import Supernet

POLICY = Policy(
    weight_bits=(2, 3, 4, 6, 8, None),
    activation_bits=(2, 3, 4, 6, 8, None),
    weight_granularities=(PerTensor(), PerChannel()),
    weight_symmetries=(True, False),
    activation_symmetries=(True, False),
    fineness="layer",
)
SIDE, BATCH, BATCHES = 16, 32, 4


def families() -> dict[str, SearchSpace]:
    """A space of each family with every kind of choice."""
    image = Input("image", (3, SIDE, SIDE))
    shared = {"inputs": (image,), "output": (10,), "image_sizes": (12, SIDE), "policy": POLICY}
    stages = (
        Stage(16, 1, squeeze_excite="choice"),
        Stage(24, 2, squeeze_excite=True),
        Stage(40, 2, squeeze_excite="choice", function="hardswish"),
    )
    return {
        "residual": residual(
            widths=((8, 16), (8, 16), (16, 32), (32, 64)),
            depths=((1, 2, 3),) * 3,
            kernels=(3, 5),
            **shared,
        ),
        "mobilenet": mobilenet(
            stages=stages,
            depths=(2, 3),
            width_multipliers=(0.75, 1.0),
            stem_stride=1,
            head=128,
            **shared,
        ),
    }


@dataclass
class Row:
    """The results of one family."""

    equal: int = 0
    logits: float = 0.0
    full_precision: float = 0.0
    agree: float = 0.0
    seconds: float = 0.0


def compare(supernet: Supernet, images: list[Tensor], count: int) -> tuple[Row, dict[str, float]]:
    """The comparison of random subnets of one supernet, as a whole and layer by layer."""
    row, layers = Row(), {"full precision": 0.0, "per channel": 0.0, "per tensor": 0.0}
    times: list[float] = []
    genotypes = set(as_genotypes(supernet.space.sample_array(np.random.default_rng(0), count)))
    for genotype in genotypes:
        extracted = detached(supernet, genotype)
        row.equal += torch.equal(extracted.module.train()(images[0]), supernet(images[0], genotype))
        start = time.perf_counter()
        extracted = calibrated(detached(supernet, genotype), images)
        deployed = deploy(extracted)
        module = deployed.module()
        times.append(time.perf_counter() - start)
        theirs, ours = extracted.module(images[0]), module(images[0])
        row.logits = max(row.logits, (theirs - ours).abs().max().item())
        row.agree += (theirs.argmax(1) == ours.argmax(1)).float().mean().item() / len(genotypes)
        full = calibrated(detached(supernet, genotype, quantize=False), images)
        difference = full.module(images[0]) - deploy(full).module()(images[0])
        row.full_precision = max(row.full_precision, difference.abs().max().item())
        for kind, error in layer_errors(extracted, fold_norms(extracted.deployed())):
            layers[kind] = max(layers[kind], error)
    row.seconds = statistics.median(times)
    return row, layers


def layer_errors(extracted: Extracted, deployed: Deployed) -> Iterator[tuple[str, float]]:
    """The largest error divided by the largest output, for every folded convolution by kind."""
    for norm, node in extracted.graph.nodes.items():
        if not isinstance(node.op, BatchNorm2d):
            continue
        (address,) = node.inputs
        conv = extracted.module.get_submodule(module_name(address))
        assert isinstance(conv, nn.Conv2d)
        x = torch.randn(4, conv.in_channels, 8, 8, generator=torch.Generator().manual_seed(0))
        expected = extracted.module.get_submodule(module_name(norm))(conv(x))
        held = deployed.parameters[address]
        weight, bias = (torch.from_numpy(values(held[name])) for name in ("weight", "bias"))
        found = F.conv2d(x, weight, bias, conv.stride, conv.padding, groups=conv.groups)
        quant = extracted.graph.nodes[address].op.weight
        per_channel = quant is not None and isinstance(quant.granularity, PerChannel)
        kind = "full precision" if quant is None else "per channel" if per_channel else "per tensor"
        yield kind, ((found - expected).abs().max() / expected.abs().max()).item()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genotypes", type=int, default=200, help="random subnets per family")
    count = parser.parse_args().genotypes
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(BATCH, 3, SIDE, SIDE, generator=generator) for _ in range(BATCHES)]
    rows, layers = {}, {}
    for name, space in families().items():
        supernet = Supernet(space, seed=0)
        initialise_steps(supernet, images[:1])
        rows[name], layers[name] = compare(supernet, images, count)
    print(
        "| family | subnets | bit-equal | largest logit difference, full precision "
        "| same, quantized | same class, quantized | extract + calibrate + deploy |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, r in rows.items():
        print(
            f"| {name} | {count} | {r.equal} | {r.full_precision:.1e} | {r.logits:.2f} "
            f"| {r.agree:.1%} | {1e3 * r.seconds:.0f} ms |"
        )
    print("\n| family | folded weight | largest error of a layer, relative |\n| --- | --- | --- |")
    for name, errors in layers.items():
        for kind, error in errors.items():
            print(f"| {name} | {kind} | {error:.1e} |")


if __name__ == "__main__":
    main()
