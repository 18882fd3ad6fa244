"""Sealing: rewriting an old or damaged journal with its sound records and new digests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.archive.journal import DIGEST, PREVIOUS, SEAL, read, sealed, written
from nas.archive.records import MAKE_STUDY, MAKE_TRIAL, record_problem
from nas.archive.trials import ArchiveError, restored_from
from nas.files.durable import write_atomic
from search_spaces.space import SearchSpace


@dataclass
class Sealing:
    """The outcome of sealing a journal.

    Attributes:
        evaluations: The number of evaluations that the archive holds.
        lost: The records that were left out, each with line and reason.
        copy: The path of the copy of the original file; `None` if nothing had to be done.
    """

    evaluations: int = 0
    lost: list[str] = field(default_factory=list)
    copy: Path | None = None


def seal_journal(path: Path, space: SearchSpace, *, study: str) -> Sealing:
    """Rewrite a journal with new digests for its sound records, and keep a copy of the original.

    A record is sound if it has the form that an archive writes, matches its digest if it has one,
    and, for an evaluation, belongs to the space. Other records are left out and reported.

    Args:
        path: The journal, which no other process uses.
        space: The space of the evaluations.
        study: The name of the run.

    Raises:
        WriteError: The folder cannot be written.
    """
    before = path.read_bytes()
    done = Sealing()
    records = _whole(before, space, study, done)
    lines, previous = [], ""
    for record in records:  # each as a write of its own, since all of them reached the disk
        [one] = sealed([record], previous)
        lines.append(written(one))
        previous = one[DIGEST]
    done.evaluations = sum(record["op_code"] == MAKE_TRIAL for record in records)
    if done.lost or not _chained(before):
        names = (path.with_name(f"{path.name}.{number}.before") for number in itertools.count(1))
        done.copy = next(name for name in names if not name.exists())
        write_atomic(done.copy, before)
        write_atomic(path, b"".join(lines))
    return done


def _whole(content: bytes, space: SearchSpace, study: str, done: Sealing) -> list[dict[str, Any]]:
    """The sound records of a journal, without place and digests; adds to `done.lost`."""
    records: list[dict[str, Any]] = []
    studies: dict[str, None] = {}
    previous: str | None = ""
    for number, line in enumerate(content.splitlines(), start=1):
        record, fault = read(line, None)
        bare = {name: value for name, value in record.items() if name not in SEAL}
        mine = bare.get("study_id") == [*studies, study].index(study)
        reason = fault.reason if fault is not None and fault.kind != "unsealed" else None
        reason = reason or record_problem(bare) or (_foreign(bare, space) if mine else None)
        if reason is not None:
            done.lost.append(f"line {number}: {reason}")
            previous = None
            continue
        if previous is not None and record.get(PREVIOUS, previous) != previous:
            done.lost.append(f"before line {number}: records are lost, or lines changed places")
        if bare["op_code"] == MAKE_STUDY:
            studies[bare["study_name"]] = None
        elif not studies:  # the first record is lost; there is usually one study
            records.append(_made(study))
            studies[study] = None
        records.append(bare)
        previous = record.get(DIGEST)
    return records


def _foreign(record: Mapping[str, Any], space: SearchSpace) -> str | None:
    """The reason why a trial of the run's study is no evaluation of the space, or `None`."""
    try:
        if record["op_code"] == MAKE_TRIAL:
            restored_from(record, space)
    except ArchiveError as error:
        return str(error)
    return None


def _made(study: str) -> dict[str, Any]:
    return {"op_code": MAKE_STUDY, "worker_id": "nas", "study_name": study, "directions": [1]}


def _chained(content: bytes) -> bool:
    previous = ""
    for line in content.splitlines(keepends=True):
        record, fault = read(line, previous)
        if fault is not None or not line.endswith(b"\n"):
            return False
        previous = record[DIGEST]
    return True
