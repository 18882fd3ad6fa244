"""Export: chosen subnets as files that runtimes execute, and checks of the files.

Read in this order: `containers` (types of integer codes), `writer`, `stored_weights` and
`onnx_operators` (what each operator becomes in an ONNX file), `onnx_network` and `onnx_model` (the
file), `statement` (what a file says of itself), `stored_bits` (the precision that a file really
holds), `size` (the number of bytes, foretold); `plain` (the same network as source and integers);
`form` and `forms` (every form of file behind one protocol), `check` (any file against its network).
"""

from nas.export.check import Verification, verify
from nas.export.containers import ExportError
from nas.export.form import Exporter, Opened, bytes_of
from nas.export.forms import FORMS, form_of, forms_for
from nas.export.onnx_model import OnnxReport, export_onnx
from nas.export.rehearsal import rehearse
from nas.export.size import ONNX_FUSION, onnx_bytes
from nas.export.stored_bits import read_policy
from nas.targets.saturation import SaturationWarning

__all__ = [
    "FORMS",
    "ONNX_FUSION",
    "ExportError",
    "Exporter",
    "OnnxReport",
    "Opened",
    "SaturationWarning",
    "Verification",
    "bytes_of",
    "export_onnx",
    "form_of",
    "forms_for",
    "onnx_bytes",
    "read_policy",
    "rehearse",
    "verify",
]
