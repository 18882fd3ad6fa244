"""Results as a file, `results.json`, from which alone a report is made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from nas.durable import write_atomic
from nas.report.data import Results

FORMAT = 1


class UnreadableResults(ValueError):
    """A results file that this version cannot read."""


@dataclass(frozen=True)
class _File:
    __pydantic_config__ = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
    format: int
    results: Results


_ADAPTER = TypeAdapter(_File)


def to_json(results: Results) -> str:
    """The results as JSON text; infinite numbers are written as strings."""
    return _ADAPTER.dump_json(_File(FORMAT, results), indent=1).decode()


def from_json(text: str) -> Results:
    """The results that `to_json` wrote; raises `UnreadableResults` saying what is wrong."""
    try:
        file = _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole text"
        raise UnreadableResults(
            f"these are not the results of a run: at {where}: {first['msg']}; "
            "write them anew with `nas run ... --resume`"
        ) from error
    if file.format != FORMAT:
        raise UnreadableResults(
            f"these results have format {file.format}; this version reads {FORMAT}"
        )
    return file.results


def save(results: Results, path: Path) -> None:
    """Write `results` to `path`, whole or not at all."""
    write_atomic(path, to_json(results).encode())


def load(path: Path) -> Results:
    """The results in the file at `path`; raises `UnreadableResults` naming it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableResults(
            f"cannot read {path}: {error}; write it anew with `nas run ... --resume`"
        ) from error
    try:
        return from_json(text)
    except UnreadableResults as error:
        raise UnreadableResults(f"cannot read {path}: {error}") from error
