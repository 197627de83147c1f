"""Reading pictures from files: bounded before decoding, and refused when they are not whole."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import ImageError
from edgehemo.images.decoder_messages import decoder_messages
from edgehemo.images.frame import Frame
from edgehemo.images.header import READABLE, ImageHeader, read_header

if TYPE_CHECKING:
    from cv2.typing import MatLike

# Five times the HQ camera's 12.3 Mpx; as 8-bit RGB 192 MB, which a board with 1 GB still holds.
MAX_PIXELS = 64_000_000
# The largest uncompressed 16-bit RGB picture of that size, and its header.
MAX_FILE_BYTES = 6 * MAX_PIXELS + 1_000_000
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
)
# A 16-bit file whose brightest sample fits in 12 bits comes from a 12-bit camera: read as full
# range it would be black.
TWELVE_BIT_MAX = 4095

# What libjpeg and libpng write to stderr about a picture they nevertheless return, its missing
# part invented. Stray bytes before the end marker (0xd9) are a harmless habit of USB cameras.
_DAMAGE = re.compile(
    rb"Corrupt JPEG data(?!: \d+ extraneous bytes before marker 0xd9)|Premature end of JPEG"
    rb"|libpng (error|warning: IDAT)|Unsupported marker type"
)


def read_frame(path: Path) -> Frame:
    """Read one picture file: uint8 RGB (height, width, 3), upright as its EXIF orientation says.

    Grey becomes RGB with three equal channels; alpha is dropped; 16-bit samples are scaled to 8
    (65535 becomes 255; 4095 where no sample exceeds 12 bits). Of a TIFF with several pages the
    first is read. ``metadata`` tells ``file_format`` and ``bits_per_sample``.

    Raises ImageError, one line that names the file, what is wrong and what to do: a missing,
    unreadable, empty, truncated or damaged file, one that is no picture, or one above `MAX_PIXELS`
    or `MAX_FILE_BYTES`. The size is checked before anything is decoded.
    """
    try:
        data = _read_bounded(Path(path))
        return decode_frame(data, str(path))
    except ImageError as error:
        raise ImageError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def decode_frame(data: bytes, source: str) -> Frame:
    """Decode the bytes of one picture file; see `read_frame` for what is read and refused."""
    try:
        header = read_header(data)
        if header.width * header.height > MAX_PIXELS:
            raise ImageError(
                f"has {header.width}x{header.height} px, more than the {MAX_PIXELS / 1e6:g} "
                "million read here; crop it or save it smaller"
            )
        decoded = _decode(data, header)
        pixels, bits = _as_rgb8(decoded)
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from None
    return Frame(
        _upright(pixels, header.orientation),
        source,
        metadata={"file_format": header.format, "bits_per_sample": bits},
    )


def images_in(paths: Iterable[Path | str], *, recursive: bool = False) -> list[Path]:
    """The picture files that ``paths`` stand for, in the order given.

    A folder stands for the pictures in it (by suffix, `IMAGE_SUFFIXES`; hidden files skipped) in
    natural order: field_2 before field_10. Anything else is kept as it is, existing or not, so
    that `read_frame` can say of each what is wrong. Raises ImageError for a folder that holds no
    picture or cannot be listed.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        found.extend(_pictures_of(path, recursive) if path.is_dir() else [path])
    return found


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which numbers inside names count as numbers; ties fall back on the name."""
    pieces = re.split(r"(\d+)", str(path))
    # isdecimal, not the regular expression alone: \d also matches digits of other scripts, which
    # int() reads too, so both agree.
    key = [
        (0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in pieces
    ]
    return [*key, (2, 0, str(path))]


def _pictures_of(folder: Path, recursive: bool) -> list[Path]:
    try:
        if recursive:
            members = [
                Path(root) / name
                for root, folders, names in os.walk(folder)
                if not _drop_hidden(folders)
                for name in names
            ]
        else:
            members = list(folder.iterdir())
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from None
    pictures = [
        member
        for member in members
        if member.suffix.lower() in IMAGE_SUFFIXES
        and not member.name.startswith(".")
        and not member.is_dir()
    ]
    if not pictures:
        raise ImageError(f"{folder}: holds no picture ({READABLE} are read)")
    return sorted(pictures, key=natural_key)


def _drop_hidden(folders: list[str]) -> bool:
    """Keep ``os.walk`` out of hidden folders; always False, for use inside a comprehension."""
    folders[:] = [name for name in folders if not name.startswith(".")]
    return False


def _read_bounded(path: Path) -> bytes:
    """The file's bytes. A pipe or device is refused before it could block."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(
                f"has {status.st_size / 1e6:.0f} MB, more than the {MAX_FILE_BYTES / 1e6:.0f} MB "
                "read here; crop it or save it smaller"
            )
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        raise ImageError("does not exist; check the name") from None
    except OSError as error:
        raise ImageError(f"cannot be opened ({error.strerror or error})") from None
    except ValueError:  # a null byte in the name
        raise ImageError("is not a valid file name") from None


def _decode(data: bytes, header: ImageHeader) -> MatLike:
    """The decoder's array, BGR or grey, of any depth and of exactly the size that was claimed."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    decoded: MatLike | None
    with decoder_messages() as messages:
        try:
            decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        except cv2.error:
            decoded = None
    if decoded is None or _DAMAGE.search(bytes(messages)):
        raise ImageError("is damaged or cut short; copy or take it again")
    sides = decoded.shape[:2]
    turned = header.format == "tiff" and sides == (header.width, header.height)
    if sides != (header.height, header.width) and not turned:
        raise ImageError("is damaged (its parts disagree about its size); copy or take it again")
    return decoded


def _as_rgb8(decoded: MatLike) -> tuple[NDArray[np.uint8], int]:
    """uint8 RGB (height, width, 3) of a decoded BGR array, and the bits its samples had."""
    if decoded.ndim == 2:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_GRAY2BGR)
    if decoded.dtype == np.uint16:
        twelve = int(decoded.max()) <= TWELVE_BIT_MAX
        full = TWELVE_BIT_MAX if twelve else 65535
        decoded = cv2.convertScaleAbs(decoded, alpha=255.0 / full)
        bits = 12 if twelve else 16
    elif decoded.dtype == np.uint8:
        bits = 8
    else:
        raise ImageError(f"has {decoded.dtype} samples; save it with 8 or 16 bits a channel")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8), bits


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.32, 4.6.4 A: 1 upright ... 8 turned left)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
