"""Signals that end the process with one line of text and the exit code of the signal.

This module imports only modules that load at once, since a signal may come while others load.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import NoReturn

_ENDING = (signal.SIGINT, signal.SIGTERM)
_BASE = 128  # a shell adds this to the number of a signal
# Exit codes of libraries that have caught a signal themselves: typer, and the handler of Ray.
_TOLD = {_BASE + signal.SIGINT: signal.SIGINT, int(signal.SIGTERM): signal.SIGTERM}


def end_at_once() -> None:
    """From now on, let a signal end the process immediately; for the time before any work."""
    _handle(_end)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """A context for loading modules, in which a signal ends the process immediately.

    An exception instead could be caught by a library that tries which modules it can import. If
    the collection of garbage was put off, it begins afterwards and passes over what was loaded.
    """
    before = _handlers()
    _handle(_end)
    try:
        yield
    finally:
        _restore(before)
        if not gc.isenabled():
            gc.freeze()
            gc.enable()


class Interruptible:
    """A context in which a signal raises `KeyboardInterrupt`, so that files are closed and kept.

    The process then ends with one line of text and the exit code of the signal, even if a library
    has turned the exception into another. A second signal ends the process immediately.

    Args:
        message: The line, for the standard error output.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._received: int | None = None

    def __enter__(self) -> None:
        self._before = _handlers()
        _handle(self._interrupt)

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        _restore(self._before)
        received = self._received
        if received is None and isinstance(error, SystemExit) and isinstance(error.code, int):
            received = _TOLD.get(error.code)
        if received is None and isinstance(error, KeyboardInterrupt):
            received = signal.SIGINT
        if error is not None and received is not None:
            sys.stderr.write(f"{self._message}\n")
            raise SystemExit(_BASE + received) from None

    def _interrupt(self, number: int, _: FrameType | None) -> NoReturn:
        self._received = number
        _handle(_end)
        raise KeyboardInterrupt


def _handlers() -> dict[int, signal._HANDLER]:
    return {number: signal.getsignal(number) for number in _ENDING}


def _restore(handlers: Mapping[int, signal._HANDLER]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _handle(handler: signal._HANDLER) -> None:
    """Set `handler` for all signals that are not ignored; `nohup` and shells ignore some."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    os.write(2, b"stopped\n")
    os._exit(_BASE + number)
