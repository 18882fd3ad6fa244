"""Measurement of a latency table, on this machine or on another."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.profiling import Backend, NetworkBackend, OnnxRuntime, profile
from nas.profiling.backend import SeamBackend
from nas.profiling.elsewhere import read_folder
from nas.profiling.measured_target import Kernels, Refused, timed_by, write_target
from nas.profiling.onnx_runtime import Elsewhere
from nas.profiling.rows_file import PREDICTED
from nas.profiling.sampled import complete, sample
from nas.profiling.table_loop import BUDGET_MS
from nas.run.steps.correcting import measured, seamed
from nas.run.steps.this_machine import warn
from nas.targets import HardwareTarget, TargetError, load_target
from nas.targets.correction.correction import calibration_of, calibration_path
from nas.targets.coverage import suspicions
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey
from nas.terminal.display import Display, TerminalTable
from search_spaces.space import SearchSpace

_AROUND = 1.5  # loading models and timing empty ones, over timing kernels


@dataclass(frozen=True)
class Profiling:
    """A request for a latency table.

    Attributes:
        space: The space whose kernels the table must contain.
        base: The name or path of the target with the operators, formats and fusion of the table.
        path: The file of the table.
        target_file: The file of the target with this table; written if it is missing.
        budget_ms: The time to measure one kernel, in milliseconds.
        sample: The number of kernels to measure, if the others are to be predicted.
        seams: Whether kernels are also timed together with their neighbours, if the backend can.
        networks: The number of whole networks that calibrate the table; 0 for no calibration.
    """

    space: SearchSpace
    base: str | Path
    path: Path
    target_file: Path
    budget_ms: float = BUDGET_MS
    sample: int | None = None
    seams: bool = True
    networks: int = 0

    def measure(self, backend: Backend, display: Display) -> HardwareTarget:
        """Measure the missing kernels, and return the target with its table."""
        whole = self._whole(backend)
        base = load_target(self.base, unmeasured=True)
        if isinstance(backend, OnnxRuntime):
            warn(base, display)
        kernels, refused = timed_by(backend, kernels_of(self.space, base))
        for (operator, numerics), reason in refused.items():
            if not self._is_new():
                raise TargetError(f"{self.target_file} has {operator} at {numerics}; {reason}")
            display.say(f"left out: {operator} at {numerics}; {reason}")
        chosen = kernels if self.sample is None else sample(kernels, self.sample)
        display.say(overview(chosen, self._rows(), budget_ms=self.budget_ms))
        with display.stage("profile") as advance:
            profile(
                chosen,
                path=self.path,
                backend=backend,
                budget_ms=self.budget_ms,
                progress=functools.partial(advance, note=f"fused kernels through {backend.name}"),
            )
        target = self._finished(kernels, refused, display)
        if self.seams and isinstance(backend, SeamBackend):
            target = self._seamed(target, backend, display)
        if whole is None:
            return target
        measured(
            target, self.space, self.path, backend=whole, networks=self.networks, display=display
        )
        return load_target(self.target_file)

    def _seamed(
        self, target: HardwareTarget, backend: SeamBackend, display: Display
    ) -> HardwareTarget:
        """The target with its seams; a calibration of sums without seams keeps them out."""
        if calibration_of(target) is not None and target.seams is None:
            display.say(f"no seams: {calibration_path(self.path)} corrects sums without them")
        seamed(
            target,
            self.space,
            self.path,
            backend=backend,
            display=display,
            budget_ms=self.budget_ms,
        )
        return load_target(self.target_file)

    def _whole(self, backend: Backend) -> NetworkBackend | None:
        """The backend that measures whole networks; None if no calibration is asked for."""
        if not self.networks:
            return None
        if not isinstance(backend, NetworkBackend):
            raise TargetError(
                f"backend {backend.name!r} runs no whole networks, so it cannot calibrate; leave "
                "--calibrate out or use --backend onnxruntime"
            )
        return backend

    def read(self, folder: Path, display: Display) -> HardwareTarget:
        """Read measurements from another machine, and return the target with its table."""
        base = load_target(self.base, unmeasured=True, elsewhere=True)
        kernels, refused = timed_by(Elsewhere(), kernels_of(self.space, base))
        chosen = kernels if self.sample is None else sample(kernels, self.sample)
        read_folder(folder, chosen, path=self.path)
        return self._finished(kernels, refused, display)

    def _is_new(self) -> bool:
        return not self.target_file.exists()

    def _rows(self) -> set[KernelKey]:
        if not self.path.exists():
            return set()
        return set(LatencyTable.read(self.path, unfinished=True).rows)

    def _finished(self, kernels: Kernels, refused: Refused, display: Display) -> HardwareTarget:
        """Predict the kernels not measured, write the target, show a summary, return the target."""
        if self.sample is None:
            notes = LatencyTable.read(self.path).notes
        else:
            notes = complete(self.path, kernels).notes
        if self._is_new():
            write_target(
                self.target_file,
                base=self.base,
                refused=refused,
                notes=notes,
                source="nas profile: every fused kernel timed alone",
            )
        target = load_target(self.target_file)
        display.say(summary(target, notes, self.space))
        for words in suspicions(target):
            display.say(f"warning: {words}")
        display.say(f"table: {self.path}")
        named = f'  [[targets]]\n  name = "{self.target_file}"'
        display.say(f"target: {self.target_file}, in a recipe:\n{named}")
        return target


def kernels_of(space: SearchSpace, base: HardwareTarget) -> Kernels:
    """Every kernel of the space in all formats that the target `base` has for it."""
    found = base.natively(space)
    if not found:
        raise TargetError(f"target {base.name!r} runs no kernel of {space.name!r}; name another")
    return found


def overview(kernels: Kernels, rows: set[KernelKey], *, budget_ms: float) -> TerminalTable:
    """The number of rows to measure and the time that takes, as a table for the terminal."""
    keys = {KernelKey.of(kernel, numerics): numerics for kernel, numerics in kernels}
    wanted = Counter((key.operator, str(numerics)) for key, numerics in keys.items())
    there = Counter((key.operator, str(n)) for key, n in keys.items() if key in rows)
    left = wanted.total() - there.total()
    seconds = left * budget_ms * _AROUND / 1e3
    title = f"{wanted.total()} kernels, {left} to measure: about {math.ceil(seconds)} s"
    table = TerminalTable(("operator", "formats", "kernels", "measured"), title=title)
    for (operator, numerics), count in sorted(wanted.items()):
        table.add_row(operator, numerics, str(count), str(there[operator, numerics]))
    return table


def summary(target: HardwareTarget, notes: Mapping[str, str], space: SearchSpace) -> str:
    """A summary of a finished latency table for the space, as text."""
    ends = np.array([space.smallest, space.largest])
    smallest, largest = target.compile(space)["latency_ms"](ends)
    conditions = ", ".join(notes[name] for name in ("device", "runtime") if name in notes)
    predicted = f"\npredicted: {notes[PREDICTED]}" if PREDICTED in notes else ""
    return (
        f"{conditions}, {notes.get('threads', '?')} threads: smallest subnet {smallest:.4g} ms, "
        f"largest {largest:.4g} ms{predicted}"
    )
