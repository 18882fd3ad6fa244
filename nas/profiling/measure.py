"""A script that times the models in its own folder and writes results.csv there.

The script needs Python 3.10, numpy and onnxruntime. You can stop the script at any time; when run
again, it continues.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.ort import onnxruntime as ort
from nas.profiling.timing import (
    GROUP,
    Model,
    Reading,
    Session,
    Start,
    Timed,
    TimedKernel,
    Timing,
    conditions,
    time_kernels,
    time_networks,
)

COLUMNS = ("name", "latency_ms", "spread_ms", "count")
NETWORK_BUDGET = 8.0  # the time for a network, as a multiple of the time for a kernel


def main() -> None:
    """Time all models that have no result yet, group by group."""
    here = Path(__file__).resolve().parent
    given = _options(here / "results.csv")
    manifest = json.loads((here / "manifest.json").read_text(encoding="utf-8"))
    same = conditions(threads=given.threads, providers=given.providers, device=given.device)
    done = opened(given.out, {"manifest": manifest["fingerprint"], **same})

    def start(model: Model, before: Reading | None) -> Timed:
        path = here / str(model)
        return Timed(Session(str(path), threads=given.threads, providers=given.providers), before)

    total = len(manifest["kernels"]) + len(manifest["networks"])
    for kind, entries in groups(manifest, done):
        times = _kernels if kind == "kernels" else _networks
        found = times(entries, manifest, start=start, budget_ms=given.budget_ms)
        append(given.out, found)
        done += found
        sys.stderr.write(f"{len(done)} of {total}\n")
    sys.stderr.write(f"results: {given.out}\n")


def _options(results: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="inside one kernel (1)")
    parser.add_argument("--providers", nargs="+", default=[], help="such as CPUExecutionProvider")
    parser.add_argument("--budget-ms", type=float, default=25.0, help="for each kernel (25)")
    parser.add_argument("--device", help="its name, where the system does not tell it well")
    parser.add_argument("--out", type=Path, default=results, help="(results.csv, beside this file)")
    given = parser.parse_args()
    found = ort.get_available_providers()
    missing = sorted({*given.providers} - {*found})
    if missing:
        sys.exit(f"error: onnxruntime has no {', '.join(missing)} here; it has {', '.join(found)}")
    return given


def groups(
    manifest: Mapping[str, Any], done: Sequence[str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """The models that have no result yet, in groups whose repetitions are interleaved."""
    made: list[tuple[str, list[dict[str, Any]]]] = []
    for kind in ("kernels", "networks"):
        left = [entry for entry in manifest[kind] if entry["name"] not in done]
        made += [(kind, left[start : start + GROUP]) for start in range(0, len(left), GROUP)]
    return made


def _kernels(
    entries: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    *,
    start: Start,
    budget_ms: float,
) -> dict[str, Timing]:
    jobs = {
        e["name"]: TimedKernel(e["file"], e["copies"], e["empty"], int(e["is_cut"]), e["beside"])
        for e in entries
    }
    empties = {
        name: {int(copies): file for copies, file in by_copies.items()}
        for name, by_copies in manifest["empties"].items()
    }
    return time_kernels(jobs, empties=empties, start=start, budget_ms=budget_ms)


def _networks(
    entries: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    *,
    start: Start,
    budget_ms: float,
) -> dict[str, Timing]:
    models = {entry["name"]: entry["file"] for entry in entries}
    empty = manifest["empties"]["float32"]["1"]
    return time_networks(models, empty=empty, start=start, budget_ms=budget_ms * NETWORK_BUDGET)


def opened(path: Path, required: Mapping[str, str]) -> list[str]:
    """The names in the results at `path`; makes the file, or cuts off an incomplete last line."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.decode().splitlines()
    notes = dict(words[2:].split(": ", 1) for words in lines if words.startswith("# "))
    rows = list(csv.reader(words for words in lines if not words.startswith("#")))
    if not rows:
        described = {**required, "date": time.strftime("%Y-%m-%d", time.gmtime())}
        heading = "".join(f"# {key}: {value}\n" for key, value in described.items())
        path.write_text(heading + ",".join(COLUMNS) + "\n", encoding="utf-8")
        return []
    for name, value in required.items():
        if notes.get(name) != value:
            sys.exit(
                f"error: {path} was measured with {name} = {notes.get(name)!r}, now it is "
                f"{value!r}; delete it to measure anew, or give another --out"
            )
    path.write_bytes(whole)
    return [row[0] for row in rows[1:]]


def append(path: Path, timings: Mapping[str, Timing]) -> None:
    """Append rows to the file at `path`; they are on the disk when the function returns."""
    with path.open("a", encoding="utf-8") as file:
        for name, one in timings.items():
            file.write(f"{name},{one.latency_ms!r},{one.spread_ms!r},{one.count}\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
