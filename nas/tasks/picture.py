"""One image file as pixels, read by Pillow, which is an extra."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.tasks.source import Array
from nas.tasks.task import TaskError

Channels = Literal[1, 3]
Fit = Literal["pad", "crop", "stretch"]
Background = Literal["black", "white"]

_BITS8 = ("1", "L", "P", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")
DEPTHS = {
    **dict.fromkeys((*_BITS8, "HSV"), "8 bits"),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "16 bits"),
    "I": "32-bit integers",
    "F": "floats",
}
_GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_HEIF = (".heic", ".heif", ".hif")
# What Pillow only recognises, or reads by a program that few machines have.
_NOT_READ = (
    ".bufr",
    ".eps",
    ".grib",
    ".h5",
    ".hdf",
    ".iim",
    ".mpeg",
    ".mpg",
    ".ps",
    ".emf",
    ".wmf",
)


@dataclass(frozen=True)
class Style:
    """How images are brought to one form.

    Attributes:
        channels: 3 reads in colour, 1 in grey.
        size: The side of the square into which every image is scaled; None keeps the size.
        fit: How an image that is no square is brought into the square.
        background: The colour behind transparent pixels.
        crop_share: The share of the shorter side that `crop` leaves, cutting all four edges.
    """

    channels: Channels = 3
    size: int | None = None
    fit: Fit = "pad"
    background: Background = "black"
    crop_share: float = 1.0


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of an image file, and what was found in the file.

    Attributes:
        pixels: The pixels, `(h, w, c)`, in the unit of the file: 8, 16 or 32 bits, or floats.
        depth: The kind of numbers in the file, in words.
        traits: What a reader may want to know of the file.
    """

    pixels: Array
    depth: str
    traits: frozenset[str]


GREY = "in grey"
COLOUR = "in colour"
TURNED = "turned as their EXIF data say"
TRANSPARENT = "with transparent pixels"
VANISHED = "with transparent pixels, and all others of the background's colour"
SEVERAL = "that hold several images, of which the first was read"
PRINT = "in CMYK, turned into RGB"
DEEP_COLOUR = "in colour with 16 bits, of which Pillow reads the upper 8"


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of files that are read as images, in lower case."""
    pillow = imaging()
    pillow.init()
    known = pillow.registered_extensions().items()
    return frozenset(s for s, kind in known if kind in pillow.OPEN and s not in _NOT_READ)


def lacks_plugin(suffix: str) -> bool:
    """Whether files with this ending are images that a package is missing to read."""
    return suffix in _HEIF and suffix not in suffixes()


@dataclass(frozen=True)
class Glance:
    """What the header of an image file tells: its size when it is upright, and whether it is grey.

    Attributes:
        size: Width and height in pixels.
        grey: Whether the image has no colours.
    """

    size: tuple[int, int]
    grey: bool


def glance(file: Path) -> Glance:
    """What the header of an image file tells; pixels are not read.

    Raises:
        ValueError: If the file cannot be read as an image.
    """
    with _opened(file) as opened:
        width, height = opened.size
        # Pillow itself tells the upright size of a TIFF.
        lying = opened.format != "TIFF" and opened.getexif().get(_ORIENTATION) in range(5, 9)
        return Glance((height, width) if lying else (width, height), opened.mode in _GREY)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The image in a file; errors within the `with` block become a `ValueError`."""
    pillow = imaging()
    try:
        # By its name, Pillow maps an uncompressed TIFF that is turned with rows of wrong length.
        with file.open("rb") as content, pillow.open(content) as opened:
            yield opened
    except pillow.UnidentifiedImageError as error:
        raise ValueError("of no known format") from error
    except Exception as error:  # damaged files raise whatever their decoder meets
        raise ValueError(str(error) or type(error).__name__) from error


def read_picture(file: Path, style: Style) -> Picture:
    """The image in a file.

    Raises:
        ValueError: If the file cannot be read as an image.
    """
    with _opened(file) as opened:
        return _picture(opened, style)


def _picture(opened: Any, style: Style) -> Picture:
    from PIL import ImageOps

    if opened.mode not in DEPTHS:
        raise ValueError(f"its mode {opened.mode!r} is not known here; save it in RGB")
    depth, traits = DEPTHS[opened.mode], {*_traits(opened)}
    image = ImageOps.exif_transpose(opened)
    if depth == "8 bits":
        image, transparent = _of_8_bits(image, style)
        traits |= {TRANSPARENT} if transparent else set()
    if style.size is not None:
        image = _fitted(image, style.size, style)
    pixels = np.asarray(image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("it has pixels that are NaN or infinite")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], style.channels, axis=2)
    if TRANSPARENT in traits and pixels.min() == pixels.max():
        traits.add(VANISHED)
    return Picture(pixels, depth, frozenset(traits))


def _traits(opened: Any) -> list[str]:
    """What the header of a file tells."""
    found = [GREY if opened.mode in _GREY else COLOUR]
    # First of all, since the parts of a file are known only until the pixels are loaded.
    if ";16" in str(opened.tile) and DEPTHS[opened.mode] == "8 bits":
        found.append(DEEP_COLOUR)
    if opened.getexif().get(_ORIENTATION, 1) in range(2, 9):
        found.append(TURNED)
    if opened.mode == "CMYK":
        found.append(PRINT)
    if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":  # views of one photograph
        found.append(SEVERAL)
    return found


_ORIENTATION = 0x0112


def _of_8_bits(image: Any, style: Style) -> tuple[Any, bool]:
    """The image in RGB or grey, and whether it had transparent pixels."""
    transparent = False
    if image.has_transparency_data:
        image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        transparent = image.getchannel("A").getextrema()[0] < 255
        ground = imaging().new("RGBA", image.size, style.background)
        ground.alpha_composite(image)
        image = ground
    return image.convert("RGB").convert("RGB" if style.channels == 3 else "L"), transparent


def _fitted(image: Any, size: int, style: Style) -> Any:
    """The image scaled to `size` x `size` pixels; pixels that are added are black."""
    from PIL import ImageOps

    square, ways = (size, size), imaging().Resampling
    # Bicubic scaling goes beyond the darkest and the brightest pixel where nothing limits it.
    way = ways.BILINEAR if image.mode in ("I", "F") else ways.BICUBIC
    if style.fit == "stretch":
        return image.resize(square, way)
    if style.fit == "pad":
        return ImageOps.pad(image, square, method=way)
    return ImageOps.fit(image, square, method=way, bleed=(1 - style.crop_share) / 2)


@functools.cache
def imaging() -> Any:
    """Pillow's module of images, with all formats that are installed.

    Raises:
        TaskError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise TaskError(
            "reading a folder of images needs Pillow; run: pip install 'elastic-nas[images]'"
        ) from error
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return Image
