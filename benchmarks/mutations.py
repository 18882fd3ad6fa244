"""Damaged files of every kind, read as the command line reads them.

    python -m benchmarks.mutations [--cases 1300] [--seed 0] [--kind archive ...]
    python -m benchmarks.mutations --kind archive --seed 0 --case 17    # one case, in full

Every case damages one file of a small valid sample in one seeded way and reads it by the function
that a user's command calls. A case is counted as

- refused: an error that `nas` shows as a sentence;
- harmless: the content is as before, or other content that such a file may hold; for an archive,
  the content before its last evaluations;
- foreign: any other exception, or the end of the process;
- wrong: accepted although a checksum covers the changed part, or with values that no file may hold;
- hang: more than 10 s of processor time, or two minutes.

Every kind runs in processes of its own. A process that asks for 6 GiB more memory than it had at
the beginning gets a `MemoryError`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.mutation_formats import damaged
from benchmarks.mutation_kinds import KINDS, Kind, OutOfDomain, Trust
from benchmarks.mutation_samples import Samples
from nas.cli.main import expected

DEADLINE_S, PATIENCE_S, MEMORY = 10.0, 120.0, 6 << 30
LEGAL = ("refused", "harmless")
Case = tuple[str, int]  # kind and number
OUTCOMES = (*LEGAL, "foreign", "wrong", "hang")


class Hang(BaseException):
    """The signal that a reader did not end in time; no reader catches it."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case.

    Attributes:
        kind: The kind of the damaged file.
        case: The number of the case.
        what: One of `OUTCOMES`.
        damage: The file and the way of damage.
        message: The error of the reader, or the fault that was found.
    """

    kind: str
    case: int
    what: str
    damage: str
    message: str = ""


class Cases:
    """The cases of one kind.

    Args:
        kind: A name in `KINDS`.
        seed: The seed of all cases.
        samples: The undamaged files.
        work: A folder for the damaged file.
    """

    def __init__(self, kind: str, seed: int, samples: Samples, work: Path) -> None:
        self.name, self._seed, self._samples, self._work = kind, seed, samples, work
        self._kind: Kind = KINDS[kind]
        with self._folder() as folder:
            self._expected: Any = self._kind.read(samples, folder)

    def __call__(self, case: int, *, trace: bool = False) -> Outcome:
        """Damage a file, read it, judge the result; depends on kind, seed and case only."""
        rng = np.random.default_rng([self._seed, zlib.crc32(self.name.encode()), case])
        with self._folder() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            files = sorted(path for glob in self._kind.files for path in folder.glob(glob))
            path = files[int(rng.integers(len(files)))]
            way, content = damaged(path.read_bytes(), path, rng)
            path.write_bytes(content)
            if trace:
                Path(path.name).write_bytes(content)
            trust: Trust = "legal" if way.resealed else self._kind.trust
            what, message = self._judged(folder, trust, trace=trace)
        return Outcome(self.name, case, what, f"{path.name}: {way.name}", message)

    def _judged(self, folder: Path, trust: Trust, *, trace: bool) -> tuple[str, str]:
        signal.setitimer(signal.ITIMER_PROF, DEADLINE_S)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        try:
            found = self._kind.read(self._samples, folder)
        except expected() as error:
            return ("refused", str(error)) if str(error) else ("foreign", "an error without a word")
        except OutOfDomain as error:
            return "wrong", str(error)
        except Hang:
            return "hang", ""
        except Exception as error:  # noqa: BLE001  # any other exception is what we look for
            if trace:
                traceback.print_exc()
            return "foreign", f"{type(error).__name__}: {error} {_where(error)}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self._accepted(found, trust)

    def _accepted(self, found: Any, trust: Trust) -> tuple[str, str]:
        if trust == "legal" or found == self._expected:
            return "harmless", ""
        if trust == "earlier" and found == self._expected[: len(found)]:
            return "harmless", ""
        return "wrong", f"accepted as {str(found)[:200]}"

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = self._work / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._samples.root / self._kind.sample, folder)
        yield folder


def _where(error: Exception) -> str:
    """The last line of the engine that an exception passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        f for f in frames if "site-packages" not in f.filename and "benchmarks" not in f.filename
    ]
    last = ours[-1] if ours else frames[-1]
    return f"({Path(last.filename).name}:{last.lineno} {last.name})"


@contextlib.contextmanager
def prepared(seed: int) -> Iterator[Callable[[str], Cases]]:
    """A context with the cases of every kind over one set of samples, with an alarm on hangs."""

    def ring(_signal: int, _frame: object) -> None:
        raise Hang

    before = {kind: signal.signal(kind, ring) for kind in (signal.SIGPROF, signal.SIGALRM)}
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "samples").mkdir()
            samples = Samples(Path(root) / "samples")
            yield functools.cache(lambda kind: Cases(kind, seed, samples, Path(root)))
    finally:
        logging.disable(logging.NOTSET)
        for kind, handler in before.items():
            signal.signal(kind, handler)


def stream(seed: int) -> None:
    """Run the cases that standard input names; print a line before and after each."""
    torch.set_num_threads(1)
    with prepared(seed) as cases_of:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        out, sys.stdout = sys.stdout, sys.stderr
        for kind, case in json.load(sys.stdin):
            print("begun", file=out, flush=True)
            print(json.dumps(vars(cases_of(kind)(case))), file=out, flush=True)


def watched(cases: Sequence[Case], seed: int) -> list[Outcome]:
    """The outcomes of all cases; a process that dies or hangs is replaced."""
    found: list[Outcome] = []
    while len(found) < len(cases):
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.mutations", "--seed", str(seed), "--stream"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps(cases[len(found) :]))
        child.stdin.close()
        begun = _followed(child, found)
        if begun:
            kind, case = cases[len(found)]
            code = child.wait()
            what = "hang" if code == -signal.SIGKILL else "foreign"
            _keep(Outcome(kind, case, what, "", f"the process ended with {code}"), found)
        elif child.wait():
            raise RuntimeError(f"no case began: {child.args}")
    return found


def _keep(outcome: Outcome, found: list[Outcome]) -> None:
    found.append(outcome)
    if outcome.what not in LEGAL:
        where = f"{outcome.kind} {outcome.case} {outcome.what}: {outcome.damage}"
        print(f"{where}: {outcome.message[:300]}", file=sys.stderr, flush=True)


def _followed(child: subprocess.Popen[str], found: list[Outcome]) -> bool:
    """Add the outcomes of a process to `found`, and say whether the process ended within a case."""
    begun = False
    assert child.stdout is not None
    silent = threading.Timer(0, child.kill)
    for line in child.stdout:
        silent.cancel()
        silent = threading.Timer(2 * PATIENCE_S, child.kill)  # a hang that no alarm ends
        silent.start()
        begun = not line.startswith("{")
        if not begun:
            _keep(Outcome(**json.loads(line)), found)
    silent.cancel()
    return begun


def table(found: Sequence[Outcome]) -> str:
    """The Markdown table: a row per kind, and one for all kinds."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in found:
        counts[outcome.kind][outcome.what] += 1
    rows = [(kind, counts[kind]) for kind in KINDS if kind in counts]
    rows.append(("all", sum((count for _, count in rows), Counter())))
    lines = [f"| kind | tried | {' | '.join(OUTCOMES)} |", f"| --- {'| ---: ' * 6}|"]
    for kind, count in rows:
        cells = " | ".join(f"{count[what]:,}" for what in OUTCOMES)
        lines.append(f"| {kind} | {count.total():,} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; faults go to the standard error output."""
    parser = argparse.ArgumentParser(description="Damaged files of every kind, read.")
    parser.add_argument("--cases", type=int, default=1300, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--case", type=int, help="run this one alone, and tell all of it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.stream:
        stream(options.seed)
        return
    kinds: list[str] = options.kind or list(KINDS)
    if options.case is not None:
        with prepared(options.seed) as cases_of:
            print(cases_of(kinds[0])(options.case, trace=True))
        return
    cases = [(kind, case) for kind in kinds for case in range(options.cases)]
    shares = [cases[job :: options.jobs] for job in range(options.jobs)]
    with ThreadPoolExecutor(options.jobs) as pool:
        tried = pool.map(functools.partial(watched, seed=options.seed), shares)
        found = [outcome for outcomes in tried for outcome in outcomes]
    print(table(found))
    print(f"\nSeed {options.seed}.")
    if any(outcome.what not in LEGAL for outcome in found):
        sys.exit("there are faults")


if __name__ == "__main__":
    main()
