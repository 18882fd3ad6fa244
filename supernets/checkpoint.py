"""Checkpoints: a supernet or a training state as a safetensors file, written whole or not at all.

The header of the file holds the fingerprint of the search space, so that weights are never read
into another space, and a digest of the tensors, so that a damaged file is never read at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from search_spaces.space import SearchSpace
from supernets.quantizers import LearnedSteps, Quantizer
from supernets.supernet import Supernet


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, is damaged, or belongs to another search space."""


def save(
    supernet: Supernet, path: Path | str, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the weights, the steps and the space of `supernet` to `path`, atomically.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    tensors = {name: tensor.detach() for name, tensor in supernet.state_dict().items()}
    space = supernet.space
    header = {
        **(metadata or {}),
        "fingerprint": space.fingerprint,
        "space": space.to_json(),
        "quantizer": supernet.quantizer.name,
    }
    save_state(path, tensors, header)


def load(
    space: SearchSpace, path: Path | str, *, quantizer: type[Quantizer] = LearnedSteps
) -> Supernet:
    """The supernet of `space` with the weights that `save` wrote.

    Raises:
        CheckpointError: If there is no file, or the file is damaged, of another space or of another
            quantizer.
    """
    tensors, header = load_state(path, fingerprint=space.fingerprint)
    if header.get("quantizer") != quantizer.name:
        raise CheckpointError(
            f"checkpoint {path} was trained with the quantizer {header.get('quantizer')}, now "
            f"asked for {quantizer.name}; use that quantizer or train the supernet again"
        )
    supernet = Supernet(space, seed=0, quantizer=quantizer)
    require_alike(path, expected=supernet.state_dict(), found=tensors)
    supernet.load_state_dict(tensors)
    return supernet


def require_alike(
    path: Path | str, *, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    """Raise `CheckpointError` unless the tensors have the expected names, shapes and types."""
    if odd := sorted(expected.keys() ^ found.keys()):
        fault = f"{len(odd)} tensors are missing or unknown, first {odd[0]!r}"
    elif wrong := [name for name in expected if _form(expected[name]) != _form(found[name])]:
        name = wrong[0]
        fault = (
            f"{len(wrong)} tensors have another form, first {name!r}: {_form(found[name])}, "
            f"expected {_form(expected[name])}"
        )
    else:
        return
    raise CheckpointError(
        f"checkpoint {path} is damaged or of another version: {fault}; delete it and train the "
        "supernet again"
    )


def _form(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(tensor.shape), tensor.dtype


def save_state(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write `tensors` and `metadata` to `path`; the file is replaced as a whole or not at all.

    `metadata` must contain the `fingerprint` of the space.

    Raises:
        CheckpointError: If the fingerprint is missing or the file cannot be written.
    """
    if "fingerprint" not in metadata:
        raise CheckpointError(
            f"checkpoint {path} needs the space's fingerprint among its metadata, "
            f"given {sorted(metadata)}"
        )
    # Every tensor is copied, since safetensors refuses tensors that share memory.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = to_bytes(whole, {**metadata, "digest": digest_of(whole)})
    try:
        _write_atomically(Path(path), content)
    except OSError as error:
        raise CheckpointError(
            f"cannot write checkpoint {path} ({len(content)} bytes): {error.strerror or error}; "
            "what was there before is unchanged; free space or choose a writable folder"
        ) from error


# safetensors leaves some headers to torch, which raises exceptions of its own for them.
_UNREADABLE = (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError)


def load_state(path: Path | str, *, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata that `save_state` wrote for the space of this `fingerprint`.

    Raises:
        CheckpointError: If there is no file, or the file is damaged or of another space.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}; train the supernet first") from error
    except _UNREADABLE as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error}); it is truncated or no safetensors file: "
            "delete it and train the supernet again"
        ) from error
    _check(path, tensors, metadata, fingerprint)
    return tensors, {key: value for key, value in metadata.items() if key != "digest"}


def steps_done(path: Path) -> int:
    """The number of steps that a checkpoint of a training counts; 0 if none can be read there."""
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get("step", "")
        return int(told) if told.isdecimal() else 0
    except _UNREADABLE:
        return 0  # the training itself refuses a damaged file, with a sentence


def _check(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], fingerprint: str
) -> None:
    if metadata.get("digest") != digest_of(tensors):
        raise CheckpointError(
            f"checkpoint {path} is damaged: its tensors do not match the digest in its header; "
            "delete it and train the supernet again"
        )
    if metadata.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"checkpoint {path} holds space {metadata.get('fingerprint')}, expected {fingerprint}; "
            "use the recipe it was made with or another run folder"
        )


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash over the names and bytes of all tensors, which does not depend on their order."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        held = tensors[name].detach().cpu().reshape(-1)
        digest.update(held.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must outlive a power cut
    finally:
        os.close(folder)
