"""Export: chosen subnets as files that runtimes execute, and checks of the files.

Read in this order: `containers` (where codes live), `writer` and `operators` (what is written),
`onnx` (the file), `policy` (what it really holds), `size` (its bytes foretold); `plain` (the same
network as source and integers); `form` and `forms` (every way out, behind one protocol), `check`
(any of them against the network).
"""

from nas.export.check import Verification, verify
from nas.export.containers import ExportError
from nas.export.form import Exporter, Opened, bytes_of
from nas.export.forms import FORMS, form_of, forms_for
from nas.export.onnx_model import OnnxReport, export_onnx
from nas.export.rehearsal import rehearse
from nas.export.size import ONNX_FUSION, onnx_bytes
from nas.export.stored_bits import read_policy
from nas.saturation import SaturationWarning

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
