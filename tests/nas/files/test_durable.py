from __future__ import annotations

import errno
import fcntl
import os
import resource
from pathlib import Path
from typing import BinaryIO

import pytest

from nas.files.durable import WriteError, remove_unfinished, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_content_is_there_and_replaces_what_was(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomic(path, b"one")
    write_atomic(path, b"two\n")
    assert path.read_bytes() == b"two\n"
    assert names(tmp_path) == ["table.csv"]


def test_permissions_are_those_of_a_plain_open(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "ours"
    plain.write_bytes(b"")
    write_atomic(path, b"")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(WriteError, match=r"report\.html: File too large; raise the limit"):
            write_atomic(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["report.html"]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device; free some space") as caught:
        write_atomic(tmp_path / "report.html", b"new")
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("place", "remedy"),
    [("missing/file", "create the folder first"), ("file/file", "parent is a folder")],
)
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, place: str, remedy: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match=remedy):
        write_atomic(tmp_path / place, b"")


def test_a_folder_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(WriteError, match="there is a folder of that name"):
        write_atomic(tmp_path / "report.html", b"")
    assert names(tmp_path) == ["report.html"]


def test_only_what_a_killed_writer_left_is_cleaned_away(tmp_path: Path) -> None:
    left = tmp_path / f".report.html.{'0f' * 16}.part"
    others = [".report.html.part", ".film.mp4.1.part", ".notes.partial", f"a.{'0f' * 16}.part"]
    for name in (left.name, *others):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / f".link.{'0f' * 16}.part").symlink_to(tmp_path / others[0])
    remove_unfinished(tmp_path)
    assert names(tmp_path) == sorted([*others, f".link.{'0f' * 16}.part"])


def test_what_is_being_written_is_not_cleaned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, replace = os.fsync, Path.replace

    def cleaned_before(path: Path, target: Path) -> Path:
        remove_unfinished(tmp_path)
        return replace(path, target)

    def cleaned_after(handle: int) -> None:
        sync(handle)
        remove_unfinished(tmp_path)

    monkeypatch.setattr(Path, "replace", cleaned_before)
    monkeypatch.setattr(os, "fsync", cleaned_after)
    write_atomic(tmp_path / "report.html", b"whole")
    assert (tmp_path / "report.html").read_bytes() == b"whole"
    assert names(tmp_path) == ["report.html"]


def test_a_cleaning_faster_than_the_lock_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, cleanings = fcntl.flock, []

    def late(file: BinaryIO, how: int) -> None:
        if not cleanings:
            cleanings.append(None)
            remove_unfinished(tmp_path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomic(tmp_path / "report.html", b"whole")
    assert cleanings
    assert (tmp_path / "report.html").read_bytes() == b"whole"
    assert names(tmp_path) == ["report.html"]
