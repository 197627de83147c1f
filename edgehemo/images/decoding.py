"""From a picture file's bytes to uint8 RGB: the decoder's work, with what it may cost.

What a header claims is bounded here before anything is allocated. `decode_field` runs in this
process or in the one of `edgehemo.images.worker`: it depends on nothing but the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import ImageError
from edgehemo.images.claims import ImageHeader
from edgehemo.images.decoder_messages import decoder_messages
from edgehemo.images.header import read_header
from edgehemo.images.kinds import READABLE, SAVE_AS, ImageFormat, picture_format

if TYPE_CHECKING:
    from cv2.typing import MatLike

    from edgehemo.images.tiff import TiffFields, TiffPage

# Five times the HQ camera's 12.3 Mpx; as 8-bit RGB 192 MB, which a board with 1 GB still holds.
MAX_PIXELS = 64_000_000
# What a decoder may allocate for a picture: 8-bit samples of that size, 16-bit ones of 42 Mpx.
MAX_DECODED_BYTES = 4 * MAX_PIXELS
# The largest uncompressed 16-bit RGB picture that fits, with its transparency and its header.
MAX_FILE_BYTES = 6 * MAX_PIXELS + 1_000_000
# A progressive JPEG is gone over once a scan; programs write 10 to 20. And the work of all scans.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 2_000_000_000

# What libjpeg, libpng and libtiff write to stderr about a picture they nevertheless return, its
# missing part invented.
_DAMAGE = re.compile(
    rb"Corrupt JPEG data(?!: \d+ extraneous bytes before marker 0xd9)|Premature end of JPEG"
    rb"|libpng (error|warning: IDAT)|Unsupported marker type|TIFF_Error"
)
# Stray bytes before the end marker are a harmless habit of USB cameras, where they are few.
_STRAY = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_STRAY_BYTES, _STRAY_SHARE = (64, 2048), 0.02
_NOT_READ = re.compile(rb"not implemented|not configured|not supported|can ?not handle|Sorry")
_NO_MEMORY = re.compile(rb"Failed to allocate|[Ii]nsufficient memory|bad_alloc")
_CV_NO_MEMORY = -4
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_SUFFIXES: dict[ImageFormat, str] = {
    "png": ".png", "jpeg": ".jpg", "bmp": ".bmp", "tiff": ".tif", "webp": ".webp",
}  # fmt: skip

# Three planes of one place agree in what is dark and bright; those of three places do not.
_PLANES_AGREE = 0.5
_COMPARED_PX = 64


@dataclass(frozen=True, slots=True)
class PictureLayout:
    """What the bytes of a picture hold: the header of each field, upright or not.

    tiff: its pages where it is one. together: three grey pages are the planes of one field.
    """

    headers: tuple[ImageHeader, ...]
    tiff: TiffFields | None = None
    together: bool = False

    def pages(self, field: int) -> tuple[TiffPage, ...]:
        assert self.tiff is not None
        if self.together:
            return tuple(page for each in self.tiff.fields for page in each)
        return self.tiff.fields[field]


def layout_of(data: bytes, *, together: bool = False) -> PictureLayout:
    """What a picture file holds, bounded: no field of it claims more than may be decoded.

    Raises ImageError, without the file's name.
    """
    if picture_format(data) == "tiff":
        layout = _tiff_layout(data, together)
    else:
        layout = PictureLayout((read_header(data),))
    for header in layout.headers:
        _check_size(header)
    return layout


def _tiff_layout(data: bytes, together: bool) -> PictureLayout:
    # What reads TIFFs is loaded for a TIFF; below likewise.
    from edgehemo.images.tiff import page_header, tiff_fields  # noqa: PLC0415

    fields = tiff_fields(data)
    headers = tuple(page_header(pages[0]) for pages in fields.fields)
    return PictureLayout(headers[:1] if together else headers, fields, together)


def _check_size(header: ImageHeader) -> None:
    pixels = header.width * header.height
    if pixels > MAX_PIXELS:
        raise ImageError(
            f"has {header.width}x{header.height} px, more than the {MAX_PIXELS / 1e6:g} "
            "million read here; crop it or save it smaller"
        )
    if pixels * header.bytes_per_pixel > MAX_DECODED_BYTES:
        raise ImageError(
            f"takes {pixels * header.bytes_per_pixel / 1e6:.0f} MB when it is decoded, more than "
            f"the {MAX_DECODED_BYTES / 1e6:.0f} MB read here; save it with 8 bits a channel, "
            "crop it or save it smaller"
        )
    if header.scans > MAX_SCANS or header.scans * pixels > MAX_SCANNED_PIXELS:
        raise ImageError(
            f"is a JPEG of {header.scans} scans, more than any camera or program writes; "
            "save it anew as JPEG or PNG"
        )


def decode_field(data: bytes, layout: PictureLayout, field: int) -> tuple[NDArray[np.uint8], int]:
    """uint8 RGB (height, width, 3) of one field as it is stored, and the bits of its samples.

    Raises ImageError, without the file's name, where the file is not whole, or its memory lacks.
    """
    try:
        if layout.tiff is not None:
            return _decode_tiff(data, layout.pages(field))
        header = layout.headers[field]
        decoded = _decoded(data, header.format, _COLOUR)
        _check_shape(decoded, header)
        return _as_rgb8(decoded)
    except MemoryError:
        raise _no_memory() from None


def _decode_tiff(data: bytes, pages: Sequence[TiffPage]) -> tuple[NDArray[np.uint8], int]:
    from edgehemo.images.tiff import (  # noqa: PLC0415
        page_header,
        significant_bits,
        white_is_zero,
    )
    from edgehemo.images.tiff_parts import check_parts, plain_files  # noqa: PLC0415

    for page in pages:
        check_parts(data, page)
    planes = len(pages) > 1 or pages[0].separate
    pictures = []
    for page in pages:
        for plain in plain_files(data, page):
            picture = _decoded(plain, "tiff", _GREY if planes else _COLOUR)
            _check_shape(picture, page_header(page))
            pictures.append(picture)
    # Blue first, as OpenCV has it.
    decoded = cv2.merge(pictures[::-1]) if len(pictures) == 3 else pictures[0]
    first = pages[0]
    rgb, bits = _as_rgb8(
        decoded,
        told=significant_bits(first),
        packed=first.bits if first.bits in (10, 12, 14) else None,
    )
    if white_is_zero(first):
        cv2.bitwise_not(rgb, dst=rgb)
    return rgb, bits


def _decoded(data: bytes | bytearray, format: ImageFormat, flags: int) -> MatLike:
    """The decoder's array, BGR or grey, of any depth."""
    decoded: MatLike | None = None
    no_memory = False
    with decoder_messages() as messages:
        try:
            decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        except cv2.error as error:
            no_memory = error.code == _CV_NO_MEMORY
    said = bytes(messages)
    if no_memory or (decoded is None and _NO_MEMORY.search(said)):
        raise _no_memory()
    if format == "tiff" and _NOT_READ.search(said):
        raise ImageError(f"is a TIFF of a kind that OpenCV does not read; {SAVE_AS}")
    if decoded is not None and not _is_damage(said, len(data)):
        return decoded
    if decoded is None and not _codec_works(format):
        raise ImageError(
            f"is {format.upper()}, which this installation's OpenCV was built without; save it "
            f"in another of {READABLE}"
        )
    raise ImageError("is damaged or cut short; copy or take it again")


def _is_damage(said: bytes, file_bytes: int) -> bool:
    if _DAMAGE.search(said):
        return True
    least, most = _STRAY_BYTES
    allowed = max(least, min(most, _STRAY_SHARE * file_bytes))
    return any(int(found.group(1)) > allowed for found in _STRAY.finditer(said))


def _codec_works(format: ImageFormat) -> bool:
    """Whether this OpenCV reads a small picture of the format that it wrote itself."""
    with decoder_messages():
        try:
            done, coded = cv2.imencode(_SUFFIXES[format], np.zeros((8, 8, 3), dtype=np.uint8))
            return done and cv2.imdecode(coded, cv2.IMREAD_COLOR) is not None
        except cv2.error:
            return False


def _check_shape(decoded: MatLike, header: ImageHeader) -> None:
    if decoded.shape[:2] != (header.height, header.width):
        raise ImageError("is damaged (its parts disagree about its size); copy or take it again")


def _as_rgb8(
    decoded: MatLike, *, told: int | None = None, packed: int | None = None
) -> tuple[NDArray[np.uint8], int]:
    """uint8 RGB (height, width, 3) of a decoded BGR or grey array, and the bits its samples had.

    Of 16-bit samples a camera may use 9 to 16 bits: ``told`` by the file where its pixels do not
    contradict it, else what the brightest sample needs. packed: samples of so many bits, which
    OpenCV moves to the top of its 16.
    """
    if decoded.dtype == np.uint16:
        brightest = int(decoded.max())
        if packed is not None:
            bits, full = packed, ((1 << packed) - 1) << (16 - packed)
        else:
            fits = told is not None and brightest < 1 << told
            bits = told if fits and told is not None else max(8, brightest.bit_length())
            full = (1 << bits) - 1
        decoded = cv2.convertScaleAbs(decoded, alpha=255.0 / full)
    elif decoded.dtype == np.uint8:
        bits = 8
    else:
        raise ImageError(f"has {decoded.dtype} samples; save it with 8 or 16 bits a channel")
    if decoded.ndim == 2:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB), dtype=np.uint8), bits
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), dtype=np.uint8), bits


def are_planes(pictures: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether three grey pictures (uint8 RGB, channels equal) are red, green and blue of one place.

    Only structure counts, not the fall-off of the light, which all fields share.
    """
    structures = []
    for picture in pictures:
        small = cv2.resize(
            picture[..., 1], (_COMPARED_PX, _COMPARED_PX), interpolation=cv2.INTER_AREA
        ).astype(np.float32)
        fine = small - cv2.GaussianBlur(small, (0, 0), _COMPARED_PX / 12)
        structures.append((fine - fine.mean()) / (float(fine.std()) + 1e-6))
    middle = structures[1]
    return all(
        float((structure * middle).mean()) >= _PLANES_AGREE
        for structure in (structures[0], structures[2])
    )


def _no_memory() -> ImageError:
    return ImageError(
        "does not fit into this machine's memory; close other programs, crop it or save it smaller"
    )
