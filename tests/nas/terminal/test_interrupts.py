"""A signal ends the command line in one line with its exit code, whenever it comes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.terminal.interrupts import Interruptible, loading

ROOT = Path(__file__).parents[3]
# The command line sends itself a signal where an imported module begins.
AT_IMPORT = """
import os, sys

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Strike())
sys.argv = ["nas", "targets"]
from nas.__main__ import main
main()
"""


# Tests may run in the background of a shell, where SIGINT is ignored.
RESTORED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.fixture(autouse=True)
def _not_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ended(script: str) -> tuple[int, str]:
    given = subprocess.run(
        [sys.executable, "-c", RESTORED + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return given.returncode, given.stderr


def test_garbage_that_was_put_off_is_collected_again_after_loading() -> None:
    with loading():
        assert gc.isenabled()
    gc.disable()
    try:
        with loading():
            assert not gc.isenabled()
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["typer", "numpy", "nas.cli.targets"])
def test_while_modules_load(number: signal.Signals, module: str) -> None:
    code, told = ended(AT_IMPORT.format(module=module, number=int(number)))
    assert (code, told) == (128 + number, "stopped\n")


def test_a_library_that_loads_cannot_swallow_a_signal() -> None:
    script = """
import os, signal
from nas.terminal.interrupts import Interruptible, loading
with Interruptible("stopped: kept"), loading():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        print("swallowed")
"""
    assert ended(script) == (128 + signal.SIGINT, "stopped\n")


def test_after_loading_a_signal_is_handled_as_before() -> None:
    with Interruptible("stopped: kept"):
        before = signal.getsignal(signal.SIGINT)
        with loading():
            assert signal.getsignal(signal.SIGINT) != before
        assert signal.getsignal(signal.SIGINT) == before


def test_an_ignored_signal_stays_ignored() -> None:
    """As under `nohup`, or in the background of a shell script."""
    script = AT_IMPORT.format(module="typer", number=int(signal.SIGINT))
    before = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert ended(before + script)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, ImportError, SystemExit])
def test_at_work_all_is_closed_whatever_a_library_makes_of_it(
    number: signal.Signals, raised: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    before, closed = signal.getsignal(number), []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt as error:
            closed.append("closed")
            raise raised from error

    with pytest.raises(SystemExit) as end, Interruptible("stopped: kept"):
        work()
    assert end.value.code == 128 + number
    assert capfd.readouterr().err == "stopped: kept\n"
    assert closed == ["closed"]
    assert signal.getsignal(number) is before


def test_without_a_signal_an_error_is_itself() -> None:
    with pytest.raises(ImportError), Interruptible("stopped"):
        raise ImportError
    with pytest.raises(SystemExit, match="1"), Interruptible("stopped"):
        sys.exit(1)


def test_a_second_signal_ends_at_once() -> None:
    script = """
import os, signal
from nas.terminal.interrupts import Interruptible
with Interruptible("stopped: kept"):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("not reached")
"""
    assert ended(script) == (128 + signal.SIGTERM, "stopped\n")
