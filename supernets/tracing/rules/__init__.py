"""The rules by which calls of torch become operators, one file per group of operators."""

# ruff: noqa: F401  # the imported files register their rules

from supernets.tracing.rules import (
    attention,
    elementwise,
    norms,
    products,
    shapes,
    slices,
    windows,
)
