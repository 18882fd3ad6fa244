"""Measuring latency tables.

Read in this order: `backend` (what times kernels), `table_loop`, `kernel_networks` (a kernel as a
small network), `kernel_models` (its ONNX file), `torch_programs` (its torch module), `timing` (how
something is timed), `beside` (what other layers read meanwhile), `onnx_runtime` and
`torch_runtime` (this machine), `rows_file` (a table that grows), `seam_models` and `seam_loop`
(kernels with their neighbours), `elsewhere` (other machines), `sampled` (large spaces).
"""

from nas.profiling.backend import Backend, NetworkBackend
from nas.profiling.onnx_runtime import OnnxRuntime
from nas.profiling.table_loop import profile

__all__ = ["Backend", "NetworkBackend", "OnnxRuntime", "profile"]
