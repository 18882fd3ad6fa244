"""Operator specs: what a node computes, its output shape, its work and its parameters.

Read the modules in this order: `op` (the base of all operators), `sources` (the inputs of a
network), `window` (windows that move over images), then one file per kind of operator:
`convolution`, `linear`, `normalization`, `activations`, `arithmetic`, `pooling`, `structure`,
`attention`, `tokens`, `opaque` (what a traced network has besides); at last `widths` (values that
are computed from other placeholders).
"""

from search_spaces.ops.activations import Activation, Clamp, LeakyReLU, Nonlinearity
from search_spaces.ops.arithmetic import Add, Multiply, Scale
from search_spaces.ops.attention import MatMul, MergeHeads, Softmax, SplitHeads
from search_spaces.ops.convolution import Conv2d, Convolution, DepthwiseConv2d
from search_spaces.ops.linear import Linear
from search_spaces.ops.normalization import (
    Affine,
    BatchNorm2d,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    Standardize,
)
from search_spaces.ops.op import (
    Axis,
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
from search_spaces.ops.opaque import Argument, Fixed, Opaque, Outputs, Read, Samples, Word
from search_spaces.ops.pooling import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    GlobalPool,
    MaxPool2d,
    Mean,
    Pooling,
)
from search_spaces.ops.sources import Input, Resize
from search_spaces.ops.structure import Concat, DepthToSpace, Flatten, Pad, Permute, Reshape, Slice
from search_spaces.ops.tokens import Embedding, Learned, MeanTokens, PositionalEmbedding
from search_spaces.ops.widths import (
    at_least_one,
    deeper_than,
    group_count,
    inverse_root,
    padding_behind,
    scaled,
)
from search_spaces.ops.window import Window, Windowed

__all__ = [
    "Activation",
    "AdaptiveAvgPool2d",
    "Add",
    "Affine",
    "Argument",
    "AvgPool2d",
    "Axis",
    "BatchNorm2d",
    "Bounds",
    "Clamp",
    "Concat",
    "Conv2d",
    "Convolution",
    "DType",
    "DepthToSpace",
    "DepthwiseConv2d",
    "Embedding",
    "Fixed",
    "Flatten",
    "GlobalPool",
    "GroupNorm",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "Learned",
    "Linear",
    "MatMul",
    "MaxPool2d",
    "Mean",
    "MeanTokens",
    "MergeHeads",
    "Multiply",
    "Nonlinearity",
    "Op",
    "Opaque",
    "Outputs",
    "Pad",
    "Parameter",
    "Permute",
    "Pooling",
    "PositionalEmbedding",
    "RMSNorm",
    "Read",
    "Reshape",
    "Resize",
    "Role",
    "Samples",
    "Scale",
    "Shape",
    "Size",
    "Slice",
    "Softmax",
    "SplitHeads",
    "Standardize",
    "Window",
    "Windowed",
    "Word",
    "at_least_one",
    "deeper_than",
    "filled_up",
    "group_count",
    "inverse_root",
    "padding_behind",
    "per_channel",
    "scaled",
]
