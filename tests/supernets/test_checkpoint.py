"""Checkpoints come back as they were or say in one sentence why they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supernets.checkpoint import CheckpointError, load_state, save_state

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "empty": torch.empty(0)}
METADATA = {"fingerprint": "f1", "epoch": "4"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    save_state(path, TENSORS, METADATA)
    return path


def test_state_comes_back_as_it_was(path: Path) -> None:
    tensors, metadata = load_state(path, fingerprint="f1")
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert all(tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    save_state(tmp_path / "s", {"whole": whole, "view": whole[:2]}, METADATA)
    tensors, _ = load_state(tmp_path / "s", fingerprint="f1")
    assert tensors["view"].tolist() == [0.0, 1.0]


def test_another_space_is_refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds space f1, expected f2"):
        load_state(path, fingerprint="f2")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated"):
        load_state(path, fingerprint="f1")


def test_a_flipped_bit_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path, fingerprint="f1")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_state(tmp_path / "none", fingerprint="f1")


def test_a_failed_write_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_state(path, {}, METADATA)
    assert load_state(path, fingerprint="f1")[1] == METADATA
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_metadata_must_name_the_space(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="needs the space's fingerprint"):
        save_state(tmp_path / "s", {}, {})
