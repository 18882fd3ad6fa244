"""A user's own trained network as a graph with its weights, by `torch.export`.

Read the modules in this order: `trace` (the call and what it gives), `checks` (what a model must
be), `program` (the calls of torch that a model makes), `layout` (where the batch lies), `builder`
(the graph that is built), `site` and `rules` (how a call becomes operators), `opaque` (calls that
no operator computes), `tracer` and `finish`; `outputs` has the outputs by name.
"""

from supernets.tracing.errors import TraceError
from supernets.tracing.outputs import unpacked
from supernets.tracing.trace import Traced, trace

__all__ = ["TraceError", "Traced", "trace", "unpacked"]
