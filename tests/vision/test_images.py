"""Pictures of every kind come out upright and whole, or as a clear error."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sorter.errors import ImageError
from sorter.vision import containers, images, integrity
from tests.support.corpus import good_jpeg, huge_png

SIDE = 32

QUARTERS = Image.new("RGB", (120, 80))
for at, colour in (
    ((0, 0, 60, 40), "red"),
    ((60, 0, 120, 40), "lime"),
    ((0, 40, 60, 80), "blue"),
    ((60, 40, 120, 80), "white"),
):
    QUARTERS.paste(colour, at)


def save(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def corners(pixels: NDArray[np.uint8]) -> list[str]:
    """The four corners' colours, row by row, each as R, G, B, W or K."""
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W", (0, 0, 0): "K"}
    spots = [(6, 6), (6, SIDE - 7), (SIDE - 7, 6), (SIDE - 7, SIDE - 7)]
    return [names[tuple((pixels[y, x] > 127).astype(int).tolist())] for y, x in spots]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_turn_comes_out_upright(kind: str, orientation: int) -> None:
    """The camera stored the picture turned; EXIF says how to turn it back (TIFF 6.0, tag 274)."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = QUARTERS if undo is None else QUARTERS.transpose(undo)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = images.decode(save(stored, kind, exif=exif, **options), SIDE)
    assert corners(picture.pixels) == ["R", "G", "B", "W"]
    assert (picture.width_px, picture.height_px) == QUARTERS.size


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("grey JPEG", save(QUARTERS.convert("L"), "JPEG")),
        ("progressive JPEG", save(QUARTERS, "JPEG", progressive=True)),
        ("CMYK JPEG", save(QUARTERS.convert("CMYK"), "JPEG")),
        ("palette PNG", save(QUARTERS.convert("P"), "PNG")),
        ("grey PNG", save(QUARTERS.convert("L"), "PNG")),
        ("two-level PNG", save(QUARTERS.convert("1"), "PNG")),
        ("BMP", save(QUARTERS, "BMP")),
        ("GIF", save(QUARTERS, "GIF")),
        ("LZW TIFF", save(QUARTERS, "TIFF", compression="tiff_lzw")),
    ],
)
def test_formats_and_modes(name: str, data: bytes) -> None:
    picture = images.decode(data, SIDE)
    assert picture.pixels.shape == (SIDE, SIDE, 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.width_px, picture.height_px) == (120, 80)
    if not name.startswith(("grey", "two-level")):
        assert corners(picture.pixels) == ["R", "G", "B", "W"]


def test_sixteen_bits_keep_their_light() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    pixels = images.decode(save(Image.fromarray(ramp), "PNG"), SIDE).pixels
    assert pixels[:, 0].max() < 20
    assert pixels[:, -1].min() > 235


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert images.decode(save(clear, "PNG"), SIDE).pixels.min() == 255


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (40, 40), c) for c in ("red", "blue")]
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert corners(images.decode(data, SIDE).pixels) == ["R"] * 4


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.9, 0.995])
def test_a_cut_jpeg_is_refused(progressive: bool, share: float) -> None:
    data = good_jpeg(3, side_px=200, progressive=progressive)
    with pytest.raises(ImageError):
        images.decode(data[: int(len(data) * share)], SIDE)


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_with_a_zeroed_tail_is_refused(progressive: bool, share: float) -> None:
    data = good_jpeg(4, side_px=200, progressive=progressive)
    keep = int(len(data) * share)
    with pytest.raises(ImageError):
        images.decode(data[:keep] + bytes(len(data) - keep), SIDE)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_other_formats_cut_or_zeroed_are_refused(kind: str, share: float) -> None:
    noisy = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8))
    data = save(noisy, kind)
    keep = int(len(data) * share)
    for bad in (data[:keep], data[:keep] + bytes(len(data) - keep)):
        if kind in ("BMP", "TIFF") and len(bad) == len(data):
            continue  # Raw pixels: zeros there are black, and nothing tells them from black.
        with pytest.raises(ImageError):
            images.decode(bad, SIDE)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a picture"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x00" * 4000, "zero"),
        (b"hello, this is text", "not a picture"),
        (huge_png(), "30000×30000 pixels"),
    ],
)
def test_what_is_no_picture_says_what_it_is(data: bytes, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        images.decode(data, SIDE)
    assert says in str(caught.value)


def test_scaled_decoding_sees_what_full_decoding_sees() -> None:
    big = QUARTERS.resize((2400, 1600))
    small = images.decode(save(big, "JPEG", quality=92), 224)
    full = images.decode(save(big, "PNG"), 224)
    assert np.abs(small.pixels.astype(int) - full.pixels.astype(int)).mean() < 2
    assert (small.width_px, small.height_px) == (2400, 1600)


def test_a_pipe_a_device_and_a_loop_never_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for path, says in (
        (tmp_path / "fifo.jpg", "named pipe"),
        (Path("/dev/null"), "device"),
        (tmp_path / "loop.jpg", "link loop"),
        (tmp_path, "folder"),
        (tmp_path / "none.jpg", "no such file"),
        (tmp_path / "nul\0.jpg", "cannot be opened"),
    ):
        with pytest.raises(ImageError, match=says):
            images.load(path, SIDE)


def test_a_file_is_read_to_its_end_whatever_its_size_was(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(bytes(range(256)) * 700)
    assert images.read(file) == file.read_bytes()
    # The kernel gives this one no size; a file that grows while it is read is no different.
    assert images.read(Path("/proc/version")) == Path("/proc/version").read_bytes()


def test_find_gives_text_order_once_and_skips_by_rule(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", ".hidden.jpg", "note.txt", "sub/c.webp", "sub/.d/e.jpg"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "back").symlink_to(tmp_path)  # A circle.
    found = [p.relative_to(tmp_path).as_posix() for p in images.find([tmp_path, tmp_path / "sub"])]
    assert found == ["a.PNG", "b.jpg", "sub/c.webp"]
    flat = [p.name for p in images.find([tmp_path], recursive=False)]
    assert flat == ["a.PNG", "b.jpg"]
    assert list(images.find([tmp_path / "note.txt"])) == [tmp_path / "note.txt"]


def test_every_picture_of_the_data_opens(data_root: Path) -> None:
    paths = list(images.find([data_root / "garbage_26x100" / "val", data_root / "unknown"]))
    assert len(paths) > 1000
    broken = []
    for path in paths[::7]:
        try:
            images.load(path, SIDE)
        except ImageError as error:
            broken.append((path, error))
    assert not broken


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"save_all": True, "exif": b"x"}])
def test_a_webp_s_size_is_known_before_it_is_opened(options: dict[str, Any]) -> None:
    """Opening one takes memory for all its pixels: the headers must tell, whichever they are."""
    stream = io.BytesIO()
    frames = {"append_images": [Image.new("RGB", (301, 37))]} if "save_all" in options else {}
    Image.new("RGB", (301, 37), "red").save(stream, "WEBP", **options, **frames)
    assert integrity.webp_size(stream.getvalue()) == (301, 37)
    assert integrity.webp_size(stream.getvalue()[:20]) == (0, 0)
    with pytest.raises(ImageError, match="max-pixels"):
        images.decode(stream.getvalue(), 224, max_pixels=301 * 37 - 1)


@pytest.mark.parametrize("frames", [1, 3])
def test_an_avif_is_as_large_as_its_coded_picture(frames: int) -> None:
    stream = io.BytesIO()
    shots = [Image.new("RGB", (901, 403), (90 * i, 0, 0)) for i in range(frames)]
    shots[0].save(stream, "AVIF", speed=10, save_all=frames > 1, append_images=shots[1:])
    assert containers.av1_size(stream.getvalue()) == (901, 403)
    lying = bytearray(stream.getvalue())
    at = lying.index(b"ispe") + 8
    lying[at : at + 8] = bytes((0, 0, 0, 9, 0, 0, 0, 9))
    assert integrity.buffered_pixels(bytes(lying), "avif", 81) == 901 * 403
    assert containers.av1_size(stream.getvalue()[:200]) == (0, 0)
