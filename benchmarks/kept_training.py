"""Trainings that are kept in a folder, and the scores of their subnets.

The images are those of `benchmarks.fidelity`. A killed training continues from its checkpoint; a
finished one is read back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.fidelity import BATCH, FloatArray, calibration, images
from nas.files.durable import write_atomic
from nas.recipe.methods import methods_of
from nas.tasks.criteria import Classification
from search_spaces.space import Genotype, SearchSpace
from supernets.checkpoint import load, save
from supernets.deploy import deploy
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.training.schedule import TrainingSettings
from supernets.training.train import train


@dataclass(frozen=True, eq=False)
class KeptTraining:
    """The training of a supernet.

    Attributes:
        space: The space; one with a single network is that network trained alone.
        settings: The settings; the parts that they name are looked up in the table of parts.
        data: The images, one of `benchmarks.fidelity.SHEETS`.
        folder: The folder for the checkpoint, the weights and the scores.
    """

    space: SearchSpace
    settings: TrainingSettings
    data: str
    folder: Path

    @property
    def _stem(self) -> Path:
        text = f"{self.space.fingerprint} {self.settings} {self.data}"
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def trained(self) -> Supernet:
        """The trained weights; from the folder if they are there."""
        path, state = (self._stem.with_suffix(end) for end in (".safetensors", ".state"))
        if path.exists():
            return load(self.space, path, quantizer=methods_of(self.settings).quantizer)
        methods = methods_of(self.settings)
        supernet = Supernet(self.space, seed=self.settings.seed, quantizer=methods.quantizer)
        train(
            supernet,
            images(self.data)[0],
            self.settings,
            criterion=Classification(),
            methods=methods,
            state_path=state,
        )
        save(supernet, path)
        state.unlink()
        return supernet

    def scores(self, subnets: Sequence[Genotype], *, tested: int) -> FloatArray:
        """The scores of deployed subnets, see `score`; `(n, 2)`, measured once and kept."""
        path = Path(f"{self._stem}-{tested}.json")
        known: dict[str, list[float]] = json.loads(path.read_text()) if path.exists() else {}
        keys = [" ".join(map(str, genotype)) for genotype in subnets]
        missing = [(key, g) for key, g in zip(keys, subnets, strict=True) if key not in known]
        if missing:
            supernet = self.trained()
            known |= {
                key: [*score(supernet, g, tested=tested, data=self.data)] for key, g in missing
            }
            write_atomic(path, json.dumps(known).encode())
        return np.array([known[key] for key in keys])


@torch.no_grad()
def score(supernet: Supernet, genotype: Genotype, *, tested: int, data: str) -> tuple[float, float]:
    """The accuracy in percent and the cross-entropy of a deployed subnet.

    Args:
        supernet: The trained weights.
        genotype: The subnet, which is extracted and calibrated first.
        tested: The number of test images; the first ones are taken.
        data: The images, one of `benchmarks.fidelity.SHEETS`.
    """
    _, test = images(data)
    module = deploy(extract(supernet, genotype, calibration(data))).module()
    shown, truth = test.inputs["image"][:tested], test.targets[:tested]
    logits = torch.cat([module(part) for part in shown.split(BATCH)])
    loss = torch.nn.functional.cross_entropy(logits, truth)
    return 100 * float((logits.argmax(1) == truth).double().mean()), float(loss)
