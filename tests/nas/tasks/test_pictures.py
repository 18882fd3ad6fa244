"""Every kind of image file that Pillow knows is read rightly, or refused with its name."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nas.tasks import FolderTask, TaskError
from nas.tasks.picture import (
    DEEP_COLOUR,
    DEPTHS,
    PRINT,
    SEVERAL,
    TRANSPARENT,
    TURNED,
    Channels,
    Glance,
    Style,
    glance,
    read_picture,
    suffixes,
)

GREY = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def deep_png(path, pixels, *, kind):
    """A PNG of 16 bits, which Pillow writes for grey only."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def assert_reads(path, pixels, *traits, channels: Channels = 1):
    """The file has these pixels, of this type, and these traits."""
    read = read_picture(path, Style(channels))
    assert read.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(read.pixels, pixels.reshape(read.pixels.shape))
    assert {*traits} == read.traits - {"in grey", "in colour"}


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bits_are_not_clipped_to_white(tmp_path, ending):
    deep = GREY.astype(np.uint16) * 257
    wanted = deep.astype(np.int32) if ending == "pgm" else deep  # as Pillow reads them
    assert_reads(saved(tmp_path / f"a.{ending}", Image.fromarray(deep)), wanted)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bits_of_either_byte_order(tmp_path, order):
    deep = (GREY.astype(np.uint16) * 16).astype(order)
    assert_reads(saved(tmp_path / "a.tif", Image.fromarray(deep)), deep.astype(np.uint16))


@pytest.mark.parametrize("pixels", [GREY.astype(np.int32) * 70000, GREY.astype(np.float32) / 255])
def test_32_bits_and_floats_keep_their_numbers(tmp_path, pixels):
    path = saved(tmp_path / "a.tif", Image.fromarray(pixels))
    assert_reads(path, pixels)
    colour = read_picture(path, Style(3)).pixels
    assert (colour == pixels[..., None]).all()
    assert colour.shape == (5, 7, 3)
    small = read_picture(path, Style(1, size=3)).pixels
    assert small.shape == (3, 3, 1)
    assert small.max() <= pixels.max()


def test_black_and_white_and_palettes(tmp_path):
    line_art = Image.fromarray(GREY > 127)
    assert_reads(saved(tmp_path / "a.png", line_art), (GREY > 127).astype(np.uint8) * 255)
    palette = Image.fromarray(COLOUR).quantize(16)
    wanted = np.asarray(palette.convert("RGB"))
    assert_reads(saved(tmp_path / "b.png", palette), wanted, channels=3)


@pytest.mark.parametrize(("background", "wanted"), [("black", 0), ("white", 255)])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparent_pixels_show_the_background(tmp_path, mode, background, wanted):
    image = Image.fromarray(COLOUR).convert("RGBA")
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[0] = 0
    image.putalpha(Image.fromarray(alpha))
    image = image.convert("LA") if mode == "LA" else image
    image = image.quantize(16, method=Image.Quantize.FASTOCTREE) if mode == "PA" else image
    read = read_picture(saved(tmp_path / "a.png", image), Style(3, background=background))
    assert TRANSPARENT in read.traits
    assert (read.pixels[0] == wanted).all()
    assert (read.pixels[1:] != wanted).any()


def test_an_opaque_channel_of_transparency_is_no_finding(tmp_path):
    image = Image.fromarray(COLOUR).convert("RGBA")
    assert_reads(saved(tmp_path / "a.png", image), COLOUR, channels=3)


def test_cmyk_is_turned_into_rgb(tmp_path):
    image = Image.fromarray(COLOUR).convert("CMYK")
    wanted = np.asarray(image.convert("RGB"))
    assert_reads(saved(tmp_path / "a.tif", image), wanted, PRINT, channels=3)


def test_lab_is_turned_into_rgb_and_grey(tmp_path):
    path = saved(tmp_path / "a.tif", Image.new("LAB", (7, 5), (200, 128, 128)))
    for channels in (1, 3):
        read = read_picture(path, Style(channels)).pixels
        assert read.shape == (5, 7, channels)
        assert 150 < read.min() <= read.max() < 220


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_images_are_turned_as_their_exif_data_say(tmp_path, ending):
    upright = np.zeros((8, 16), np.uint8)
    upright[:, :8] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    path = saved(tmp_path / f"a.{ending}", Image.fromarray(upright), exif=exif)
    read = read_picture(path, Style(1))
    assert glance(path) == Glance((8, 16), grey=ending in ("jpg", "png", "tif"))
    assert read.pixels.shape == (16, 8, 1)
    assert TURNED in read.traits
    assert read.pixels[:6].min() > 250
    assert read.pixels[10:].max() < 5


def test_a_crop_leaves_the_inner_share_of_the_shorter_side(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[2:6, 6:10] = COLOUR[:4, :4]  # half of the shorter side, at the centre
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    read = read_picture(path, Style(3, size=4, fit="crop", crop_share=0.5)).pixels
    assert (read == COLOUR[:4, :4]).all()
    for wrong in ({"fit": "pad", "image_size": 4}, {"fit": "crop"}):
        with pytest.raises(ValueError, match=r"crop_share = 0\.5 is for images that are cut"):
            FolderTask(path=tmp_path, crop_share=0.5, **wrong)


def test_the_first_of_several_images_is_read(tmp_path):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    for ending in ("gif", "tif", "apng", "webp"):
        path = tmp_path / f"a.{ending}"
        first.save(path, save_all=True, append_images=[second], lossless=ending == "webp")
        read = read_picture(path, Style(1))
        assert SEVERAL in read.traits
        np.testing.assert_allclose(read.pixels[..., 0].astype(int), GREY, atol=2)


@pytest.mark.parametrize(("kind", "numbers"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_in_colour_are_told(tmp_path, kind, numbers):
    pixels = np.repeat(GREY[..., None], numbers, axis=2).astype(np.uint16) * 257
    if numbers in (2, 4):
        pixels[..., -1] = 65535
    path = deep_png(tmp_path / "a.png", pixels, kind=kind)
    assert_reads(path, np.repeat(GREY[..., None], 3, axis=2), DEEP_COLOUR, channels=3)


def test_every_mode_of_pillow_is_decided_on():
    assert {*Image.MODES} <= {*DEPTHS}


def test_all_endings_of_photographs_are_read():
    wanted = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
    assert wanted | {".heic", ".heif", ".avif", ".jp2", ".pgm", ".ppm"} <= suffixes()
    assert not {".h5", ".mpg", ".eps", ".txt"} & suffixes()


@pytest.mark.parametrize("ending", ["heic", "avif", "jfif", "jp2"])
def test_pictures_of_telephones_are_read(tmp_path, ending):
    smooth = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    path = tmp_path / f"a.{ending.upper()}"
    image = Image.fromarray(smooth).convert("RGB")
    if ending == "heic":
        pytest.importorskip("pillow_heif").from_pillow(image).save(path)
    else:
        image.save(path, format={"jfif": "JPEG", "jp2": "JPEG2000"}.get(ending))
    read = read_picture(path, Style(1))
    assert np.abs(read.pixels[..., 0].astype(int) - smooth).mean() < 4


@pytest.mark.parametrize(("fit", "corner", "middle"), [("pad", 0, 9), ("crop", 9, 9)])
def test_ways_to_fit_a_square(tmp_path, fit, corner, middle):
    wide = np.full((4, 12), 9, np.uint8)
    for pixels in (wide, wide.astype(np.uint16), wide.astype(np.float32)):
        path = saved(tmp_path / "a.tif", Image.fromarray(pixels))
        read = read_picture(path, Style(1, size=6, fit=fit)).pixels[..., 0]
        assert (read.shape, read[0, 0], read[3, 3]) == ((6, 6), corner, middle)
        assert read.dtype == pixels.dtype


def test_stretching_uses_the_whole_image(tmp_path):
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 6:] = 200
    path = saved(tmp_path / "a.png", Image.fromarray(wide))
    read = read_picture(path, Style(1, size=4, fit="stretch")).pixels[..., 0]
    assert (read[:, 0] < 20).all()
    assert (read[:, -1] > 180).all()


def truncated(path):
    saved(path, Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)))
    path.write_bytes(path.read_bytes()[:700])


def folder_of(root, pictures):
    for name, image in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return FolderTask(path=root)


def test_all_bad_files_are_named_at_once(tmp_path):
    task = folder_of(
        tmp_path, {"cat/0.png": Image.new("L", (4, 4)), "dog/0.png": Image.new("L", (5, 4))}
    )
    (tmp_path / "cat" / "1.png").write_text("no image")
    (tmp_path / "dog" / "1.jpg").write_bytes(b"")
    truncated(tmp_path / "dog" / "2.png")
    nan = np.full((4, 4), np.nan, np.float32)
    Image.fromarray(nan).save(tmp_path / "dog" / "3.tif")
    with pytest.raises(TaskError) as told:
        task.load()
    message = str(told.value)
    for part in (
        "4 in all",
        "cat/1.png (of no known format)",
        "dog/1.jpg",
        "dog/2.png",
        "dog/3.tif",
    ):
        assert part in message
    assert "2 sizes: 4 x 4 pixels (cat/0.png), 5 x 4 pixels (dog/0.png); set image_size" in message


def test_of_many_bad_files_the_first_are_named(tmp_path):
    (tmp_path / "cat").mkdir()
    for k in range(12):
        (tmp_path / "cat" / f"{k:02}.png").write_text("no image")
    with pytest.raises(TaskError, match=r"12 in all: cat/00.png.*cat/09.png.*, and 2 more; repair"):
        FolderTask(path=tmp_path).load()


def test_images_of_8_and_16_bits_do_not_mix(tmp_path):
    deep = Image.fromarray(np.full((4, 4), 7000, np.uint16))
    task = folder_of(tmp_path, {"cat/0.png": Image.new("L", (4, 4)), "dog/0.png": deep})
    with pytest.raises(
        TaskError, match=r"8 bits \(cat/0.png\); 16 bits \(dog/0.png\); convert all"
    ):
        task.load()


def test_12_bits_in_colour_would_be_black_and_are_refused(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        deep_png(tmp_path / name / "0.png", COLOUR.astype(np.uint16) * 16, kind=2)
    with pytest.raises(TaskError, match=r"16 bits that use the lower bits only.*2, first cat/0"):
        FolderTask(path=tmp_path).load()


@pytest.mark.parametrize(
    ("background", "drawn", "other"), [("black", 0, "white"), ("white", 255, "black")]
)
def test_drawings_of_the_colour_of_the_background_are_refused(tmp_path, background, drawn, other):
    line = np.full((4, 4, 4), drawn, np.uint8)
    line[..., 3] = 255 * (np.arange(4) > 0)[:, None]  # the first row is transparent
    for name in ("cat/0.png", "dog/0.png"):
        folder_of(tmp_path, {name: Image.fromarray(line)})
    with pytest.raises(
        TaskError, match=rf"nothing is left on {background} .*background = .{other}"
    ):
        FolderTask(path=tmp_path, background=background).load()
    assert read_picture(tmp_path / "cat" / "0.png", Style(background=other)).pixels.std() > 0
