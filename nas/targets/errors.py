"""The error for hardware targets that cannot be used."""

from __future__ import annotations


class TargetError(ValueError):
    """The error for a hardware target, target file or latency table that cannot be used.

    Its message says what to do.
    """
