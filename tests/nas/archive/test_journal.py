"""What a journal's records must be, whoever wrote them, and what becomes of those that are not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from nas.archive.archive import Archive, ArchiveError
from nas.archive.journal import sealed, written
from nas.archive.sealing import seal_journal
from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation
from nas.testing.archive import evaluated
from search_spaces.space import SearchSpace
from tests.nas.spaces import small_space

HEAD = 3  # lines before the first evaluation


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return small_space()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.journal"


@pytest.fixture
def evaluations(path: Path, space: SearchSpace) -> list[Evaluation]:
    """Six of them, in a journal by three writes."""
    archive, found = Archive(path, space, study="net"), evaluated(space, 6)
    seen = Answers.of(100.0 * (np.arange(10) < 3), 10)
    found[0] = Evaluation(*[getattr(found[0], n) for n in FIELDS], answers=seen)
    archive.append(found[0])
    archive.append(*found[1:3])
    archive.append(*found[3:])
    return found


FIELDS = ("genotype", "metrics", "seed", "seconds", "where")


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("line", range(8))
def test_a_line_lost_before_the_last_is_told(
    path: Path, space: SearchSpace, evaluations: list[Evaluation], line: int
) -> None:
    lines = lines_of(path)
    del lines[line]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ArchiveError, match=f"line {line + 1}: it does not follow"):
        Archive(path, space, study="net")
    assert lines_of(path) == lines, "nothing is cut from a file that needs a human"


@pytest.mark.parametrize(("one", "other"), [(3, 4), (4, 8), (7, 8), (5, 6), (1, 2)])
def test_two_lines_that_changed_places_are_told(
    path: Path, space: SearchSpace, evaluations: list[Evaluation], one: int, other: int
) -> None:
    lines = lines_of(path)
    lines[one], lines[other] = lines[other], lines[one]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ArchiveError, match=f"line {one + 1}: it does not follow"):
        Archive(path, space, study="net")


def test_a_line_that_stands_twice_is_told(
    path: Path, space: SearchSpace, evaluations: list[Evaluation]
) -> None:
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines, lines[-1]]))
    with pytest.raises(ArchiveError, match="line 10: it does not follow"):
        Archive(path, space, study="net")


@pytest.mark.parametrize("line", [0, 4, 8])
def test_a_record_without_a_seal_is_told_and_not_cut(
    path: Path, space: SearchSpace, evaluations: list[Evaluation], line: int
) -> None:
    lines = lines_of(path)
    lines[line] = written(bare(lines[line]))
    path.write_bytes(b"".join(lines))
    with pytest.raises(ArchiveError, match=rf"from line {line + 1} on: .*nas archive seal"):
        Archive(path, space, study="net")
    assert lines_of(path) == lines


def test_what_another_program_appends_while_an_archive_is_open_is_told(
    path: Path, space: SearchSpace, evaluations: list[Evaluation]
) -> None:
    archive = Archive(path, space, study="net")
    JournalFileBackend(str(path)).append_logs(
        [{"op_code": 9, "worker_id": "x", "trial_id": 0, "system_attr": {"note": "good"}}]
    )
    for action in (archive.refresh, lambda: archive.append(*evaluated(space, 7))):
        with pytest.raises(ArchiveError, match="line 10 on: it has no digest"):
            action()


def bare(line: bytes) -> dict[str, Any]:
    record = json.loads(line)
    for name in ("place", "previous", "digest"):
        del record[name]
    return record


Change = Callable[[dict[str, Any]], object]


def held(name: str, value: object) -> Change:
    return lambda record: record["user_attrs"].update({name: value})


def answers(**changed: object) -> Change:
    return lambda record: record["user_attrs"]["answers"].update(changed)


def params(change: Callable[[dict[str, Any]], object]) -> Change:
    return lambda record: change(record["params"])


CHANGES: dict[str, Change] = {
    "a state that is not complete": lambda r: r.update(state=3),
    "a state that is none": lambda r: r.update(state=True),
    "an operation of another program": lambda r: r.update(op_code=9),
    "no study": lambda r: r.update(study_id=7),
    "a study below 0": lambda r: r.update(study_id=-1),
    "a value that is not the error": lambda r: r.update(value=0.5),
    "a value that is no number": lambda r: r.update(value="0.5"),
    "a value that is not finite": lambda r: r.update(value=float("nan")),
    "several values": lambda r: r.update(values=[1.0, 2.0]),
    "a key that nobody knows": lambda r: r.update(extra=1),
    "a key that is missing": lambda r: r.pop("datetime_start"),
    "a time that is none": lambda r: r.update(datetime_complete="yesterday"),
    "a step of a training": lambda r: r.update(intermediate_values={"0": 1.0}),
    "options that are none": lambda r: r["distributions"].update({next(iter(r["params"])): "{}"}),
    "options without end": lambda r: r["distributions"].update(
        {next(iter(r["params"])): "[" * 9999}
    ),
    "a choice of another space": params(lambda p: p.update(extra=0)),
    "a choice that is missing": params(lambda p: p.popitem()),
    "an option that is not there": params(lambda p: p.update({next(iter(p)): 99})),
    "an option below 0": params(lambda p: p.update({next(iter(p)): -1})),
    "an option that is no number": params(lambda p: p.update({next(iter(p)): "4"})),
    "an option that is not whole": params(lambda p: p.update({next(iter(p)): 0.5})),
    "no metrics": lambda r: r["user_attrs"].pop("metrics"),
    "metrics without error": held("metrics", {"loss": 1.0}),
    "a metric that is not finite": held("metrics", {"error": float("inf"), "loss": 1.0}),
    "a metric that is text": held("metrics", {"error": 1.0, "loss": "low"}),
    "a metric that differs from its copy": held("loss", -1.0),
    "a metric that nobody knows": held("accuracy", 99.0),
    "a seed that is not whole": held("seed", 1.5),
    "a seed below 0": held("seed", -1),
    "a time below 0": held("seconds", -1.0),
    "a time without end": held("seconds", float("inf")),
    "a place that is no text": held("where", 7),
    "answers that are none": held("answers", None),
    "more answers than bits": answers(seen=100),
    "fewer answers than bits": answers(seen=1),
    "answers of no images": answers(seen=0, wrong=""),
    "a whole of no images": answers(whole=0),
    "a number of images that is true": answers(whole=True),
    "bits that are none": answers(wrong="%%%="),
    "bits in two ways": answers(wrong="4AA=\n"),
    "bits and numbers": answers(losses="AACAPw=="),
    "neither bits nor numbers": answers(wrong=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_that_no_archive_writes_is_told_even_if_it_is_sealed(
    path: Path, space: SearchSpace, evaluations: list[Evaluation], change: Change
) -> None:
    records = [bare(line) for line in lines_of(path)]
    change(records[HEAD])
    path.write_bytes(b"".join(map(written, sealed(records, ""))))
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match=r"archive\.journal is damaged in line 4: ") as caught:
        Archive(path, space, study="net")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_genotype_that_is_not_canonical_is_told(path: Path, space: SearchSpace) -> None:
    archive = Archive(path, space, study="net")
    archive.append(Evaluation(space.smallest, {"error": 1.0}, 0, 0.0, "here"))
    records = [bare(line) for line in lines_of(path)]
    closed = next(
        made.name
        for made, is_open in zip(space.choices, space.active(space.smallest), strict=True)
        if not is_open
    )
    records[HEAD]["params"][closed] = 1
    path.write_bytes(b"".join(map(written, sealed(records, ""))))
    with pytest.raises(ArchiveError, match=r"line 4: .* is not canonical"):
        Archive(path, space, study="net")


def test_a_metric_may_not_take_the_name_of_what_an_archive_keeps(
    path: Path, space: SearchSpace
) -> None:
    archive = Archive(path, space, study="net")
    for name in ("answers", "digest", "metrics", "seed", "seconds", "where"):
        with pytest.raises(ArchiveError, match=f"a metric called '{name}'"):
            archive.append(Evaluation(space.smallest, {"error": 1.0, name: 2.0}, 0, 0.0, "here"))
    assert len(Archive(path, space, study="net")) == 0


def test_optuna_reads_a_chained_journal(
    path: Path, space: SearchSpace, evaluations: list[Evaluation]
) -> None:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="net", storage=storage)
    assert [t.value for t in study.trials] == [e.metrics["error"] for e in evaluations]


def test_writers_and_readers_at_once_see_one_chain(path: Path, space: SearchSpace) -> None:
    Archive(path, space, study="net")
    found = evaluated(space, 60)
    reader = Archive(path, space, study="net")

    def write(mine: list[Evaluation]) -> None:
        archive = Archive(path, space, study="net")
        for evaluation in mine:
            archive.append(evaluation)

    writers = [threading.Thread(target=write, args=(found[start::3],)) for start in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        reader.refresh()
    reader.refresh()
    assert {e.genotype: e for e in reader.evaluations()} == {e.genotype: e for e in found}
    assert Archive(path, space, study="net").evaluations() == reader.evaluations()


def test_sealing_keeps_what_is_whole_and_says_what_is_lost(
    path: Path, space: SearchSpace, evaluations: list[Evaluation]
) -> None:
    lines = lines_of(path)
    broken = [*lines[:4], b"{]\n", lines[5], lines[7], lines[6]]
    path.write_bytes(b"".join(broken))
    done = seal_journal(path, space, study="net")
    assert done.lost == [
        "line 5: it is no JSON",
        "before line 7: records are lost, or lines changed places",
        "before line 8: records are lost, or lines changed places",
    ]
    assert done.copy is not None
    assert done.copy.read_bytes() == b"".join(broken)
    kept = [evaluations[at] for at in (0, 2, 4, 3)]
    assert done.evaluations == 4
    archive = Archive(path, space, study="net")
    assert archive.evaluations() == kept
    archive.append(*evaluations)
    assert len(Archive(path, space, study="net")) == 6
    again = seal_journal(path, space, study="net")
    assert (again.lost, again.copy, again.evaluations) == ([], None, 6)


def test_sealing_leaves_out_what_is_no_evaluation_and_the_notes_of_others(
    path: Path, space: SearchSpace, evaluations: list[Evaluation]
) -> None:
    records = [bare(line) for line in lines_of(path)]
    records[5]["params"].popitem()
    note = {"op_code": 9, "worker_id": "x", "trial_id": 0, "system_attr": {"note": "good"}}
    path.write_bytes(b"".join(map(written, [*records, note])))
    done = seal_journal(path, space, study="net")
    assert [words.split(":")[0] for words in done.lost] == ["line 6", "line 10"]
    assert Archive(path, space, study="net").evaluations() == [*evaluations[:2], *evaluations[3:]]


def test_sealing_makes_a_study_whose_first_record_is_lost(
    path: Path, space: SearchSpace, evaluations: list[Evaluation]
) -> None:
    path.write_bytes(b"\x00" * 30 + b"\n" + b"".join(lines_of(path)[1:]))
    assert len(seal_journal(path, space, study="net").lost) == 1
    assert Archive(path, space, study="net").evaluations() == evaluations
