"""Reading pictures from files: bounded before decoding, and refused when they are not whole."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoWarning, ImageError
from edgehemo.images.decoding import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    PictureLayout,
    are_planes,
    decode_field,
    layout_of,
)
from edgehemo.images.frame import Frame, Original
from edgehemo.images.kinds import HEAD_BYTES, READABLE, named_kind, picture_format, video_kind
from edgehemo.images.whole import missing_part

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "Picture",
    "decode_frame",
    "head_of",
    "images_in",
    "is_folder",
    "natural_key",
    "open_picture",
    "passed_over",
    "picture_of",
    "read_frame",
]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
)
# Formats that are decoded in a process of their own, and JPEGs of more scans than are usual.
_APART = frozenset({"tiff", "webp"})
_USUAL_SCANS = 20
# A file that lacks this share is not read at all; of less, quality says it of a field, for a crop
# of one cell at the edge of a scan is filled up rightly.
_MISSING_IN_FILE = 0.25


@dataclass(frozen=True, slots=True)
class Picture:
    """An opened picture file: its fields, decoded one by one.

    A TIFF may hold several; any other file holds one. ``source`` names the file.
    """

    source: str
    data: bytes
    layout: PictureLayout

    def __len__(self) -> int:
        return len(self.layout.headers)

    def name_of(self, field: int) -> str:
        """The source of a field: the file, and the page where it has several fields."""
        return self.source if len(self) == 1 else f"{self.source}#page={field + 1}"

    def frame(self, field: int = 0) -> Frame:
        """Decode one field. Raises ImageError, one line that begins with its name."""
        name = self.name_of(field)
        header = self.layout.headers[field]
        try:
            pixels, bits = _decode(self.data, self.layout, field)
            upright = _upright(pixels, header.orientation)
            missing = missing_part(upright)
            if missing is not None and missing.share >= _MISSING_IN_FILE:
                raise ImageError(f"{missing}; copy or take it again")
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from None
        except MemoryError:
            raise ImageError(
                f"{name}: does not fit into this machine's memory; close other programs, crop it "
                "or save it smaller"
            ) from None
        metadata = self._metadata(field, bits)
        return Frame(upright, name, metadata=metadata, original=Original(self.data, field))

    def _metadata(self, field: int, bits: int) -> dict[str, str | int | float | bool]:
        told: dict[str, str | int | float | bool] = {
            "file_format": self.layout.headers[field].format,
            "bits_per_sample": bits,
        }
        if len(self) > 1:
            told |= {"fields_in_file": len(self), "page": field + 1}
        if self.layout.tiff is not None:
            if len(self.layout.pages(field)) > 1:
                told["colour_planes"] = len(self.layout.pages(field))
            if self.layout.tiff.previews:
                told["previews_left_out"] = self.layout.tiff.previews
        return told


def open_picture(path: Path) -> Picture:
    """Open a picture file and see what it holds; see `read_frame` for what is refused."""
    try:
        return picture_of(_read_bounded(Path(path)), str(path))
    except ImageError as error:
        raise ImageError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def picture_of(data: bytes, source: str) -> Picture:
    """The bytes of a picture file as `open_picture` opens it."""
    try:
        layout = layout_of(data)
        if layout.tiff is not None and layout.tiff.grey_triple:
            pages = [_decode(data, layout, field)[0] for field in range(3)]
            if are_planes(pages):
                layout = layout_of(data, together=True)
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from None
    return Picture(source, data, layout)


def read_frame(path: Path) -> Frame:
    """Read one picture file: uint8 RGB (height, width, 3), upright as its EXIF orientation says.

    Grey becomes RGB with three equal channels; alpha is dropped; samples of 9 to 16 bits are scaled
    to 8 by what the file says of them, else by what its brightest sample needs. Of a TIFF with
    several fields the first is read, with an EdgeHemoWarning; `read_fields` reads all.
    ``metadata`` tells ``file_format`` and ``bits_per_sample``, and of such a TIFF
    ``fields_in_file`` and ``page``; ``colour_planes`` where pages are the planes of one field.

    Raises ImageError, one line that names the file, what is wrong and what to do: a missing,
    unreadable, empty, truncated or damaged file, one that stops half way, one that is no picture
    or of a kind not read here, or one above `MAX_PIXELS` or `MAX_FILE_BYTES`. The size is checked
    before anything is decoded.
    """
    picture = open_picture(Path(path))
    if len(picture) > 1:
        warnings.warn(
            f"{path}: holds {len(picture)} fields; only the first is read here",
            EdgeHemoWarning,
            stacklevel=2,
        )
    return picture.frame(0)


def read_fields(path: Path) -> list[Frame]:
    """Every field of one picture file, read as `read_frame` reads the first; raises as it does."""
    picture = open_picture(Path(path))
    return [picture.frame(field) for field in range(len(picture))]


def decode_frame(data: bytes, source: str) -> Frame:
    """Decode the bytes of one picture file; see `read_frame` for what is read and refused."""
    return picture_of(data, source).frame(0)


def _decode(data: bytes, layout: PictureLayout, field: int) -> tuple[NDArray[np.uint8], int]:
    """`decode_field` here, or in a process of its own where it may cost more than it shows."""
    header = layout.headers[field]
    if header.format in _APART or header.scans > _USUAL_SCANS:
        # Few pictures need it, and what starts a process takes a while to import.
        from edgehemo.images.worker import PROCESS  # noqa: PLC0415

        return PROCESS.decode(data, field, together=layout.together)
    return decode_field(data, layout, field)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; one that is too long or may not be looked at is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def head_of(path: Path) -> bytes:
    """The first bytes of a regular file, enough to tell its kind; none where it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""


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
        found.extend(_pictures_of(path, recursive) if is_folder(path) else [path])
    return found


def passed_over(folder: Path) -> list[tuple[Path, str]]:
    """What in a folder is evidently meant and not read by `images_in`, each with what to do.

    Videos and pictures of kinds not read here, told by their content; other files are nobody's
    business. Raises ImageError for a folder that cannot be listed.
    """
    found = []
    for member in sorted(_members(folder, recursive=False), key=natural_key):
        if member.suffix.lower() in IMAGE_SUFFIXES or member.name.startswith("."):
            continue
        head = head_of(member)
        if video_kind(head) is not None:
            found.append((member, "is a video, not a picture; give it by itself"))
        elif picture_format(head) == "tiff" or _is_unread_picture(head):
            try:
                open_picture(member)
            except ImageError as error:
                found.append((member, str(error).removeprefix(f"{member}: ")))
    return found


def _is_unread_picture(head: bytes) -> bool:
    name = named_kind(head)
    return name is not None and "PDF" not in name


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
    members = _members(folder, recursive)
    pictures = [
        member
        for member in members
        if member.suffix.lower() in IMAGE_SUFFIXES
        and not member.name.startswith(".")
        and not is_folder(member)
    ]
    if not pictures:
        raise ImageError(f"{folder}: holds no picture ({READABLE} are read)")
    return sorted(pictures, key=natural_key)


def _members(folder: Path, recursive: bool) -> list[Path]:
    try:
        if not recursive:
            return list(folder.iterdir())
        return [
            Path(root) / name
            for root, folders, names in os.walk(folder)
            if not _drop_hidden(folders)
            for name in names
        ]
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from None


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
            # Never more than the file has: a reader allocates what it is asked for.
            return file.read(min(status.st_size, MAX_FILE_BYTES))
    except MemoryError:
        raise ImageError(
            "does not fit into this machine's memory; close other programs, crop it or save it "
            "smaller"
        ) from None
    except FileNotFoundError:
        raise ImageError("does not exist; check the name") from None
    except OSError as error:
        raise ImageError(f"cannot be opened ({error.strerror or error})") from None
    except ValueError:  # a null byte in the name
        raise ImageError("is not a valid file name") from None


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.32, 4.6.4 A: 1 upright ... 8 turned left)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
