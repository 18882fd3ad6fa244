"""The ONNX nodes of each operator: a case of `write` per operator.

`site` holds `write`, and each other file the cases of a group of operators.
"""

# ruff: noqa: F401  # the imported files register their cases

from nas.export.onnx_operators import (
    attention,
    normalization,
    opaque,
    pointwise,
    sources,
    structure,
    weighted,
    windows,
)
from nas.export.onnx_operators.opaque import prepare
from nas.export.onnx_operators.pointwise import is_clamp
from nas.export.onnx_operators.site import Site, is_writable, write
from nas.export.onnx_operators.weighted import is_sound

__all__ = ["Site", "is_clamp", "is_sound", "is_writable", "prepare", "write"]
