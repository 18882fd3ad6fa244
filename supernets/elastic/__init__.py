"""Operators in torch: the slices of shared parameters, the computation, and the stock layer.

A new operator adds a case to `compute`, and a case to `stock` if torch has a layer for the
operator. The part of a shared parameter that a subnet uses follows from the roles of its axes:
`corner` takes the first channels and the centre of a window. `dispatch` holds these functions, and
each other file the cases of a group of operators.
"""

# ruff: noqa: F401  # the imported files register their cases

from supernets.elastic import (
    attention,
    linear,
    normalization,
    opaque,
    pointwise,
    sources,
    structure,
    windows,
)
from supernets.elastic.dispatch import (
    Tensors,
    compute,
    corner,
    first_of_runs,
    is_bare,
    layer_of,
    sliced,
    statistics,
    stock,
)

__all__ = [
    "Tensors",
    "compute",
    "corner",
    "first_of_runs",
    "is_bare",
    "layer_of",
    "sliced",
    "statistics",
    "stock",
]
