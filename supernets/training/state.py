"""The state of a training between two steps, which is enough to continue after an interruption."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from supernets.channels import sorted_places
from supernets.checkpoint import CheckpointError, load_state, require_alike, save_state
from supernets.training.context import Moment
from supernets.training.optimizers import Memory, optimizer_for
from supernets.training.part import TrainingPart
from supernets.training.step import TrainingStep

LOSSES = ("largest", "others", "smallest")
SLOWER = 1 / 3  # the learning rate after a training went back over that before
_NEVER = -1
_GOOD = "good."


@dataclass(frozen=True)
class Return:
    """The return of a training that diverged to an earlier step.

    Attributes:
        found: The number of steps done when the divergence was found.
        step: The number of steps done in the state that the training went back to.
    """

    found: int
    step: int


class TrainingState:
    """A supernet in training, its optimizer, the number of steps done, and their losses.

    The state also keeps an earlier state of itself that is known to be good, at first that before
    the training. Both are in every checkpoint.

    Attributes:
        returned: The return of the training to an earlier step, None if there was none so far.
        good: The number of steps done in the state that is known to be good.

    Args:
        made: The step of the training, whose parts have memories.
        samples: The number of training samples.
        origin: A digest of the weights at the start, if they are given ones; checkpoints keep it.
    """

    def __init__(self, made: TrainingStep, *, samples: int, origin: str = "") -> None:
        self.made, self.context = made, made.context
        self.supernet, settings = self.context.supernet, self.context.settings
        self.step, self._origin = 0, origin
        self.losses = torch.full((self.context.plan.total, len(LOSSES)), math.nan)
        self.optimizer = optimizer_for(self.supernet, settings)
        self._memory = Memory(self.supernet, self.optimizer, settings.optimizer)
        self._size = self._weights_size()
        made_by = {**asdict(settings), "samples": samples}
        del made_by["checkpoint_seconds"]  # a setting that may change between two starts
        self._made_by = json.dumps(made_by, sort_keys=True)
        self.returned: Return | None = None
        self.trust()

    @property
    def moment(self) -> Moment:
        """The next step, with the learning rates that the training has now."""
        plan = self.context.plan
        lower = replace(plan, highest=plan.highest * SLOWER) if self.returned else plan
        return Moment(self.step, lower)

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

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Put channels in the order of importance, in all tensors that belong to a parameter."""
        places = sorted_places(self.supernet)
        names = {id(tensor): name for name, tensor in self.supernet.named_parameters()}
        moved = {
            f".{names[id(self.supernet.node(address).tensors[name])]}": order
            for (address, name), order in places.items()
        }
        for held, tensor in self._tensors().items():
            for name, order in moved.items():
                if held.endswith(name) and tensor.shape == order.shape:
                    tensor.copy_(tensor.reshape(-1)[order])

    def record(self, losses: Sequence[float]) -> None:
        """Count a step as done, with these losses."""
        self.losses[self.step] = torch.tensor(losses)
        self.step += 1

    def trust(self) -> None:
        """Keep the present state as the one to go back to."""
        self.good = self.step
        self._kept = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}

    def go_back(self) -> None:
        """Set the state to the one that is known to be good, with a lower learning rate."""
        self.returned = Return(self.step, self.good)
        self._restore({name: tensor.clone() for name, tensor in self._kept.items()})
        self.losses[self.good :] = math.nan
        self.step = self.good

    def save(self, path: Path) -> None:
        """Write the state to a checkpoint at `path`.

        Raises:
            CheckpointError: If the file cannot be written.
        """
        metadata = {
            "fingerprint": self.supernet.space.fingerprint,
            "step": str(self.step),
            "settings": self._made_by,
            "origin": self._origin,
        }
        kept = {f"{_GOOD}{name}": tensor for name, tensor in self._kept.items()}
        own = {"losses": self.losses, "returns": self._returns()}
        save_state(path, {**self._tensors(), **kept, **own}, metadata)

    def load(self, path: Path) -> None:
        """Replace this state by the checkpoint at `path`.

        Raises:
            CheckpointError: If the checkpoint is damaged, was made with other settings, or began
                from other weights.
        """
        tensors, metadata = load_state(path, fingerprint=self.supernet.space.fingerprint)
        if metadata.get("settings") != self._made_by:
            raise CheckpointError(
                f"checkpoint {path} was made by a training with {metadata.get('settings')}, now "
                f"asked for {self._made_by}; restore those settings, or delete it to train anew"
            )
        if metadata.get("origin", "") != self._origin:
            raise CheckpointError(
                f"checkpoint {path} is of a training that began from other weights; give those "
                "weights, another file or folder, or delete it to train anew"
            )
        require_alike(path, expected=self._expected(tensors), found=tensors)
        step, losses, returns = metadata.get("step", ""), tensors["losses"], tensors["returns"]
        known, (good, found, back) = int(losses[:, 0].isfinite().sum()), returns.tolist()
        if step != str(known) or not losses[:known].isfinite().all() or not 0 <= good <= known:
            raise CheckpointError(
                f"checkpoint {path} is damaged: it is of step {step[:20]!r} with a good state of "
                f"step {good}, but holds the losses of {known} steps; delete it and train the "
                "supernet again"
            )
        self._kept = _under(_GOOD, tensors)
        self._restore(tensors)
        self.losses, self.step, self.good = losses, known, good
        self.returned = None if found == _NEVER else Return(found, back)

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the parameters and all memories to tensors that are named as in `_tensors`."""
        self.supernet.load_state_dict(_under("supernet.", tensors))
        self.optimizer.state.clear()
        self._memory.restore(tensors)
        for prefix, part in self._parts().items():
            part.restore(_under(prefix, tensors))

    def _returns(self) -> Tensor:
        """The step of the good state, and `returned`, as three integers."""
        back = self.returned or Return(_NEVER, _NEVER)
        return torch.tensor([self.good, back.found, back.step])

    def _expected(self, found: Collection[str]) -> dict[str, Tensor]:
        """Tensors with the names, shapes and types of a checkpoint that has the names `found`."""
        own = {"losses": self.losses, "returns": self._returns()}
        held = self._held()
        for prefix in ("", _GOOD):
            names = [name.removeprefix(prefix) for name in found if name.startswith(prefix)]
            alike = held | self._memory.expected(names)
            own |= {f"{prefix}{name}": tensor for name, tensor in alike.items()}
        return own

    def _tensors(self) -> dict[str, Tensor]:
        """The parameters, the state of the optimizer, and the memories of the parts."""
        return self._held() | self._memory.tensors()

    def _held(self) -> dict[str, Tensor]:
        """The parameters, and the memories of the parts of the training."""
        held = {f"supernet.{name}": t for name, t in self.supernet.state_dict().items()}
        for prefix, part in self._parts().items():
            held |= {f"{prefix}{name}": tensor for name, tensor in part.tensors().items()}
        return held

    def _parts(self) -> dict[str, TrainingPart]:
        """The parts of the training, by the prefix of their tensors in a checkpoint."""
        callbacks = {f"callback.{name}.": call for name, call in self.made.callbacks.items()}
        return {"sampler.": self.made.sampler, **callbacks}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
