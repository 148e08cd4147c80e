"""Picture files and frames: read and checked without trusting either, and brought to a size.

A path or an array flows in, uint8 RGB flows out, or a `PictureError` that names the thing and the
cure. The size is read from the header before anything is decoded, so that a small file cannot ask
for gigabytes; a file that ends early is refused, where the decoder alone would fill in grey. Damage
that keeps the end marker of the format in place is not noticed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import Image

MAX_PIXELS = 50_000_000
_STRIP = 64  # rows that are blended at a time
MAX_BYTES = 200_000_000
MIN_SIDE = 32
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LONGEST = 216  # pixels of the longer side of a small frame
# A median over more pictures than this costs memory and changes nothing one could see.
_MEDIAN_OF = 25
_ANY_SIZE = 1 << 16  # no picture is larger

# Start-of-frame markers of JPEG (ITU T.81, table B.1): C0 to CF without DHT, JPG and DAC.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS = 0xDA
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height; None where the picture ends before its end-of-image marker."""
    at, size = 2, None
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2  # fill bytes and markers without a length
            continue
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if marker == _SOS:
            # Entropy-coded data stuffs every FF, so FFD9 after here is the real end of image.
            return size if data.find(b"\xff\xd9", at) >= 0 else None
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 33 or data.rfind(_PNG_END) < 0:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30:
        return None
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    offset, compression = struct.unpack_from("<I", data, 10)[0], data[30:31]
    stride = (abs(width) * bits + 31) // 32 * 4
    if compression == b"\0" and len(data) < offset + stride * abs(height):
        return None
    return abs(width), abs(height)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30 or len(data) < 8 + int(struct.unpack_from("<I", data, 4)[0]):
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _header(data: bytes, name: str) -> tuple[int, int]:
    """Width and height that the header promises; raises PictureError as `read_picture` does."""
    if data[:2] == b"\xff\xd8":
        size = _jpeg_size(data)
    elif data[:8] == _PNG:
        size = _png_size(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = _webp_size(data)
    elif data[:2] == b"BM":
        size = _bmp_size(data)
    else:
        raise PictureError(f"{name}: not a JPEG, PNG, WebP or BMP picture; convert it to one")
    if size is None:
        raise PictureError(f"{name}: the picture is truncated or damaged; copy it again")
    return size


def read_picture(path: str | Path) -> Image:
    """The picture as uint8 (height, width, 3), RGB, turned as its EXIF orientation says.

    Grey pictures get three equal channels, 16 bit become 8, transparency lies on white.
    Raises PictureError for a file that is missing, no picture, truncated, or above 50 megapixels.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PictureError(f"{path}: larger than {MAX_BYTES // 10**6} MB; scale it down")
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot read it: {error.strerror}; check the path") from error
    width, height = _header(data, str(path))
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{path}: {width}x{height} pixels are more than {MAX_PIXELS // 10**6} million; "
            f"scale it down"
        )
    image = _decode(data)
    if image is None:
        raise PictureError(f"{path}: the picture is damaged and cannot be decoded; copy it again")
    return check_image(image, str(path))


def _decode(data: bytes) -> Image | None:
    """Decoded RGB, or None where OpenCV cannot."""
    buffer = np.frombuffer(data, np.uint8)
    transparent = data[:8] == _PNG and data[25] in (4, 6)  # colour types with alpha
    try:
        if transparent:
            raw = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
                return _on_white(raw)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
        return None if image is None else rgb_of(image)
    except cv2.error:
        return None


def _on_white(raw: Any) -> Image:
    """A BGRA picture (uint8 or uint16) laid on white, uint8 RGB; by strips, to spare memory."""
    scale = 255.0 if raw.dtype == np.uint8 else 65535.0
    image = np.empty((*raw.shape[:2], 3), np.uint8)
    for top in range(0, raw.shape[0], _STRIP):
        strip = raw[top : top + _STRIP].astype(np.float32) / scale
        alpha = strip[..., 3:]
        blend = strip[..., 2::-1] * alpha + 1 - alpha
        image[top : top + _STRIP] = (blend * 255 + 0.5).astype(np.uint8)
    return image


def check_image(image: object, name: str = "frame") -> Image:
    """`image` itself where it is uint8 (height, width, 3) of a size a camera gives.

    Raises PictureError, which begins with `name`, for anything else.
    """
    if not isinstance(image, np.ndarray):
        raise PictureError(f"{name}: not an array but {type(image).__name__}; give uint8 RGB")
    if image.dtype != np.uint8:
        floating = np.issubdtype(image.dtype, np.floating)
        if floating and not np.isfinite(image).all():
            raise PictureError(f"{name}: holds NaN or infinity; give uint8 RGB from 0 to 255")
        raise PictureError(f"{name}: values are {image.dtype}; give uint8 RGB from 0 to 255")
    if image.ndim != 3 or image.shape[2] != 3:
        shape = "x".join(str(n) for n in image.shape)
        raise PictureError(f"{name}: shape is {shape}; give height x width x 3 (RGB)")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
        raise PictureError(
            f"{name}: {width}x{height} pixels; give at least {MIN_SIDE} each way and at most "
            f"{MAX_PIXELS // 10**6} million"
        )
    return image


def rgb_of(image: npt.NDArray[Any]) -> Image:
    """What OpenCV delivers (uint8, BGR or grey) as RGB."""
    way = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, way), np.uint8)


def resized(image: Image, width: int, height: int) -> Image:
    """`image` (uint8 HxWx3) at width x height; itself where it has that size already."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] * image.shape[1] > width * height
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def fit_within(image: Image, width: int, height: int) -> Image:
    """`image` (uint8 HxWx3), scaled down to fit width x height with its aspect; never enlarged."""
    scale = min(width / image.shape[1], height / image.shape[0])
    if scale >= 1:
        return image
    fitted = [max(MIN_SIDE, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    return resized(image, fitted[0], fitted[1])


def halved(image: Image, times: int) -> Image:
    """`image` (uint8 HxWx3) at half the size, so many times over, by averaging; odd sides lose one.

    Exact halves take OpenCV's fast path: 640x480 at a quarter in 0.1 ms, a quarter of the time of
    one step.
    """
    for _ in range(times):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    return image


def shrink(image: Image) -> Image:
    """`image` (uint8 HxWx3) at the chamber's working resolution, by whole halves.

    The longer side of what comes out has at most `LONGEST` pixels.
    """
    times = ((max(image.shape[:2]) - 1) // LONGEST).bit_length()
    height, width = (side >> times << times for side in image.shape[:2])
    return halved(image[:height, :width], times)


def prepare(image: Image, width: int, height: int) -> Image:
    """Bring a picture to the network's input size; training and running share this function.

    Halved by averaging while it is twice as large or more, then bilinear: as free of aliases as
    averaging over areas would be, at a fraction of its time.

    Args:
        image: uint8 (h, w, 3) RGB of any size; one of another shape is stretched, so that nothing
            of it is lost.
        width: of the input, in pixels.
        height: of the input, in pixels.

    Returns:
        uint8 (height, width, 3), contiguous.

    Raises:
        PictureError: the array is no picture.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise PictureError(
            f"a picture must be uint8 of shape (height, width, 3), not {image.dtype} {image.shape}"
        )
    times = min(image.shape[0] // height, image.shape[1] // width).bit_length() - 1
    image = halved(image, times)
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    fitted = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fitted, np.uint8)


def median_empty(
    pictures: Sequence[Path], width: int = _ANY_SIZE, height: int = _ANY_SIZE
) -> Image:
    """What most pictures agree on at each pixel: the empty view where none was taken.

    Uses at most 25 of the pictures, spread evenly; uint8 (h, w, 3) RGB of the first one's size,
    scaled down to fit width x height where they are given. Raises PictureError as `read_picture`.
    """
    chosen = pictures[:: max(1, -(-len(pictures) // _MEDIAN_OF))]
    first = fit_within(read_picture(chosen[0]), width, height)
    size = (first.shape[1], first.shape[0])
    stack = [first, *(resized(read_picture(p), *size) for p in chosen[1:])]
    return np.asarray(np.median(np.stack(stack), axis=0), np.uint8)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorting key that puts `2.jpg` before `10.jpg`."""
    parts = re.findall(r"\d+|\D+", str(path).lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
