from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileBackend

from nas.archive.archive import Archive, ArchiveError
from nas.archive.sealing import seal_journal
from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation
from nas.files.durable import WriteError
from nas.testing.archive import ArchiveContract, evaluated
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from tests.nas import spaces

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def tiny_space() -> SearchSpace:
    """Its records are short."""
    return spaces.tiny_space()


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return spaces.small_space()


@pytest.fixture(scope="module")
def other_space() -> SearchSpace:
    return spaces.small_space(channels=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.journal"


@pytest.fixture
def location(path: Path) -> str:
    return str(path)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of rounds, none of which is about power cuts."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def filled(path: Path, space: SearchSpace, count: int) -> list[Evaluation]:
    archive = Archive(path, space, study="net")
    evaluations = evaluated(space, count)
    for evaluation in evaluations:
        archive.append(evaluation)
    return evaluations


class TestJournalArchive(ArchiveContract):
    pass


@pytest.mark.usefixtures("no_fsync")
def test_a_last_line_torn_at_any_byte_is_cut_with_a_warning_and_written_anew(
    path: Path, tiny_space: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    evaluations = filled(path, tiny_space, 3)
    whole = path.read_bytes()
    before = whole.rfind(b"\n", 0, len(whole) - 1) + 1
    caplog.set_level(logging.WARNING)
    for end in range(before, len(whole)):
        path.write_bytes(whole[:end])
        caplog.clear()
        archive = Archive(path, tiny_space, study="net")
        assert archive.evaluations() == evaluations[:2]
        assert [r.name for r in caplog.records] == (["nas.archive.journal"] if end > before else [])
        if end > before:
            assert f"its last {end - before} bytes" in caplog.text
        archive.append(evaluations[2])
        assert archive.evaluations() == evaluations


def test_a_group_is_one_write_and_waits_for_the_disk_once(
    path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, sizes = Archive(path, space, study="net"), [path.stat().st_size]
    monkeypatch.setattr(os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    archive.append(*evaluated(space, 5))
    assert sizes[1:] == [path.stat().st_size]
    assert archive.evaluations() == evaluated(space, 5)
    archive.append(*evaluated(space, 5))
    archive.append()
    assert len(sizes) == 2, "what is known is not written again"


@pytest.mark.usefixtures("no_fsync")
@given(lengths=st.lists(st.integers(0, 5), max_size=8), data=st.data())
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_however_it_is_split_into_groups_the_archive_is_the_same(
    tmp_path: Path, tiny_space: SearchSpace, lengths: list[int], data: st.DataObject
) -> None:
    known = data.draw(st.lists(st.sampled_from(evaluated(tiny_space, 4)), max_size=12))
    seen = [Answers.of(np.zeros(data.draw(st.integers(1, 3))), 3) for _ in known]
    appended = [replace(one, answers=shown) for one, shown in zip(known, seen, strict=True)]
    paths = [tmp_path / f"{next(NUMBERS)}.journal" for _ in range(2)]
    singly, grouped = (Archive(path, tiny_space, study="net") for path in paths)
    for evaluation in appended:
        singly.append(evaluation)
    rest = iter(appended)
    for length in lengths:
        grouped.append(*itertools.islice(rest, length))
    grouped.append(*rest)
    for archive in (grouped, Archive(paths[1], tiny_space, study="net")):
        assert archive.told() == singly.told()
        assert archive.evaluations() == singly.evaluations()
    assert len({path.read_bytes().count(b"\n") for path in paths}) == 1


@pytest.mark.usefixtures("no_fsync")
def test_a_group_torn_at_any_byte_keeps_its_whole_lines(
    path: Path, tiny_space: SearchSpace
) -> None:
    archive, evaluations = Archive(path, tiny_space, study="net"), evaluated(tiny_space, 4)
    archive.append(evaluations[0])
    before = path.stat().st_size
    archive.append(*evaluations[1:])
    whole = path.read_bytes()
    for end in range(before, len(whole), 5):
        path.write_bytes(whole[:end])
        kept = 1 + whole[before:end].count(b"\n")
        torn = Archive(path, tiny_space, study="net")
        assert torn.evaluations() == evaluations[:kept]
        torn.append(*evaluations)
        assert Archive(path, tiny_space, study="net").evaluations() == evaluations


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("lines", [slice(4, 5), slice(4, 6), slice(5, 7), slice(4, 7)])
def test_a_group_that_reached_the_disk_in_parts_is_cut_where_they_begin(
    path: Path, tiny_space: SearchSpace, lines: slice
) -> None:
    # After a loss of power, a page of the last write may be on the disk and an earlier one not.
    archive, evaluations = Archive(path, tiny_space, study="net"), evaluated(tiny_space, 4)
    archive.append(evaluations[0])
    archive.append(*evaluations[1:])
    kept = path.read_bytes().splitlines(keepends=True)
    missing = bytes(sum(map(len, kept[lines])))
    path.write_bytes(b"".join([*kept[: lines.start], missing, *kept[lines.stop :]]))
    archive = Archive(path, tiny_space, study="net")
    assert archive.evaluations() == evaluations[: lines.start - 3]
    archive.append(*evaluations)
    assert Archive(path, tiny_space, study="net").evaluations() == evaluations


def test_a_group_before_the_last_that_is_damaged_needs_a_human(
    path: Path, space: SearchSpace
) -> None:
    archive, evaluations = Archive(path, space, study="net"), evaluated(space, 6)
    archive.append(*evaluations[:3])
    archive.append(*evaluations[3:])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"{]\n", *lines[5:]]))
    with pytest.raises(ArchiveError, match="damaged in line 5"):
        Archive(path, space, study="net")


@pytest.mark.usefixtures("no_fsync")
def test_a_file_torn_before_its_first_evaluation_starts_anew(
    path: Path, space: SearchSpace, other_space: SearchSpace
) -> None:
    Archive(path, space, study="net")
    whole = path.read_bytes()
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        assert len(Archive(path, space, study="net")) == 0
        with pytest.raises(ArchiveError, match="give the space it was made with"):
            Archive(path, other_space, study="net")


@pytest.mark.usefixtures("no_fsync")
def test_a_changed_byte_anywhere_in_the_last_line_never_gives_a_wrong_evaluation(
    path: Path, tiny_space: SearchSpace
) -> None:
    evaluations = filled(path, tiny_space, 2)
    whole = path.read_bytes()
    before = whole.rfind(b"\n", 0, len(whole) - 1) + 1
    for position in range(before, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        archive = Archive(path, tiny_space, study="net")
        assert archive.evaluations() in (evaluations[:1], evaluations)
        archive.append(evaluations[1])
        assert archive.evaluations() == evaluations


def test_a_torn_line_left_by_another_process_is_cut_before_the_next_append(
    path: Path, space: SearchSpace
) -> None:
    evaluations = filled(path, space, 2)
    archive = Archive(path, space, study="net")
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"dead')
    later = evaluated(space, 3)[2]
    archive.append(later)
    assert archive.evaluations() == [*evaluations, later]
    assert Archive(path, space, study="net").evaluations() == [*evaluations, later]


@pytest.mark.parametrize("damage", [b"{]\n", b"\x00\x00\xff\n", b"7\n", b"\n"])
def test_damage_in_the_middle_names_the_line_and_the_remedy(
    path: Path, space: SearchSpace, damage: bytes
) -> None:
    filled(path, space, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    broken = b"".join([*lines[:3], damage, *lines[4:]])
    path.write_bytes(broken)
    with pytest.raises(ArchiveError, match=r"damaged in line 4: .*head -n 3 archive\.journal"):
        Archive(path, space, study="net")
    assert path.read_bytes() == broken, "nothing is cut from a file that needs a human"


def test_a_changed_digit_in_the_middle_is_damage(path: Path, space: SearchSpace) -> None:
    filled(path, space, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    value = json.loads(lines[3])["value"]
    lines[3] = lines[3].replace(repr(value).encode(), repr(value / 2).encode())
    path.write_bytes(b"".join(lines))
    with pytest.raises(ArchiveError, match="line 4: its digest does not match"):
        Archive(path, space, study="net")


def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path, space: SearchSpace) -> None:
    for content in (b"\x89PNG no newline", b"[search]\nbudget = 3\n"):
        path.write_bytes(content)
        with pytest.raises(ArchiveError, match="does not start with a record"):
            Archive(path, space, study="net")
        assert path.read_bytes() == content


def test_a_study_of_another_program_is_refused(path: Path, space: SearchSpace) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(path))
    study = optuna.create_study(
        study_name="net", storage=optuna.storages.JournalStorage(backend), direction="minimize"
    )
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ArchiveError, match="another program wrote it; `nas archive seal"):
        Archive(path, space, study="net")


def test_optuna_reads_it_with_the_options_as_a_user_wrote_them(
    path: Path, space: SearchSpace
) -> None:
    first = filled(path, space, 1)[0]
    backend = JournalFileBackend(str(path))
    study = optuna.load_study(study_name="net", storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == first.metrics["error"]
    assert study.user_attrs["space"] == space.fingerprint
    picked = {c.name: c.options[i] for c, i in zip(space.choices, first.genotype, strict=True)}
    assert study.best_params["stem.width"] == picked["stem.width"]
    bits = picked["stage0.block0.weight.bits"].bits
    assert study.best_params["stage0.block0.weight.bits"] == f"format=int{bits}"
    granularity = picked["stage0.block0.weight.granularity"]
    assert study.best_params["stage0.block0.weight.granularity"] == repr(granularity)
    assert study.metric_names == ["error"]
    attributes = study.trials[0].user_attrs
    assert attributes["loss"] == first.metrics["loss"], "a number can be sorted by"
    assert (attributes["seed"], attributes["seconds"]) == (first.seed, first.seconds)


def test_the_records_are_those_that_optuna_writes(
    path: Path, tmp_path: Path, space: SearchSpace
) -> None:
    (evaluation,) = filled(path, space, 1)
    backend = JournalFileBackend(str(path))
    study = optuna.load_study(study_name="net", storage=optuna.storages.JournalStorage(backend))
    copy = JournalFileBackend(str(tmp_path / "copy.journal"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    again = optuna.create_study(storage=optuna.storages.JournalStorage(copy))
    again.add_trial(study.trials[0])
    (ours,) = (log for log in backend.read_logs(0) if log["op_code"] == 4)
    (theirs,) = (log for log in copy.read_logs(0) if log["op_code"] == 4)
    assert set(ours) - set(theirs) == {"digest", "place", "previous"}
    apart = {key for key, value in theirs.items() if ours[key] != value}
    assert apart == {"worker_id"}
    assert ours["value"] == evaluation.metrics["error"]


def test_an_archive_with_the_labels_of_an_earlier_version_goes_on(
    path: Path, space: SearchSpace
) -> None:
    evaluations = filled(path, space, 2)
    lines = path.read_text().splitlines(keepends=True)
    older = [re.sub(r"format=int(\d)", r"Quant(bits=\1, symmetric=True)", one) for one in lines]
    older = [re.sub(r',"place":.*', "}", one) for one in older]
    assert "Quant(bits" in older[-1]
    path.write_text("".join(older))
    assert seal_journal(path, space, study="net").lost == []
    archive = Archive(path, space, study="net")
    assert archive.evaluations() == evaluations
    archive.append(evaluated(space, 3)[2])
    assert Archive(path, space, study="net").evaluations() == evaluated(space, 3)


def test_optuna_says_nothing(
    path: Path, space: SearchSpace, capfd: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    filled(path, space, 2)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_a_disk_that_fills_in_the_midst_of_a_write_loses_nothing(
    path: Path, space: SearchSpace
) -> None:
    evaluations = filled(path, space, 3)
    archive = Archive(path, space, study="net")
    later = evaluated(space, 4)[3]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*archive\.journal"):
            archive.append(later)
        assert Archive(path, space, study="net").evaluations() == evaluations
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert archive.evaluations() == evaluations
    archive.append(later)
    assert Archive(path, space, study="net").evaluations() == [*evaluations, later]


def test_a_disk_that_fills_in_the_midst_of_a_group_loses_only_what_did_not_count(
    path: Path, space: SearchSpace
) -> None:
    evaluations = evaluated(space, 10)
    filled(path, space, 2)
    archive = Archive(path, space, study="net")
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2, hard))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*archive\.journal"):
            archive.append(*evaluations[2:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(archive) == 2, "nothing counts before all are there"
    kept = Archive(path, space, study="net").evaluations()
    assert 2 <= len(kept) < 10
    assert kept == evaluations[: len(kept)]
    archive.append(*evaluations[2:])
    assert archive.evaluations() == evaluations
    assert Archive(path, space, study="net").evaluations() == evaluations
    assert path.read_bytes().count(b'{"op_code":4,') == 10, "what was there is not written again"


def test_a_full_disk_is_one_sentence(
    path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(path, space, study="net")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device; free some space"):
        archive.append(evaluated(space, 1)[0])


def test_a_missing_folder_and_a_folder_in_its_place_are_named(
    tmp_path: Path, space: SearchSpace
) -> None:
    with pytest.raises(WriteError, match="create the folder first"):
        Archive(tmp_path / "missing" / "archive.journal", space, study="net")
    with pytest.raises(WriteError, match="there is a folder of that name"):
        Archive(tmp_path, space, study="net")


WRITER = """
import itertools, sys
from nas.archive.archive import Archive
from nas.testing.archive import evaluated
from tests.nas.spaces import small_space

space = small_space()
archive = Archive(sys.argv[1], space, study="net")
rest = iter(evaluated(space, 500, seed=int(sys.argv[2])))
for size in itertools.cycle([1, 4, 2]):
    group = list(itertools.islice(rest, size))
    archive.append(*group)
    for evaluation in group:
        print(len(archive), flush=True)
"""


def test_what_append_returned_from_survives_kill_9_of_two_writers(
    path: Path, space: SearchSpace
) -> None:
    Archive(path, space, study="net")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(seed)], stdout=subprocess.PIPE, text=True
        )
        for seed in (0, 1)
    ]
    acknowledged = [0, 0]
    for index, writer in enumerate(writers):
        assert writer.stdout is not None
        for _ in range(30):
            writer.stdout.readline()
        writer.kill()
        acknowledged[index] = 30 + len(writer.stdout.read().splitlines())
        writer.wait()
        writer.stdout.close()
    archive = Archive(path, space, study="net")
    kept = archive.evaluations()
    for seed, count in enumerate(acknowledged):
        for evaluation in evaluated(space, count, seed=seed):
            assert archive.get(evaluation.genotype) is not None
        mine = [evaluation for evaluation in kept if evaluation.seed == seed]
        written = {e.genotype: e for e in evaluated(space, count + 8, seed=seed)}
        assert all(written[e.genotype] == e for e in mine)


@pytest.mark.usefixtures("no_fsync")
def test_many_evaluations_of_sixty_choices_are_read_at_once(path: Path) -> None:
    space = residual(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        widths=((16, 32), (16, 32), (32, 64), (64, 128)),
        depths=((1, 2, 3), (1, 2, 3), (1, 2, 3, 4)),
        kernels=(3, 5, 7),
        policy=Policy(fineness="layer", weight_bits=(2, 4, 8), activation_bits=(4, 8)),
    )
    assert len(space.choices) >= 60
    filled(path, space, 200)
    start = time.process_time()
    assert len(Archive(path, space, study="net")) == 200
    assert time.process_time() - start < 1
