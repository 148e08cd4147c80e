"""A picture file is read safely, whatever it holds."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bin_daemon.core.errors import PictureError
from bin_daemon.core.images import (
    LONGEST,
    check_image,
    fit_within,
    natural_order,
    prepare,
    read_picture,
    read_with_mode,
    resized,
    shrink,
)

RED_LEFT = np.zeros((64, 96, 3), np.uint8)
RED_LEFT[:, :48, 0] = 220  # RGB
RED_LEFT[:, 48:, 2] = 220


def encoded(suffix: str, image: np.ndarray = RED_LEFT) -> bytes:
    return bytes(cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_the_usual_formats_come_as_rgb(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(encoded(suffix))
    image = read_picture(tmp_path / f"a{suffix}")
    assert image.shape == (64, 96, 3)
    assert image.dtype == np.uint8
    assert image[32, 20, 0] > 180
    assert image[32, 20, 2] < 60


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_a_file_that_ends_early_is_called_truncated(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    whole = encoded(suffix, noise)
    path = tmp_path / f"a{suffix}"
    for share in (0.2, 0.5, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(PictureError, match=r"a\..*truncated.*copy it again"):
            read_picture(path)


def test_a_jpeg_that_is_cut_inside_but_whole_in_its_thumbnail_is_truncated(tmp_path: Path) -> None:
    whole, thumbnail = encoded(".jpg"), encoded(".jpg", RED_LEFT[::2, ::2].copy())
    exif = b"Exif\0\0" + thumbnail
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[:2] + segment + whole[2:])
    assert read_picture(path).shape == (64, 96, 3)
    path.write_bytes(whole[:2] + segment + whole[2:-60])
    with pytest.raises(PictureError, match="truncated"):
        read_picture(path)


def test_a_header_that_promises_too_much_is_refused_before_decoding(tmp_path: Path) -> None:
    ihdr = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        check = zlib.crc32(kind + body)
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(PictureError, match=r"bomb\.png: 40000x40000 .*scale it down"):
        read_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(50), b"\xff\xd8", b"BM"])
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "notes.jpg").write_bytes(data)
    with pytest.raises(PictureError, match=r"notes\.jpg: "):
        read_picture(tmp_path / "notes.jpg")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.jpg", tmp_path):
        with pytest.raises(PictureError, match=path.name):
            read_picture(path)


def test_grey_and_16_bit_and_transparent_pictures_come_as_rgb_of_8_bit(tmp_path: Path) -> None:
    grey = np.full((40, 40), 90, np.uint8)
    deep = np.full((40, 40, 3), 90 * 257, np.uint16)
    clear = np.dstack([np.full((40, 40, 3), 90, np.uint8), np.zeros((40, 40), np.uint8)])
    deep_grey = np.full((40, 40), 90 * 257, np.uint16)
    for name, picture, level in (
        ("grey.png", grey, 90),
        ("deep.png", deep, 90),
        ("deep_grey.png", deep_grey, 90),
        ("clear.png", clear, 255),
        ("clear.webp", clear, 255),
    ):
        cv2.imwrite(str(tmp_path / name), picture)
        image = read_picture(tmp_path / name)
        assert image.dtype == np.uint8
        assert image.shape == (40, 40, 3)
        assert np.abs(image.astype(int) - level).max() <= 1


def test_what_a_palette_calls_transparent_lies_on_white(tmp_path: Path) -> None:
    picture = PIL.Image.new("P", (40, 40), 0)
    picture.putpalette([90, 90, 90])
    picture.save(tmp_path / "cut.png", transparency=0)
    image, mode = read_with_mode(tmp_path / "cut.png")
    assert mode == "RGBA"
    assert image.min() == 255


def test_the_exif_orientation_is_followed(tmp_path: Path) -> None:
    whole = encoded(".jpg")
    # TIFF header, one entry: orientation (0x0112, SHORT) = 6, "rotate 90 degrees clockwise".
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "turned.jpg").write_bytes(whole[:2] + segment + whole[2:])
    image = read_picture(tmp_path / "turned.jpg")
    assert image.shape == (96, 64, 3)
    assert image[20, 32, 0] > 180


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_ends_in_a_picture_or_a_picture_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(encoded(data.draw(st.sampled_from([".jpg", ".png", ".webp", ".bmp"]))))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        whole[at] = data.draw(st.integers(0, 255))
    del whole[data.draw(st.integers(0, len(whole))) :]
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(bytes(whole))
    try:
        image = read_picture(path)
    except PictureError as error:
        outcome = str(error)
    else:
        outcome = f"damaged.jpg as {image.dtype}"
    assert "damaged.jpg" in outcome


def test_a_good_frame_is_passed_on_as_it_is() -> None:
    assert check_image(RED_LEFT) is RED_LEFT


def test_scaling_keeps_the_aspect_and_never_enlarges() -> None:
    assert fit_within(RED_LEFT, 48, 480).shape == (32, 48, 3)
    assert fit_within(RED_LEFT, 640, 480) is RED_LEFT
    assert resized(RED_LEFT, 100, 50).shape == (50, 100, 3)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.full((10, 10, 3), np.nan),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(PictureError, match="must be uint8"):
        prepare(bad, 224, 224)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 255))
def test_a_plain_picture_stays_plain_at_any_size(height: int, width: int, value: int) -> None:
    plain = np.full((height, width, 3), value, np.uint8)
    small = prepare(plain, 32, 24)
    assert small.shape == (24, 32, 3)
    assert small.flags.c_contiguous
    assert np.all(small == value)


@given(st.integers(32, 2000), st.integers(32, 2000))
def test_a_small_frame_is_a_whole_number_of_halves_and_no_longer_than_the_limit(
    height: int, width: int
) -> None:
    small = shrink(np.zeros((height, width, 3), np.uint8))
    longest = max(small.shape[:2])
    times = (max(height, width) // longest).bit_length() - 1
    assert longest <= LONGEST
    assert times == 0 or longest > LONGEST // 2 - 1
    assert small.shape == (height >> times, width >> times, 3)


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["10.jpg", "b.jpg", "2.jpg", "\u00b2.jpg", "A1.jpg"]
    ordered = sorted(map(Path, names), key=natural_order)
    assert [path.name for path in ordered][:2] == ["2.jpg", "10.jpg"]
