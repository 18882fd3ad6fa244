"""The file `results.json`, which holds the results of a run and is enough to make its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter

from nas.files.durable import write_atomic
from nas.report.data import Results
from search_spaces.documents import Source, checked, parse_json, read_json


@dataclass(frozen=True)
class _File:
    __pydantic_config__ = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
    format: Literal[2]
    results: Results


_ADAPTER = TypeAdapter(_File)
_REMEDY = "write them anew with `nas run ... --resume`"


def to_json(results: Results) -> str:
    """The results as JSON text; infinite numbers are written as strings."""
    return _ADAPTER.dump_json(_File(2, results), indent=1).decode()


def from_json(text: str) -> Results:
    """The results in a text of `to_json`; raises `UnreadableFile` with the place of a fault."""
    source = Source("the text of a run's results", _REMEDY)
    return checked(parse_json(text, source), _ADAPTER, source).results


def save(results: Results, path: Path) -> None:
    """Write `results` to `path` in one step; raises `WriteError` if that fails."""
    write_atomic(path, to_json(results).encode())


def load(path: Path) -> Results:
    """The results in the file at `path`; raises `UnreadableFile` with the place of a fault."""
    return read_json(path, _ADAPTER, what="results", remedy=_REMEDY).results
