"""Data augmentation: random shifts and flips of a batch, drawn from a numpy generator."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Augment(BaseModel):
    """The augmentation of training images.

    Attributes:
        shift: The largest shift along each axis, in pixels. Pixels that move in are black.
        flip: Whether half of the images are mirrored left to right; wrong for digits and letters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: Annotated[int, Field(ge=0)] = 0
    flip: bool = False

    def __call__(self, images: Tensor, black: Tensor, rng: np.random.Generator) -> Tensor:
        """An augmented copy of images.

        Args:
            images: Normalised images, `(n, c, h, w)`.
            black: The normalised value of a zero pixel, `(c,)`.
            rng: The generator from which shifts and flips are drawn.
        """
        if self.shift:
            offsets = rng.integers(-self.shift, self.shift, size=(2, len(images)), endpoint=True)
            images = shifted(images, black, torch.from_numpy(offsets).to(images.device))
        if self.flip:
            mirrored = torch.from_numpy(rng.random(len(images)) < 0.5).to(images.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images


def shifted(images: Tensor, black: Tensor, offsets: Tensor) -> Tensor:
    """The images moved down and to the right; pixels that move in are black.

    Args:
        images: Images, `(n, c, h, w)`.
        black: The value of a black pixel, `(c,)`.
        offsets: Pixels by which each image moves down and to the right, `(2, n)`.
    """
    _, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) - offsets[0][:, None]
    columns = torch.arange(width, device=images.device) - offsets[1][:, None]
    inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
    moved = images[
        torch.arange(len(images), device=images.device)[:, None, None, None],
        torch.arange(channels, device=images.device)[None, :, None, None],
        rows.clamp(0, height - 1)[:, None, :, None],
        columns.clamp(0, width - 1)[:, None, None, :],
    ]
    return torch.where(inside, moved, black[:, None, None])


def _within(positions: Tensor, length: int) -> Tensor:
    return (positions >= 0) & (positions < length)
