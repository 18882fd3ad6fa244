"""The error for networks that cannot be traced."""

from __future__ import annotations


class TraceError(ValueError):
    """The error for a network that cannot become a graph; the message is one sentence."""
