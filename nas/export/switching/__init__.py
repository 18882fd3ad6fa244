"""Export of a network that changes its bit-widths while it runs, as one ONNX file.

`shared` holds what the precisions of a network have in common, and `switching_model` writes the
file.
"""

from nas.export.switching.shared import Switching
from nas.export.switching.switching_model import BITS, export_switching

__all__ = ["BITS", "Switching", "export_switching"]
