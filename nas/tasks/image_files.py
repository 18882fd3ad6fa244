"""Image files as arrays of pixels, read by Pillow, which is an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.memory import shortage
from nas.tasks.clean import Array
from nas.tasks.task import TaskError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def image_files(folder: Path, pattern: str) -> list[Path]:
    """The image files that match `pattern` in `folder`, sorted; hidden folders are left out."""
    return [
        path
        for path in sorted(folder.glob(pattern))
        if path.suffix.lower() in SUFFIXES and not path.parent.name.startswith(".")
    ]


def read_images(
    files: Sequence[Path], channels: Literal[1, 3], *, size: int | None = None
) -> Array:
    """The images of files, `(n, h, w, c)` uint8.

    Args:
        files: The files, at least one.
        channels: 3 reads images in colour, 1 in grey.
        size: The side of the square into which every image is scaled.

    Raises:
        TaskError: If an image cannot be read, images differ in size, or all are too large.
    """
    first = _pixels(files[0], channels, size)
    # In bytes as they are read, and in float32 when they are normalised.
    if missing := shortage((1 + 4) * len(files) * max(first.shape[:2]) ** 2 * channels):
        raise TaskError(
            f"to read the {len(files)} images of {files[0].parent} at {_size(first)} {missing}; "
            "give fewer or smaller images"
        )
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for row, file in enumerate(files):
        pixels = _pixels(file, channels, size)
        if pixels.shape != first.shape:
            raise TaskError(
                f"{file} is {_size(pixels)} but {files[0]} is {_size(first)}; scale all images to "
                "one size, or set image_size if the task has this key"
            )
        images[row] = pixels
    return images


def _pixels(file: Path, channels: Literal[1, 3], size: int | None) -> Array:
    """The pixels of an image file, `(h, w, c)` uint8."""
    pillow = _pillow()
    try:
        with pillow.open(file) as opened:
            image = opened.convert("RGB" if channels == 3 else "L")
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise TaskError(
            f"{file} cannot be read as an image ({error}); repair or remove it"
        ) from error
    if size is not None:
        image = _fitted(image, size)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _fitted(image: Any, size: int) -> Any:
    """The image scaled to fit into `size` x `size` pixels; the rest of the square is black."""
    longer = max(image.size)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    square = _pillow().new(image.mode, (size, size))
    square.paste(image.resize((width, height)), ((size - width) // 2, (size - height) // 2))
    return square


def _size(pixels: Array) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} pixels"


def _pillow() -> Any:
    try:
        from PIL import Image  # an extra, needed for folders only
    except ImportError as error:
        raise TaskError(
            "reading a folder of images needs Pillow; run: pip install 'elastic-nas[images]'"
        ) from error
    return Image
