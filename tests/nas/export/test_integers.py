"""Files whose every kernel runs on integers, against sums of integers written out here."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nas.export import export_onnx
from nas.export.runtime import file_outputs, kernels_run
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
)
from search_spaces.policy import Policy
from search_spaces.quant import PerTensor
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.extract import extract
from supernets.supernet import Supernet

IMAGES = torch.randn(256, 3, 12, 12, generator=torch.Generator().manual_seed(0))
INT32 = np.iinfo(np.int32)


def chain(policy):
    """Convolutions of both kinds in a row, with both clamps between them."""
    graph = Graph(Input("image", (3, 12, 12)))
    layers = [Conv2d(16, 3, 2), DepthwiseConv2d(5), Conv2d(24, 1), Conv2d(24, 3, 2)]
    for position, op in enumerate(layers):
        bits = policy.layer("all", f"layer{position}", "conv")
        graph.add(f"conv{position}", type(op)(**{**vars(op), **bits}))
        graph.add(f"conv{position}.norm", BatchNorm2d())
        graph.add(f"conv{position}.clamp", Activation("relu6" if position % 2 else "relu"))
    graph.add("pool", GlobalPool(policy.tensor()))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(10, **policy.edge()))
    return SearchSpace(graph, name="chain")


def deployed_chain(policy):
    space = chain(policy)
    supernet = Supernet(space, seed=0)
    initialise_steps(supernet, [IMAGES[:128]])
    return deploy(extract(supernet, space.largest, [IMAGES]))


class Integers:
    """A deployed chain with every sum in integers and one rounding between two layers.

    Requantization is float32, as in onnxruntime: the sum times (input scale x weight scale / output
    scale), rounded to even. Sums are taken in float64, which holds integers below 2^53 exactly.
    """

    def __init__(self, deployed):
        self.deployed = deployed
        self.nodes = deployed.graph.nodes

    def logits(self, images):
        codes, scale = None, None
        for address, node in self.nodes.items():
            op = node.op
            if isinstance(op, Input | Activation | Flatten):
                continue
            read = self.deployed.inputs[address, 0]
            if codes is None:
                steps = np.rint(images.numpy() / np.float32(read.scale))
                codes = self.cut(steps, read, (-np.inf, np.inf))
            sums, scale = self.sums(address, codes, np.float32(read.scale))
            after = list(self.nodes)[list(self.nodes).index(address) + 1 :]
            if not after:
                return (sums * scale).astype(np.float32)
            clamp = self.clamp_of(after[0])
            nearest = next(a for a in after if (a, 0) in self.deployed.inputs)
            written = self.deployed.inputs[nearest, 0]
            factor = (scale / np.float32(written.scale)).astype(np.float32)
            codes = self.cut(np.rint(sums.astype(np.float32) * factor), written, clamp)
        raise AssertionError("the chain has no end")

    def clamp_of(self, address):
        op = self.nodes[address].op
        high = {"relu": np.inf, "relu6": 6.0}.get(getattr(op, "function", ""))
        return (-np.inf, np.inf) if high is None else (0.0, high)

    def cut(self, steps, scale, clamp):
        """Codes minus their zero point, between the ends of the grid and of a clamp."""
        low, high = scale.bounds
        least, most = np.rint(np.array(clamp, np.float32) / np.float32(scale.scale))
        return np.clip(steps, max(low, least), min(high, most)).astype(np.float64)

    def sums(self, address, codes, read):
        """Integer sums and the float32 scale that makes them values."""
        op = self.nodes[address].op
        if isinstance(op, GlobalPool):
            count = np.float32(codes.shape[2] * codes.shape[3])
            return codes.sum((2, 3), keepdims=True), np.float32(read / count)
        weight, bias = (self.deployed.parameters[address][name] for name in ("weight", "bias"))
        column = (-1, *(1,) * (weight.codes.ndim - 1))
        held = torch.from_numpy((weight.codes - weight.zero_point.reshape(column)).astype(float))
        bias = torch.from_numpy(bias.codes.astype(float))
        x = torch.from_numpy(codes)
        if isinstance(op, Linear):
            sums, scale = F.linear(x.flatten(1), held.flatten(1), bias), read * weight.scale
        else:
            groups = x.shape[1] if isinstance(op, DepthwiseConv2d) else 1
            sums = F.conv2d(x, held, bias, op.stride, op.kernel // 2, groups=groups)
            scale = (read * weight.scale).reshape(-1, 1, 1)
        assert INT32.min <= sums.min() <= sums.max() <= INT32.max
        return sums.numpy(), scale.astype(np.float32)


VARIANTS = {
    "plain": {},
    "weights per tensor": {"weight_granularities": (PerTensor(),)},
    "weights asymmetric": {"weight_symmetries": (False,)},
    "activations symmetric": {"activation_symmetries": (True,)},
}


@pytest.mark.parametrize(
    ("bits", "variant"),
    [*((bits, "plain") for bits in (2, 3, 4, 5, 6)), *((8, name) for name in VARIANTS)],
)
def test_integer_files_equal_sums_of_integers(bits, variant, tmp_path):
    policy = Policy(weight_bits=(bits,), activation_bits=(bits,), **VARIANTS[variant])
    deployed, path = deployed_chain(policy), tmp_path / "chain.onnx"
    export_onnx(deployed, path)
    kernels = kernels_run(path)
    assert (kernels["QLinearConv"], kernels["QGemm"]) == (4, 1)
    assert not {"Conv", "FusedConv", "Gemm"} & set(kernels)
    (found,) = file_outputs(path, [{"image": IMAGES}])
    np.testing.assert_array_equal(found, Integers(deployed).logits(IMAGES))
