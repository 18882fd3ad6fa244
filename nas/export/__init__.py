"""Chosen subnets as files that runtimes execute, checked against the networks they came from.

Read in this order: `containers` (where codes live), `writer` and `operators` (what is written),
`onnx` (the file), `policy` and `check` (what the file really holds), `size` (its bytes foretold).
"""

from nas.export.check import Verification, verify
from nas.export.containers import ExportError
from nas.export.onnx import OnnxReport, export_onnx
from nas.export.policy import read_policy
from nas.export.size import ONNX_FUSION, onnx_bytes

__all__ = [
    "ONNX_FUSION",
    "ExportError",
    "OnnxReport",
    "Verification",
    "export_onnx",
    "onnx_bytes",
    "read_policy",
    "verify",
]
