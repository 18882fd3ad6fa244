"""Post-training quantization: networks at any precision from float weights, without training.

Read the modules in this order: `float_network` (the network before any rounding), `observing` (the
numbers that arrive in a network), `reference` (the float network with its calibration batches),
`ranges` and `nearest` (the two rewrites that make numbers of few bits), `repair` (what these lose,
put back into scales and biases), and `post_training` (from a genotype to its deployed network).
Then `equalize` (channels scaled before anything is rounded) and `layerwise` (weights rounded by
what arrives at their layers) and `low_rank` (branches beside layers that make good what is lost).
"""

from supernets.post_training.float_network import float_network
from supernets.post_training.post_training import (
    Filling,
    Maker,
    OfLargest,
    PostTraining,
    Preserving,
)
from supernets.post_training.reference import Reference

__all__ = [
    "Filling",
    "Maker",
    "OfLargest",
    "PostTraining",
    "Preserving",
    "Reference",
    "float_network",
]
