"""A run of seconds, and the command line called in this process, for the tests of whole runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nas.archive.archive import Archive
from nas.cli.main import main
from nas.evaluation.evaluation import Evaluation
from search_spaces.space import SearchSpace

TINY = """
[task]
kind = "digits"
limit = 128

[space]
family = "residual"
widths = [[4, 6], [6, 8]]
depths = [[1, 2]]

[space.policy]
weight_bits = [2, 4, 8]
activation_bits = [4, 8]
fineness = "network"

[training]
float_epochs = 3
quantized_epochs = 1
batch_size = 32
checkpoint_seconds = 0

[[targets]]
name = "edge-npu"

[[targets]]
name = "bit-serial"

[search]
searcher = "random"
budget = 8
batch = 4
proxies = 4
calibration_samples = 64

[compute]
device = "cpu"
threads = 1
"""


@dataclass(frozen=True)
class Outcome:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str


def nas(*arguments: str | Path) -> Outcome:
    """Run `nas ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["nas", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def settings(*overrides: str) -> Iterator[str]:
    """`--set` for each of the overrides."""
    for override in overrides:
        yield from ("--set", override)


def assert_refused(outcome: Outcome, *parts: str) -> None:
    """The call ended in one message that has all of `parts`, and in no traceback."""
    assert outcome.code == 1, outcome
    assert outcome.err.startswith("error: "), outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    for part in parts:
        assert part in outcome.err, (part, outcome.err)


def succeeded(outcome: Outcome) -> None:
    """The call did what it was asked for."""
    assert outcome.code == 0, outcome.err
    assert not outcome.err, outcome.err


def evaluations(folder: Path, *, study: str = "tiny") -> list[Evaluation]:
    """What a run folder's archive holds, in the order of its evaluation."""
    space = SearchSpace.from_json((folder / "space.json").read_text())
    return Archive(folder / "archive.journal", space, study=study).evaluations()


def measured(folder: Path) -> list[tuple[tuple[int, ...], dict[str, float]]]:
    """The genotypes of a run's archive with their metrics: what must not depend on any kill."""
    return [(one.genotype, dict(one.metrics)) for one in evaluations(folder)]
