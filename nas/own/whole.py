"""Whole networks timed on this machine, one beside the other, and never twice."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from nas.export import export_onnx
from nas.files.durable import write_atomic
from nas.own.evaluator import Deploying
from nas.own.remembering import resolved
from nas.profiling.side_by_side import Beside, side_by_side
from nas.targets.saturation import EightBitWeights
from search_spaces.compensation import unbranched
from search_spaces.documents import read_json
from search_spaces.space import Genotype, SearchSpace

_TIMES = TypeAdapter(dict[str, float])


@dataclass(frozen=True)
class WholeNetworks:
    """The latencies of whole networks in onnxruntime on this machine.

    Networks are timed in turns with a reference, the most precise and widest network. The latency
    of a network is its ratio to the reference times the first latency of the reference, so that
    networks that were timed at different hours can be compared. Times are kept in a file.

    Attributes:
        deployment: Makes the networks.
        space: The space of the genotypes.
        path: The file that keeps times; nothing is kept where its folder is gone.
        weights: The form of 8-bit weights in files for this machine.
        threads: The number of threads inside a kernel.
    """

    deployment: Deploying
    space: SearchSpace
    path: Path
    weights: EightBitWeights = "unsigned"
    threads: int = 1

    def __call__(self, genotypes: Sequence[Genotype]) -> list[float]:
        """The latency of each network for one sample, in ms."""
        whole = unbranched(self.space)
        keys = [resolved(self.space, genotype) for genotype in genotypes]
        reference, known = resolved(self.space, whole), self._known()
        missing = {key: one for key, one in zip(keys, genotypes, strict=True) if key not in known}
        if missing:
            found = self._measured({reference: whole, **missing}, reference)
            base = known.setdefault(reference, found[reference].median_ms)
            known |= {key: found[key].ratio * base for key in missing}
            if self.path.parent.is_dir():
                write_atomic(self.path, json.dumps(known, indent=1).encode())
        return [known[key] for key in keys]

    def _known(self) -> dict[str, float]:
        if not self.path.exists():
            return {}
        remedy = "delete it, and whole networks are timed anew"
        return read_json(self.path, _TIMES, what="the times of whole networks", remedy=remedy)

    def _measured(self, networks: Mapping[str, Genotype], reference: str) -> dict[str, Beside]:
        # With one thread, the time in which other processes have the core is not counted.
        clock = time.thread_time_ns if self.threads == 1 else time.perf_counter_ns
        with tempfile.TemporaryDirectory() as folder:
            paths = {key: Path(folder) / f"{key}.onnx" for key in networks}
            for key, path in paths.items():
                export_onnx(self.deployment(networks[key]), path, eight_bit_weights=self.weights)
            return side_by_side(paths, reference=reference, threads=self.threads, clock=clock)
