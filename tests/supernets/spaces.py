"""Small spaces with every kind of choice, for the tests of this package."""

from __future__ import annotations

from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual

SIDE = 12

EVERY_PRECISION = Policy(
    weight_bits=(2, 3, 4, 6, 8, None),
    activation_bits=(2, 3, 4, 6, 8, None),
    weight_granularities=(PerTensor(), PerChannel()),
    weight_symmetries=(True, False),
    activation_symmetries=(True, False),
    fineness="layer",
)

RESIDUAL = residual(
    inputs=(Input("image", (3, SIDE, SIDE)),),
    output=(5,),
    image_sizes=(8, SIDE),
    widths=((4, 8), (4, 8), (8, 12)),
    depths=((1, 2), (1, 2)),
    kernels=(3, 5),
    policy=EVERY_PRECISION,
)
MOBILENET = mobilenet(
    inputs=(Input("image", (3, SIDE, SIDE)),),
    output=(5,),
    image_sizes=(8, SIDE),
    stages=(
        Stage(8, 1, squeeze_excite="choice"),
        Stage(16, 2, squeeze_excite=True, function="hardswish"),
    ),
    depths=(1, 2),
    kernels=(3, 5),
    expansions=(2, 3),
    width_multipliers=(0.5, 1.0),
    stem=8,
    stem_stride=1,
    head=16,
    policy=EVERY_PRECISION,
)
SPACES = {"residual": RESIDUAL, "mobilenet": MOBILENET}
