"""Operator specs: what a node computes, its output shape, its work and its parameters.

Read the modules in this order: `op` (the base of all operators), `sources` (the inputs of a
network), `window` (windows that move over images), then one file per kind of operator:
`convolution`, `linear`, `normalization`, `activations`, `arithmetic`, `pooling`, `structure`,
`attention`, `tokens`; at last `widths` (values that are computed from other placeholders).
"""

from search_spaces.ops.activations import Activation, LeakyReLU, Nonlinearity
from search_spaces.ops.arithmetic import Add, Multiply
from search_spaces.ops.attention import MatMul, MergeHeads, Softmax, SplitHeads
from search_spaces.ops.convolution import Conv2d, Convolution, DepthwiseConv2d
from search_spaces.ops.linear import Linear
from search_spaces.ops.normalization import (
    BatchNorm2d,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    Standardize,
)
from search_spaces.ops.op import (
    Bounds,
    DType,
    Op,
    Parameter,
    Role,
    Shape,
    Size,
    filled_up,
    per_channel,
)
from search_spaces.ops.pooling import AvgPool2d, GlobalPool, MaxPool2d, Pooling
from search_spaces.ops.sources import Input, Resize
from search_spaces.ops.structure import Concat, DepthToSpace, Flatten, Permute, Reshape
from search_spaces.ops.tokens import Embedding, MeanTokens, PositionalEmbedding
from search_spaces.ops.widths import deeper_than, group_count, inverse_root, scaled
from search_spaces.ops.window import Window, Windowed

__all__ = [
    "Activation",
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Bounds",
    "Concat",
    "Conv2d",
    "Convolution",
    "DType",
    "DepthToSpace",
    "DepthwiseConv2d",
    "Embedding",
    "Flatten",
    "GlobalPool",
    "GroupNorm",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MatMul",
    "MaxPool2d",
    "MeanTokens",
    "MergeHeads",
    "Multiply",
    "Nonlinearity",
    "Op",
    "Parameter",
    "Permute",
    "Pooling",
    "PositionalEmbedding",
    "RMSNorm",
    "Reshape",
    "Resize",
    "Role",
    "Shape",
    "Size",
    "Softmax",
    "SplitHeads",
    "Standardize",
    "Window",
    "Windowed",
    "deeper_than",
    "filled_up",
    "group_count",
    "inverse_root",
    "per_channel",
    "scaled",
]
