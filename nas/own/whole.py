"""Whole networks timed on this machine, one beside the other, and never twice."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from nas.export import export_onnx
from nas.files.durable import write_atomic
from nas.own.evaluator import Deploying
from nas.own.remembering import resolved
from nas.profiling import OnnxRuntime
from nas.targets.saturation import EightBitWeights
from search_spaces.documents import read_json
from search_spaces.space import Genotype, SearchSpace

_TIMES = TypeAdapter(dict[str, float])


@dataclass(frozen=True)
class WholeNetworks:
    """The latencies of whole networks in onnxruntime on this machine.

    Networks that are asked for together are timed in one run, in which their repetitions take
    turns. Times are kept in a file.

    Attributes:
        deployment: Makes the networks.
        space: The space of the genotypes.
        path: The file that keeps times.
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
        keys = [resolved(self.space, genotype) for genotype in genotypes]
        known = self._known()
        if missing := {
            key: one for key, one in zip(keys, genotypes, strict=True) if key not in known
        }:
            known |= self._measured(missing)
            if self.path.parent.is_dir():
                write_atomic(self.path, json.dumps(known, indent=1).encode())
        return [known[key] for key in keys]

    def _known(self) -> dict[str, float]:
        if not self.path.exists():
            return {}
        remedy = "delete it, and whole networks are timed anew"
        return read_json(self.path, _TIMES, what="the times of whole networks", remedy=remedy)

    def _measured(self, missing: dict[str, Genotype]) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            paths = {key: Path(folder) / f"{key}.onnx" for key in missing}
            for key, path in paths.items():
                deployed = self.deployment(missing[key])
                export_onnx(deployed, path, eight_bit_weights=self.weights)
            found = OnnxRuntime(self.threads, self.weights).networks(paths)
        return {key: latency for key, (latency, _) in found.items()}
