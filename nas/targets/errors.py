"""What goes wrong with hardware targets."""

from __future__ import annotations


class TargetError(ValueError):
    """A hardware target, its file or its table cannot be used; the message says what to do."""
