"""Cleaning of images and labels from files: axis order, square shape, finite values."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.tasks.classes import class_labels
from nas.tasks.source import Array, Samples
from nas.tasks.targets import LARGEST, require_targets
from nas.tasks.task import TaskError

IMAGE = "image"
Layout = Literal["auto", "nhw", "nhwc", "nchw"]
_IMAGE_CHANNELS = (1, 3)
_CHUNK = 1024


def labelled(where: str, images: Array, labels: Array, *, layout: Layout = "auto") -> Samples:
    """The clean images and labels of a source.

    Args:
        where: The source, for errors.
        images: Images in any layout.
        labels: One class per image, `(n,)` or `(n, 1)`.
        layout: The order of the axes of `images`.

    Raises:
        TaskError: If there is no image, a pixel is not finite, or labels do not fit.
    """
    images = clean_images(where, images, layout)
    require_targets(where, len(images), labels)
    return Samples({IMAGE: images}, class_labels(where, labels))


def clean_images(where: str, images: Array, layout: Layout) -> Array:
    """The images of a source, `(n, c, h, w)`, padded with zeros around their centre to squares.

    Args:
        where: The source, for errors.
        images: Images in any layout.
        layout: The order of their axes.

    Raises:
        TaskError: If there is no image, or a pixel is not finite.
    """
    if images.size == 0:
        raise TaskError(f"{where} holds no images; every split needs at least one")
    images = squared(channels_first(where, images, layout))
    if images.dtype.kind == "f":
        _check_finite(where, images)
    return images


def channels_first(where: str, images: Array, layout: Layout) -> Array:
    """The images with the axes `(n, c, h, w)`.

    Args:
        where: The source, for errors.
        images: Images in any layout.
        layout: The order of their axes; `auto` takes the axis of length 1 or 3 for the channels.

    Raises:
        TaskError: If the images do not have such a layout, or `auto` is ambiguous.
    """
    if images.dtype.kind not in "uifb":
        raise TaskError(f"{where} has images of type {images.dtype}; give integers or floats")
    if layout == "auto":
        layout = _guess_layout(where, images.shape)
    if images.ndim != len(layout):
        raise TaskError(
            f"{where} has images of shape {images.shape}, which layout {layout!r} cannot be; "
            "give an array (n, h, w), (n, h, w, c) or (n, c, h, w)"
        )
    if layout == "nhw":
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if layout == "nhwc" else images


def _guess_layout(where: str, shape: tuple[int, ...]) -> Layout:
    if len(shape) == len("nhw"):
        return "nhw"
    if len(shape) != len("nchw"):
        raise TaskError(
            f"{where} has images of shape {shape}; "
            "give an array (n, h, w), (n, h, w, c) or (n, c, h, w)"
        )
    first, last = shape[1] in _IMAGE_CHANNELS, shape[3] in _IMAGE_CHANNELS
    if first == last:
        raise TaskError(
            f"{where} has images of shape {shape}, which does not tell where the channels are; "
            "set layout to 'nhwc' or 'nchw'"
        )
    return "nchw" if first else "nhwc"


def squared(images: Array) -> Array:
    """The images `(n, c, h, w)`, padded with zeros around their centre to squares."""
    height, width = images.shape[2:]
    size = max(height, width)
    if height == width:
        return images
    top, left = (size - height) // 2, (size - width) // 2
    padded = np.zeros((*images.shape[:2], size, size), dtype=images.dtype)
    padded[:, :, top : top + height, left : left + width] = images
    return padded


def _check_finite(where: str, images: Array) -> None:
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        with np.errstate(over="ignore"):
            used = np.abs(part.astype(np.float32))
        for allowed, fault in (
            (np.isfinite(part), "NaN or infinite pixels"),
            (used <= LARGEST, f"pixels beyond {LARGEST:.1g}, the reach of float32"),
        ):
            sound = allowed.all(axis=(1, 2, 3))
            if not sound.all():
                bad = start + int(np.argmin(sound))
                raise TaskError(f"{where} has {fault}, first in image {bad}; repair or drop it")


def pixel_statistics(images: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean and the standard deviation per channel of images `(n, c, h, w)`, each `(c,)`.

    The standard deviation is 1 where a channel is constant.
    """
    total, squares = np.zeros(images.shape[1]), np.zeros(images.shape[1])
    for start in range(0, len(images), _CHUNK):
        # Images will be used in float32: values that are equal in float32 have no spread.
        part = images[start : start + _CHUNK].astype(np.float32).astype(np.float64)
        total += part.sum(axis=(0, 2, 3))
        squares += np.square(part).sum(axis=(0, 2, 3))
    count = images.size / images.shape[1]
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0)
    std = np.sqrt(variance)
    return mean, np.where(std.astype(np.float32) > 0, std, 1.0)
