"""The base of the parts of a training that remember something between two steps."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class TrainingPart:
    """Base of samplers and callbacks: a part whose memory is written into checkpoints.

    A part without a memory defines neither method.
    """

    def tensors(self) -> dict[str, Tensor]:
        """The memory, by name; the names, shapes and types stay the same for a whole training."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the memory to the tensors of a checkpoint, which have the form of `tensors`."""
        if tensors:
            raise NotImplementedError(f"{type(self).__name__} must define restore")
