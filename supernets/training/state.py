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
from supernets.training.optimizers import Memory, optimizer_for
from supernets.training.part import TrainingPart
from supernets.training.step import TrainingStep

LOSSES = ("largest", "others", "smallest")


class TrainingState:
    """A supernet in training, its optimizer, the number of steps done, and their losses.

    Args:
        made: The step of the training, whose parts have memories.
        samples: The number of training samples.
    """

    def __init__(self, made: TrainingStep, *, samples: int) -> None:
        self.made, self.context = made, made.context
        self.supernet, settings = self.context.supernet, self.context.settings
        self.step = 0
        self.losses = torch.full((self.context.plan.total, len(LOSSES)), math.nan)
        self.optimizer = optimizer_for(self.supernet, settings)
        self._memory = Memory(self.supernet, self.optimizer, settings.optimizer)
        self._size = self._weights_size()
        made_by = {**asdict(settings), "samples": samples}
        del made_by["checkpoint_seconds"]  # a setting that may change between two starts
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
        return torch.nn.utils.clip_grad_norm_(parameters, self.context.settings.gradient_clip)

    def record(self, losses: Sequence[float]) -> None:
        """Count a step as done, with these losses."""
        self.losses[self.step] = torch.tensor(losses)
        self.step += 1

    def save(self, path: Path) -> None:
        """Write the state to a checkpoint at `path`.

        Raises:
            CheckpointError: If the file cannot be written.
        """
        tensors = self._tensors() | self._memory.tensors()
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
        for prefix, part in self._parts().items():
            part.restore(_under(prefix, tensors))
        self.losses, self.step = losses, known

    def _expected(self, found: Iterable[str]) -> dict[str, Tensor]:
        """Tensors with the names, shapes and types of a checkpoint that has the names `found`."""
        return {**self._tensors(), **self._memory.expected(found), "losses": self.losses}

    def _tensors(self) -> dict[str, Tensor]:
        """The parameters, and the memories of the parts of the training."""
        held = {f"supernet.{name}": t for name, t in self.supernet.state_dict().items()}
        for prefix, part in self._parts().items():
            held |= {f"{prefix}{name}": tensor for name, tensor in part.tensors().items()}
        return held

    def _parts(self) -> dict[str, TrainingPart]:
        """The parts of the training, by the prefix of their tensors in a checkpoint."""
        callbacks = {f"callback.{name}.": call for name, call in self.made.callbacks.items()}
        return {"sampler.": self.made.sampler, **callbacks}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
