"""Picture files and frames: read and checked without trusting either, and brought to a size.

A path or an array flows in, uint8 RGB flows out, or a `PictureError` that names the thing and the
cure. The size is read from the header before anything is decoded, so that a small file cannot ask
for gigabytes. A file that ends early is refused; damage within the data may go unnoticed.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import Image

if TYPE_CHECKING:
    import PIL.Image

MAX_PIXELS = 50_000_000
MAX_BYTES = 200_000_000
MIN_SIDE = 32
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LONGEST = 216  # pixels of the longer side of a small frame
# A median over more pictures than this costs memory and changes nothing one could see.
_MEDIAN_OF = 25
_ANY_SIZE = 1 << 16  # no picture is larger
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# The frame header of a JPEG (ITU-T T.81, B.2.2): marker, length, precision, then what is captured.
_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf](?=...(.{5}))", re.DOTALL)


def read_picture(path: str | Path) -> Image:
    """The picture as uint8 (height, width, 3), RGB, turned as its EXIF orientation says.

    Grey pictures get three equal channels, 16 bit become 8, transparency lies on white.
    Raises PictureError for a file that is missing, no picture, truncated, or above 50 megapixels.
    """
    data = _content(path)
    # The common kind without Pillow, which takes 20 ms to load, a tenth of a start on the reel.
    if _plain_jpeg(data):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            return check_image(rgb_of(image), str(path))
    return _decoded(data, path)[0]


def read_with_mode(path: str | Path) -> tuple[Image, str]:
    """The picture as `read_picture` gives it, and the mode of its file.

    The mode is one of Pillow's ("L", "RGB", "CMYK", ...), "RGBA" wherever there is transparency.
    """
    return _decoded(_content(path), path)


def _content(path: str | Path) -> bytes:
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PictureError(f"{path}: larger than {MAX_BYTES // 10**6} MB; scale it down")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot read it: {error.strerror}; check the path") from error


def _plain_jpeg(data: bytes) -> bool:
    """Whether it is a JPEG, grey or in colour, not cut off and of a bearable size."""
    if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
        return False
    frames = (struct.unpack(">HHB", found[1]) for found in _JPEG_FRAME.finditer(data))
    # Those of thumbnails are among them: one that looks wrong is left to Pillow.
    return all(height * width <= MAX_PIXELS and n <= 3 for height, width, n in frames)


def _decoded(data: bytes, path: str | Path) -> tuple[Image, str]:
    import PIL.Image
    import PIL.ImageOps

    PIL.Image.MAX_IMAGE_PIXELS = None  # the bound below is tighter
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                bound = f"more than {MAX_PIXELS // 10**6} million; scale it down"
                raise PictureError(f"{path}: {width}x{height} pixels are {bound}")
            PIL.ImageOps.exif_transpose(opened, in_place=True)
            image, mode = _rgb_of_file(opened)
    except PictureError:
        raise
    except PIL.UnidentifiedImageError as error:
        words = "not a JPEG, PNG, WebP or BMP picture; convert it to one"
        raise PictureError(f"{path}: {words}") from error
    except Exception as error:  # what decoders trip over in a damaged file has no common kind
        raise PictureError(f"{path}: the picture is truncated or damaged; copy it again") from error
    return check_image(image, str(path)), mode


def _rgb_of_file(picture: PIL.Image.Image) -> tuple[Image, str]:
    """Decoded RGB, and the mode of `read_with_mode`."""
    import PIL.Image

    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = PIL.Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return np.array(white), "RGBA"
    if picture.mode == "I;16":  # grey of 16 bit, which Pillow would clip instead of scale
        return rgb_of((np.asarray(picture) >> 8).astype(np.uint8)), picture.mode
    return np.array(picture.convert("RGB")), picture.mode


def check_image(image: object, name: str = "frame") -> Image:
    """`image` itself where it is uint8 (height, width, 3) of a size a camera gives.

    Raises PictureError, which begins with `name`, for anything else.
    """
    if not isinstance(image, np.ndarray):
        raise PictureError(f"{name}: not an array but {type(image).__name__}; give uint8 RGB")
    if image.dtype != np.uint8:
        broken = image.dtype.kind == "f" and not np.isfinite(image).all()
        words = "holds NaN or infinity" if broken else f"values are {image.dtype}"
        raise PictureError(f"{name}: {words}; give uint8 RGB from 0 to 255")
    if image.ndim != 3 or image.shape[2] != 3:
        shape = "x".join(map(str, image.shape))
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
    height, width = (max(MIN_SIDE, round(side * scale)) for side in image.shape[:2])
    return resized(image, width, height)


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
    averaging over areas would be, at a fraction of its time. One of another shape is stretched.

    image: uint8 (h, w, 3) RGB of any size. width, height: of the input, in pixels. Returns uint8
    (height, width, 3), contiguous. Raises PictureError where the array is no picture.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise PictureError(
            f"a picture must be uint8 of shape (height, width, 3), not {image.dtype} {image.shape}"
        )
    times = min(image.shape[0] // height, image.shape[1] // width).bit_length() - 1
    fitted = halved(image, times)
    if fitted.shape[:2] != (height, width):
        fitted = np.asarray(cv2.resize(fitted, (width, height)), np.uint8)  # bilinear
    return np.ascontiguousarray(fitted)


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
