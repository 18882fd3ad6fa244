"""A few kernels to be timed, and how long."""

from __future__ import annotations

from nas.targets.numerics import of_bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Add, BatchNorm2d, Conv2d, DepthwiseConv2d, Linear

RELU = Activation("relu")
SMALL = Kernel(Conv2d(16, 3), (BatchNorm2d(), RELU), ((16, 8, 8),))
LARGE = Kernel(Conv2d(32, 3), (BatchNorm2d(), RELU), ((32, 32, 32),))
DEPTHWISE = Kernel(DepthwiseConv2d(3), (BatchNorm2d(), RELU), ((16, 8, 8),))
HEAD = Kernel(Linear(10), (), ((64,),))
SUM = Kernel(Add(), (RELU,), ((16, 8, 8),) * 2)
INT8, FLOAT = of_bits(8, 8), of_bits(32, 32)
FAST = 2.0  # milliseconds for a kernel
