"""Files of float weights: a user's own tensors by name, or a supernet that was trained before."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from search_spaces.documents import Source, parse_json
from search_spaces.space import SearchSpace
from supernets.checkpoint import load_state
from supernets.largest import largest_parameters, without_precision
from supernets.supernet import parameter_key
from supernets.weights import WeightsError, require_weights

_REMEDY = (
    "give a .safetensors or .npz file with a tensor ADDRESS.NAME for every parameter of the "
    "largest network, or the supernet.safetensors of a run"
)

# Of safetensors, of numpy and of zlib; some headers are left to torch, which has its own.
_UNREADABLE = (
    *(SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
)


def read_weights(path: Path, space: SearchSpace) -> dict[str, Tensor]:
    """All the largest parameters of a space from a file, by the names of `weights_of`.

    No file is unpickled. A trained supernet is read without its quantizer steps.

    Args:
        path: A safetensors file, or an `.npz` file of numpy arrays.
        space: The space for which the weights are meant.

    Raises:
        WeightsError: If the file cannot be read, is a supernet whose space has other architectures,
            or holds other tensors than the space needs.
    """
    weights = _tensors(path, space)
    try:
        require_weights(space, weights)
    except WeightsError as error:
        raise WeightsError(f"float weights {path}: {error}") from error
    return weights


def _tensors(path: Path, space: SearchSpace) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            return _arrays(path)
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            if "fingerprint" not in header:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except _UNREADABLE as error:
        raise WeightsError(f"float weights {path} cannot be read ({error}); {_REMEDY}") from error
    return _supernet(path, header, space)


def _arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(np.asarray(values)) for name, values in file.items()}


def _supernet(path: Path, header: Mapping[str, str], space: SearchSpace) -> dict[str, Tensor]:
    """The largest parameters of the supernet in a checkpoint."""
    try:
        tensors, _ = load_state(path, fingerprint=header["fingerprint"])
        source = Source(f"the space in {path}", _REMEDY)
        text = header.get("space", "")
        other = SearchSpace.from_content(parse_json(text, source), source)
    except ValueError as error:  # of a checkpoint or of a space
        raise WeightsError(f"float weights {path} cannot be read: {error}") from error
    if without_precision(other) != without_precision(space):
        raise WeightsError(
            f"float weights {path} are those of space {other.name!r}, whose architectures differ "
            f"from those of {space.name!r}; a supernet can start another one only if nothing but "
            "precisions differ"
        )
    keys = {
        f"{address}.{name}": parameter_key(address, name)
        for address, held in largest_parameters(space).items()
        for name in held
    }
    return {name: tensors[key] for name, key in keys.items() if key in tensors}
