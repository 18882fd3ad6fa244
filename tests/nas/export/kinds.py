"""Small spaces of kinds that are no plain convnets: groups, tokens, branches that are joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from nas.ort import onnxruntime
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    GroupNorm,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Permute,
    Reshape,
    deeper_than,
    group_count,
)
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace

CLASSES = 10


def grouped(policy: Policy) -> SearchSpace:
    """Groups of four channels, dilation, rectangles, every padding; a width decides the groups."""
    graph = Graph(Input("image", (1, 8, 8)))
    width = choice("width", (8, 16))
    graph.add("stem", Conv2d(width, (3, 2), padding=(1, 0, 1, 1), **policy.edge()))
    graph.add("stem.norm", BatchNorm2d())
    graph.add("stem.silu", Activation("silu", policy.tensor()))
    x = graph.output
    kernel = choice("block.kernel", ((3, 3), (5, 3)))
    bits = policy.layer("", "block", "conv")
    graph.add("block.conv", Conv2d(width, kernel, groups=group_count(width, 4), **bits))
    graph.add("block.norm", BatchNorm2d())
    graph.add("block.relu", Activation("relu"))
    graph.add("block.wide", DepthwiseConv2d(3, dilation=2, **policy.layer("", "block", "wide")))
    graph.add("block.wide.norm", BatchNorm2d())
    graph.add("block.add", Add(policy.tensor()), "block.wide.norm", x)
    graph.add("block.leaky", LeakyReLU(0.1))
    graph.add("down", Conv2d(width, 3, (2, 1), groups=2, bias=True, **policy.edge()))
    graph.add("down.norm", GroupNorm(2))
    graph.add("down.tanh", Activation("tanh", policy.tensor()))
    graph.add("pool", GlobalPool(policy.tensor()))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(CLASSES, **policy.edge()))
    return SearchSpace(graph, name="grouped")


def mixer(policy: Policy) -> SearchSpace:
    """Patches as tokens, mixed over places and over features (Tolstikhin et al. 2021)."""
    graph = Graph(Input("image", (1, 8, 8)))
    width, depth = choice("width", (8, 12)), choice("depth", (1, 2))
    graph.add("patches", Conv2d(width, 2, 2, padding=0, **policy.edge()))
    graph.add("patches.rows", Reshape((width, -1)))
    x = graph.add("patches.tokens", Permute((1, 0)))
    for b in range(2):
        here, there = f"block{b}", deeper_than(depth, b) if b else True
        graph.add(f"{here}.norm", LayerNorm(), x, present=there)
        graph.add(f"{here}.turned", Permute((1, 0)), present=there)
        mix = Linear(16, **policy.layer("", here, "places"))
        graph.add(f"{here}.places", mix, present=there)
        graph.add(f"{here}.gelu", Activation("gelu"), present=there)
        graph.add(f"{here}.back", Permute((1, 0)), present=there)
        graph.add(f"{here}.add", Add(policy.tensor()), f"{here}.back", x, present=there)
        y = graph.add(f"{here}.norm2", LayerNorm(), present=there)
        hidden = choice(f"{here}.hidden", (16, 24))
        graph.add(
            f"{here}.widen", Linear(hidden, **policy.layer("", here, "widen")), y, present=there
        )
        graph.add(f"{here}.gelu2", Activation("gelu", policy.tensor()), present=there)
        graph.add(
            f"{here}.narrow", Linear(width, **policy.layer("", here, "narrow")), present=there
        )
        x = graph.add(
            f"{here}.add2", Add(policy.tensor()), f"{here}.narrow", f"{here}.add", present=there
        )
    graph.add("norm", LayerNorm(), x)
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(CLASSES, **policy.edge()))
    return SearchSpace(graph, name="mixer")


def inception(policy: Policy) -> SearchSpace:
    """Branches of convolutions and poolings, joined by their channels (Szegedy et al. 2015)."""
    graph = Graph(Input("image", (1, 8, 8)))
    graph.add("stem", Conv2d(choice("stem.width", (8, 12)), 3, **policy.edge()))
    graph.add("stem.norm", BatchNorm2d())
    x = graph.add("stem.relu", Activation("relu"))
    ends: list[str] = []
    for branch, kernel in (("one", 1), ("three", 3)):
        width = choice(f"{branch}.width", (4, 8))
        op = Conv2d(width, kernel, **policy.layer("", branch, "conv"))
        graph.add(f"{branch}.conv", op, x)
        graph.add(f"{branch}.conv.norm", BatchNorm2d())
        ends.append(graph.add(f"{branch}.conv.relu", Activation("relu6")))
    graph.add("pooled", MaxPool2d(3, 1, padding=1, activation=policy.tensor()), x)
    ends.append(graph.add("pooled.conv", Conv2d(4, 1, **policy.layer("", "pooled", "conv"))))
    ends.append(graph.add("mean", AvgPool2d(3, 1, padding=(1, 1, 1, 1)), x))
    graph.add("join", Concat(4, policy.tensor()), *ends)
    graph.add("down", MaxPool2d((2, 3), 2, padding=(0, 1, 1, 1)))
    graph.add("down.mean", AvgPool2d(2, 1, (1, 0, 0, 1), policy.tensor()))
    graph.add("down.sigmoid", Activation("sigmoid"))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(CLASSES, **policy.edge()))
    return SearchSpace(graph, name="inception")


def exact_logits(path: Path, images: Tensor) -> np.ndarray:
    """What a file says, without the rounding of activations that onnxruntime adds by itself."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["output"], {"image": images.numpy()})[0])


KINDS = {"grouped": grouped, "mixer": mixer, "inception": inception}
