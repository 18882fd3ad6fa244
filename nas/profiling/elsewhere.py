"""Measuring on a machine without the engine: a folder goes there, and its results come back.

The folder holds an ONNX file per kernel, `manifest.json`, and the script `measure.py`. The script
needs numpy, onnxruntime, and the files `timing.py` and `ort.py` in the folder. Both machines are
timed by the same code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

import nas.ort
from nas.files.durable import write_atomic, write_error
from nas.profiling.onnx_runtime import Elsewhere, empties
from nas.profiling.results import read_results
from nas.profiling.rows_file import append, opened
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.saturation import WEIGHTS_NOTE, EightBitWeights
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.row_reader import KeyReader
from nas.targets.table.rows import KernelKey, Row
from search_spaces.documents import MOST_BYTES, Source, checked, parse_json, read_text
from search_spaces.kernels import Kernel

HERE = Path(__file__).parent
MODELS = "models"
FORMAT = 4
READ_FORMATS = (2, 3, FORMAT)  # formats 2 and 3 have the columns of old tables
CONDITIONS = ("device", "runtime", "threads")
_ENGINE = re.compile(r"from nas\.(?:\w+\.)*(ort|timing)\b")


def write_folder(
    kernels: Iterable[tuple[Kernel, Numerics]],
    *,
    folder: Path,
    networks: Mapping[str, bytes] = {},
    eight_bit_weights: EightBitWeights = "unsigned",
    network_weights: int = 0,
) -> Manifest:
    """Write a folder with all files that another machine needs to time `kernels`.

    Args:
        kernels: Kernels with the formats in which they compute, such as `HardwareTarget.natively`
            lists for a space.
        folder: The folder, which is made if it does not exist.
        networks: Whole networks to time as well: serialized ONNX models by name.
        eight_bit_weights: The form of 8-bit weights of the target to measure.
        network_weights: The number of weights of the networks to which the kernels belong.

    Returns:
        The content of the folder.

    Raises:
        TargetError: If a kernel cannot be timed, or `folder` holds other things.
    """
    wanted = {KernelKey.of(kernel, numerics): (kernel, numerics) for kernel, numerics in kernels}
    reasons = (Elsewhere().refusal(kernel, numerics) for kernel, numerics in wanted.values())
    refused = [why for why in reasons if why is not None]
    if refused:
        raise TargetError(refused[0])
    if not (folder / "manifest.json").exists() and folder.exists() and any(folder.iterdir()):
        raise TargetError(f"{folder} holds other files; give a new folder, or an empty one")
    try:
        (folder / MODELS).mkdir(parents=True, exist_ok=True)
        for source in (Path(str(nas.ort.__file__)), HERE / "timing.py", HERE / "measure.py"):
            text = source.read_text(encoding="utf-8")
            (folder / source.name).write_text(_ENGINE.sub(r"from \1", text), encoding="utf-8")
    except OSError as error:
        raise write_error(folder, error) from error
    backend = Elsewhere(eight_bit_weights=eight_bit_weights, network_weights=network_weights)
    manifest = _with_models(wanted, _Store(folder), backend=backend, networks=networks)
    whole = {"fingerprint": _fingerprint(manifest), **manifest}
    write_atomic(folder / "manifest.json", json.dumps(whole, indent=1).encode())
    return read_manifest(folder)


def _with_models(
    wanted: Mapping[KernelKey, tuple[Kernel, Numerics]],
    store: _Store,
    *,
    backend: Elsewhere,
    networks: Mapping[str, bytes],
) -> dict[str, Any]:
    """The manifest of the models, after all of them are written to `store`."""
    around = {
        name: {str(n): store.put(f"empty-{name}-{n}", model) for n, model in by_copies.items()}
        for name, by_copies in empties().items()
    }
    entries: list[dict[str, Any]] = []
    for number, (key, (kernel, numerics)) in enumerate(wanted.items()):
        made = backend.job(kernel, numerics)
        name = f"kernel-{number:05d}"
        entries.append(
            {
                "name": name,
                "file": store.put(name, made.model),
                "copies": made.copies,
                "empty": made.empty,
                "is_cut": made.cuts > 0,
                "beside": made.beside,
                "kernel": asdict(key),
            }
        )
    return {
        "format": FORMAT,
        "eight_bit_weights": backend.eight_bit_weights,
        "kernels": entries,
        "networks": [{"name": n, "file": store.put(n, model)} for n, model in networks.items()],
        "empties": around,
        "sha256": store.digests,
    }


class _Store:
    """A writer of model files into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.digests: dict[str, str] = {}

    def put(self, name: str, model: bytes | str) -> str:
        """Write a model; returns its path within the folder."""
        content = Path(model).read_bytes() if isinstance(model, str) else model
        file = f"{MODELS}/{name}.onnx"
        write_atomic(self._folder / file, content)
        self.digests[file] = hashlib.sha256(content).hexdigest()
        return file


def read_folder(
    folder: Path, kernels: Iterable[tuple[Kernel, Numerics]], *, path: Path
) -> LatencyTable:
    """The latency table of the machine on which `folder` was measured, also written to `path`.

    Args:
        folder: The folder from `write_folder`, with the `results.csv` that its script made.
        kernels: The kernels of the table: those given to `write_folder`, or some of them.
        path: The file of the table. A table there must be of the same machine, and its rows stay.

    Raises:
        TargetError: If `write_folder` did not write the folder, if the folder lacks a kernel, or if
            its results belong to another folder or are incomplete, torn, mixed or wrong.
    """
    manifest = read_manifest(folder)
    wanted = dict.fromkeys(KernelKey.of(kernel, numerics) for kernel, numerics in kernels)
    absent = [key for key in wanted if key not in set(manifest.keys.values())]
    if absent:
        raise TargetError(
            f"{folder} was made for another space: it has no model for {len(absent)} of "
            f"{len(wanted)} kernels, such as {absent[0]}; write a folder for this one with "
            "`nas profile ... --backend elsewhere`"
        )
    notes, rows = _results(folder, manifest)
    table = opened(path, notes)
    found = {key: rows[name] for name, key in manifest.keys.items() if key in wanted}
    new = {key: row for key, row in found.items() if key not in table.rows}
    append(path, new)
    return LatencyTable({**table.rows, **new}, table.notes)


def read_networks(folder: Path) -> dict[str, Row]:
    """The measured figures of the whole networks of a folder, by the names of the networks."""
    manifest = read_manifest(folder)
    _, rows = _results(folder, manifest)
    return {name: rows[name] for name in manifest.networks}


@dataclass(frozen=True)
class Manifest:
    """The content of a folder to measure.

    Attributes:
        fingerprint: A digest over the manifest, which contains digests of all models.
        keys: The keys of the kernels, by their names in the results.
        networks: The names of the whole networks.
        eight_bit_weights: The form of 8-bit weights in the models.
    """

    fingerprint: str
    keys: Mapping[str, KernelKey]
    networks: tuple[str, ...]
    eight_bit_weights: EightBitWeights


class _Named(BaseModel):
    """An entry of a manifest; only its name is read."""

    name: str


class _Timed(_Named):
    """The entry of a kernel in a manifest; only its name and the cells of its key are read."""

    kernel: dict[str, str | int]


class _Content(BaseModel):
    """The entries of a manifest that are read; the fingerprint covers all others."""

    fingerprint: str
    format: int
    kernels: list[_Timed]
    networks: list[_Named]
    eight_bit_weights: EightBitWeights


_CONTENT = TypeAdapter(_Content)


def read_manifest(folder: Path) -> Manifest:
    """The content of a folder that `write_folder` wrote.

    Raises:
        TargetError: If the folder has no such manifest.
        UnreadableFile: If the manifest cannot be read, or was changed.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise TargetError(
            f"{folder} holds no manifest.json; give a folder that "
            "`nas profile ... --backend elsewhere --out FOLDER` has written"
        )
    source = Source(f"manifest {path}", "write the folder anew")
    content = parse_json(read_text(path, source, at_most=MOST_BYTES), source)
    found = checked(content, _CONTENT, source)
    del content["fingerprint"]
    if found.fingerprint != _fingerprint(content) or found.format not in READ_FORMATS:
        raise source.error("was changed, or is of another version")
    reader = KeyReader()
    try:
        keys = {entry.name: reader.read(entry.kernel) for entry in found.kernels}
    except ValueError as error:
        raise source.error(str(error)) from error
    names = tuple(entry.name for entry in found.networks)
    return Manifest(found.fingerprint, keys, names, found.eight_bit_weights)


def _results(folder: Path, manifest: Manifest) -> tuple[dict[str, str], dict[str, Row]]:
    path = folder / "results.csv"
    notes, rows = read_results(path, [*manifest.keys, *manifest.networks])
    if notes.pop("manifest") != manifest.fingerprint:
        raise TargetError(
            f"{path} was measured with another folder's models; run the measure.py of {folder}"
        )
    run = {name: text for name, text in notes.items() if name in CONDITIONS}
    return {**run, WEIGHTS_NOTE: manifest.eight_bit_weights}, rows


def _fingerprint(manifest: Mapping[str, Any]) -> str:
    """The digest of a manifest, which contains the digests of all models."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
