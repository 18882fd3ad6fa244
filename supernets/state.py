"""The state of a training between two steps, which is enough to continue after an interruption."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from supernets.checkpoint import CheckpointError, load_state, require_alike, save_state
from supernets.optimizers import Memory, optimizer_for
from supernets.schedule import TrainingSettings
from supernets.supernet import Supernet

LOSSES = ("largest", "others", "smallest")


class TrainingState:
    """A supernet in training, its optimizer, the number of steps done, and their losses."""

    def __init__(
        self, supernet: Supernet, settings: TrainingSettings, *, samples: int, steps: int
    ) -> None:
        self.supernet = supernet
        self.settings = settings
        self.step = 0
        self.losses = torch.full((steps, len(LOSSES)), math.nan)
        self.optimizer = optimizer_for(supernet, settings)
        self._memory = Memory(supernet, self.optimizer, settings.optimizer)
        self._size = self._weights_size()
        made_by = {**asdict(settings), "samples": samples}
        del made_by["checkpoint_seconds"]  # a setting that may change between two starts
        if settings.optimizer == TrainingSettings.optimizer:
            del made_by["optimizer"]  # so that older checkpoints still fit
        self._made_by = json.dumps(made_by, sort_keys=True)

    @property
    def growth(self) -> float:
        """The norm of the weights divided by their norm before training."""
        return self._weights_size() / self._size

    def _weights_size(self) -> float:
        weights = self.optimizer.param_groups[0]["params"]
        return float(torch.stack([weight.detach().norm() for weight in weights]).norm())

    def update(self, learning_rate: float) -> float:
        """Take a step of the optimizer with the present gradients.

        Returns the norm of the gradients before clipping. If the norm is not finite, no weight
        changes.
        """
        norms = [self._clip(group["params"]) for group in self.optimizer.param_groups]
        norm = float(torch.stack(norms).norm())
        if math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate * group["rate"]
            self.optimizer.step()
        return norm

    def _clip(self, parameters: Sequence[Tensor]) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip)

    def record(self, losses: Sequence[float]) -> None:
        """Count a step as done, with these losses."""
        self.losses[self.step] = torch.tensor(losses)
        self.step += 1

    def save(self, path: Path) -> None:
        """Write the state to a checkpoint at `path`.

        Raises:
            CheckpointError: If the file cannot be written.
        """
        tensors = {f"supernet.{name}": t for name, t in self.supernet.state_dict().items()}
        tensors |= self._memory.tensors()
        metadata = {
            "fingerprint": self.supernet.space.fingerprint,
            "step": str(self.step),
            "settings": self._made_by,
        }
        save_state(path, {**tensors, "losses": self.losses}, metadata)

    def load(self, path: Path) -> None:
        """Replace this state by the checkpoint at `path`.

        Raises:
            CheckpointError: If the checkpoint is damaged or was made with other settings.
        """
        tensors, metadata = load_state(path, fingerprint=self.supernet.space.fingerprint)
        if metadata.get("settings") != self._made_by:
            raise CheckpointError(
                f"checkpoint {path} was made by a training with {metadata.get('settings')}, now "
                f"asked for {self._made_by}; restore those settings, or delete it to train anew"
            )
        require_alike(path, expected=self._expected(tensors), found=tensors)
        step, losses = metadata.get("step", ""), tensors["losses"]
        known = int(losses[:, 0].isfinite().sum())
        if step != str(known) or not losses[:known].isfinite().all():
            raise CheckpointError(
                f"checkpoint {path} is damaged: it is of step {step[:20]!r}, but holds the losses "
                f"of {known} steps; delete it and train the supernet again"
            )
        self.supernet.load_state_dict(_under("supernet.", tensors))
        self._memory.restore(tensors)
        self.losses, self.step = losses, known

    def _expected(self, found: Iterable[str]) -> dict[str, Tensor]:
        """Tensors with the names, shapes and types of a checkpoint that has the names `found`."""
        tensors = {f"supernet.{name}": t for name, t in self.supernet.state_dict().items()}
        return {**tensors, **self._memory.expected(found), "losses": self.losses}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
