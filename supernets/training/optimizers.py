"""The optimizers of a training, and their state as named tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from supernets.supernet import Supernet
from supernets.training.schedule import TrainingSettings

STEPS = ("weight_steps", "input_steps")  # the groups of quantizer steps
_SECOND_MOMENT = 0.999  # decay rate of Kingma & Ba 2015, algorithm 1


@dataclass(frozen=True)
class Remembered:
    """A tensor that an optimizer keeps for each parameter.

    Attributes:
        key: The name under which torch keeps the tensor.
        scalar: Whether the tensor is a single number; else it has the shape of the parameter.
    """

    key: str
    scalar: bool = False

    def like(self, parameter: Tensor) -> Tensor:
        """A tensor of the same form."""
        return torch.zeros(()) if self.scalar else parameter


# Optimizer of the settings -> prefix of names in a checkpoint -> the tensor of each parameter.
_MEMORIES: Mapping[str, Mapping[str, Remembered]] = MappingProxyType(
    {
        "sgd": {"momentum": Remembered("momentum_buffer")},
        "adamw": {
            "mean": Remembered("exp_avg"),
            "square": Remembered("exp_avg_sq"),
            "updates": Remembered("step", scalar=True),
        },
    }
)


def optimizer_for(supernet: Supernet, settings: TrainingSettings) -> Optimizer:
    """The optimizer over groups of parameters: weights, others such as norms, and two of steps.

    The entry `rate` of a group is its learning rate divided by that of the weights.
    """
    groups = supernet.parameter_groups()
    split = [
        {"params": groups["weights"], "rate": 1.0, "weight_decay": settings.weight_decay},
        {"params": groups["others"], "rate": 1.0},
        *({"params": groups[kind], "rate": settings.step_rate} for kind in STEPS),
    ]
    # A single pass per group, as a supernet has hundreds of small parameters.
    if settings.optimizer == "adamw":
        betas = (settings.momentum, _SECOND_MOMENT)
        return AdamW(split, lr=settings.learning_rate, betas=betas, weight_decay=0.0, foreach=True)
    return SGD(
        split,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        foreach=True,
    )


@dataclass(frozen=True)
class Memory:
    """The state of a supernet's optimizer, as tensors by name."""

    supernet: Supernet
    optimizer: Optimizer
    kind: str

    def tensors(self) -> dict[str, Tensor]:
        """The whole state: `PREFIX.PARAMETER` -> tensor."""
        return {
            f"{prefix}.{name}": self.optimizer.state[parameter][held.key]
            for prefix, held in _MEMORIES[self.kind].items()
            for name, parameter in self.supernet.named_parameters()
            if held.key in self.optimizer.state[parameter]
        }

    def expected(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Tensors of the expected shape and type for `names`; unknown names are left out."""
        forms = {
            f"{prefix}.{name}": held.like(parameter)
            for prefix, held in _MEMORIES[self.kind].items()
            for name, parameter in self.supernet.named_parameters()
        }
        return {name: forms[name] for name in names if name in forms}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the state from the tensors of a checkpoint, named as in `tensors`."""
        for prefix, held in _MEMORIES[self.kind].items():
            for name, parameter in self.supernet.named_parameters():
                if f"{prefix}.{name}" in tensors:
                    # AdamW counts its updates on the processor, wherever parameters are.
                    where = "cpu" if held.scalar else parameter.device
                    moved = tensors[f"{prefix}.{name}"].to(where)
                    self.optimizer.state[parameter][held.key] = moved
