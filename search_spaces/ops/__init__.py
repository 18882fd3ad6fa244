"""Operator specs: what a node computes, its output shape, its work and its parameters.

Read in this order: `op` (what every operator tells), `sources` (what the network reads), then one
file per kind of operator: `convolution`, `linear`, `normalization`, `activations`, `arithmetic`,
`pooling`; `widths` (placeholders computed from others).
"""

from search_spaces.ops.activations import Activation, Nonlinearity
from search_spaces.ops.arithmetic import Add, Multiply
from search_spaces.ops.convolution import Conv2d, DepthwiseConv2d
from search_spaces.ops.linear import Linear
from search_spaces.ops.normalization import BatchNorm2d
from search_spaces.ops.op import Bounds, Op, Parameter, Role, Shape, Size, per_channel
from search_spaces.ops.pooling import GlobalPool
from search_spaces.ops.sources import Image, Input
from search_spaces.ops.widths import deeper_than, scaled

__all__ = [
    "Activation",
    "Add",
    "BatchNorm2d",
    "Bounds",
    "Conv2d",
    "DepthwiseConv2d",
    "GlobalPool",
    "Image",
    "Input",
    "Linear",
    "Multiply",
    "Nonlinearity",
    "Op",
    "Parameter",
    "Role",
    "Shape",
    "Size",
    "deeper_than",
    "per_channel",
    "scaled",
]
