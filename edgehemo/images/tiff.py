"""The directories of a TIFF: what its pages are, which of them are fields, what is not read.

A page may be a field, a colour plane of one, or a small preview; cameras' raw files are TIFFs as
well, whose first page is often nothing but a thumbnail. All of it is told by tags, before
anything is decoded. No I/O: everything works on bytes.

Sources: TIFF 6.0 (1992); TIFF Technical Note 2 and the Photoshop TIFF notes (deflate); BigTIFF
(AWare Systems); DNG 1.7; libtiff 4.7's tiff.h (numbers of compressions); OME-TIFF 6.2; ImageJ's
TiffEncoder (image description); Micro-Manager 2 (tag 51123).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgehemo.errors import ImageError
from edgehemo.images.claims import ImageHeader, damaged, truncated
from edgehemo.images.kinds import SAVE_AS

# Tags (TIFF 6.0 and its extensions) that are read here.
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, MAKE, MODEL, STRIP_OFFSETS, ORIENTATION = 266, 270, 271, 272, 273, 274
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, MAX_SAMPLE, PLANAR = 277, 278, 279, 281, 284
PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT = 317, 320, 322, 323
TILE_OFFSETS, TILE_BYTES = 324, 325
SUB_DIRECTORIES, EXTRA_SAMPLES, SAMPLE_FORMAT, S_MAX_SAMPLE, JPEG_TABLES = 330, 338, 339, 341, 347
YCBCR_SUBSAMPLING, YCBCR_POSITION = 530, 531
MICRO_MANAGER, DNG_VERSION = 51123, 50706

# Compressions.
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
READ_COMPRESSIONS = frozenset({NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS})
_COMPRESSION_NAMES = {
    2: "CCITT fax", 3: "CCITT fax", 4: "CCITT fax", 6: "old-style JPEG", 9: "JBIG", 10: "JBIG",
    22610: "JPEG XR", 32767: "Sony raw", 32769: "packed raw", 32809: "ThunderScan",
    33003: "JPEG-2000", 33004: "JPEG-2000", 33005: "JPEG-2000", 33007: "JPEG",
    34661: "JBIG", 34676: "LogLuv", 34677: "LogLuv", 34712: "JPEG-2000", 34713: "Nikon raw",
    34887: "LERC", 34892: "lossy DNG", 34925: "LZMA", 34926: "ZSTD", 34927: "WebP", 34933: "PNG",
    34934: "JPEG XR", 50000: "ZSTD", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
    65000: "Kodak raw", 65535: "Pentax raw",
}  # fmt: skip
_RAW_COMPRESSIONS = frozenset({32767, 32769, 34713, 34892, 65000, 65535})

# Kinds of colour.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_PHOTOMETRIC_NAMES = {
    4: "a mask", 5: "a CMYK picture", 8: "a CIELAB picture", 9: "an ICC LAB picture",
    10: "an ITU LAB picture", 32844: "a LogLuv picture", 32845: "a LogLuv picture",
}  # fmt: skip
_RAW_PHOTOMETRICS = frozenset({32803, 34892})
_GREY = frozenset({WHITE_IS_ZERO, BLACK_IS_ZERO})

# Bytes of one value of each field type (TIFF 6.0, section 2; 16 to 18 are BigTIFF's).
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}
# More directory entries than any camera or program writes: a damaged count.
_MAX_ENTRIES = 4096
_MAX_PARTS = 1_000_000
MAX_PAGES = 1000
# Of texts in tags no more than this is looked at: OME-XML of a long series is this long.
_MAX_TEXT_BYTES = 1_000_000
# Of all directories together: a thousand may point at one long list, and each would be read anew.
_MAX_VALUES = 4_000_000
# A page of at most this share of the largest one's pixels, of the same shape, is a preview of it
# or a level of a pyramid.
_PREVIEW_SHARE = 0.26
# A preview of another shape (cameras crop theirs) is smaller still.
_ANY_PREVIEW_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class TiffPage:
    """One directory. ``tags`` holds what is read here, each a tuple of numbers or bytes."""

    width: int
    height: int
    tags: Mapping[int, tuple[int, ...] | bytes]

    def number(self, tag: int, default: int) -> int:
        value = self.tags.get(tag, ())
        return int(value[0]) if value else default

    def numbers(self, tag: int) -> tuple[int, ...]:
        value = self.tags.get(tag, ())
        return tuple(value)

    def text(self, tag: int) -> str:
        value = self.tags.get(tag, b"")
        return value.rstrip(b"\0").decode("utf-8", "replace") if isinstance(value, bytes) else ""

    @property
    def samples(self) -> int:
        return self.number(SAMPLES, 1)

    @property
    def bits(self) -> int:
        return self.number(BITS, 1)

    @property
    def compression(self) -> int:
        return self.number(COMPRESSION, NONE)

    @property
    def photometric(self) -> int:
        return self.number(PHOTOMETRIC, BLACK_IS_ZERO)

    @property
    def tiled(self) -> bool:
        return TILE_OFFSETS in self.tags

    @property
    def starts(self) -> tuple[int, ...]:
        return self.numbers(TILE_OFFSETS if self.tiled else STRIP_OFFSETS)

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.numbers(TILE_BYTES if self.tiled else STRIP_BYTES)

    @property
    def separate(self) -> bool:
        """Whether the channels are stored one after another (PlanarConfiguration 2)."""
        return self.number(PLANAR, 1) == 2 and self.samples > 1

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def reduced(self) -> bool:
        """Whether its tag calls it a smaller copy or a mask of another page."""
        return bool(self.number(SUBFILE, 0) & 0b101)

    @property
    def bytes_per_pixel(self) -> int:
        """What a decoder allocates for each: samples of less than a byte are widened."""
        return max(3, self.samples) * (1 if self.bits <= 8 else (self.bits + 7) // 8)


@dataclass(frozen=True, slots=True)
class TiffFields:
    """The fields of a TIFF: each one page, or three that are its red, green and blue planes.

    grey_triple: three grey pages of one size without a word of what they are; planes where they
    show one place, which only their pixels tell. previews: smaller copies that are left out.
    """

    fields: tuple[tuple[TiffPage, ...], ...]
    grey_triple: bool = False
    previews: int = 0


def tiff_header(data: bytes) -> ImageHeader:
    """The first field's size and orientation."""
    return page_header(tiff_fields(data).fields[0][0])


def page_header(page: TiffPage) -> ImageHeader:
    """A page's size, orientation and the bytes it takes decoded."""
    turned = page.number(ORIENTATION, 1)
    return ImageHeader(
        "tiff",
        page.width,
        page.height,
        orientation=turned if 1 <= turned <= 8 else 1,
        bytes_per_pixel=page.bytes_per_pixel,
    )


def tiff_fields(data: bytes) -> TiffFields:
    """Which pages are fields. Raises ImageError for a damaged file and for a kind not read here.

    The ImageError names the kind: a camera's raw, a compression, a focus stack, colours that are
    no red, green and blue. The promises of the strips are not checked here.
    """
    chain, children = _directories(data)
    _refuse_raw([*chain, *children], data)
    pages = [page for page in chain if not page.reduced]
    if not pages:
        pages = [page for page in children if not page.reduced]
    if not pages:
        raise ImageError(
            "holds only a small preview (thumbnail), not the picture itself; "
            f"take the original, or {SAVE_AS}"
        )
    largest = max(pages, key=lambda page: page.pixels)
    whole = [page for page in pages if not _is_preview(page, largest)]
    previews = len(chain) + len(children) - len(whole)
    for page in whole:
        _refuse_unread(page)
    return _grouped(whole, previews)


def _directories(data: bytes) -> tuple[list[TiffPage], list[TiffPage]]:
    """The pages of the chain and the ones below them, each once."""
    reader = _Reader(data)
    chain: list[TiffPage] = []
    below: list[int] = []
    seen: set[int] = set()
    offset = reader.first
    while offset:
        if offset in seen:
            raise damaged()
        seen.add(offset)
        if len(seen) > MAX_PAGES:
            raise ImageError(f"has more than {MAX_PAGES} pages; save it in parts")
        page, offset = reader.page(offset)
        chain.append(page)
        below.extend(page.numbers(SUB_DIRECTORIES))
    children = []
    for child in below[:MAX_PAGES]:
        if child and child not in seen:
            seen.add(child)
            children.append(reader.page(child)[0])
    if not chain:
        raise damaged()
    return chain, children


class _Reader:
    """Directories of a classic or a big TIFF of either byte order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        self._big = data[2:4] in (b"+\0", b"\0+")
        self._pointer = "Q" if self._big else "I"
        self._count, self._entry, self._step = ("Q", "HHQ", 20) if self._big else ("H", "HHI", 12)
        self._values_left = _MAX_VALUES
        (self.first,) = self._unpack(self._pointer, 8 if self._big else 4)

    def page(self, offset: int) -> tuple[TiffPage, int]:
        """One directory, and where the next one lies (0: nowhere)."""
        (entries,) = self._unpack(self._count, offset)
        if not 0 < entries <= _MAX_ENTRIES:
            raise damaged()
        first = offset + struct.calcsize(self._order + self._count)
        tags: dict[int, tuple[int, ...] | bytes] = {}
        for index in range(entries):
            self._read_entry(first + index * self._step, tags)
        sides = tags.get(WIDTH), tags.get(HEIGHT)
        if not sides[0] or not sides[1]:
            raise damaged()
        (following,) = self._unpack(self._pointer, first + entries * self._step)
        page = TiffPage(int(sides[0][0]), int(sides[1][0]), tags)
        if page.width <= 0 or page.height <= 0:
            raise damaged()
        return page, following

    def _read_entry(self, position: int, tags: dict[int, tuple[int, ...] | bytes]) -> None:
        tag, kind, count = self._unpack(self._entry, position)
        if tag not in _READ_TAGS or kind not in _TYPES or count == 0:
            return
        text = _TYPES[kind] == "s"
        if tag in _TEXT_TAGS:
            count = min(count, _MAX_TEXT_BYTES)
        elif count > _MAX_PARTS:
            raise damaged()
        self._values_left -= count
        if self._values_left < 0:
            raise ImageError(f"has too many strips to be a picture; {SAVE_AS}")
        code = f"{count}{_TYPES[kind]}"
        value_at = position + struct.calcsize(self._order + self._entry)
        if struct.calcsize(self._order + code) > (8 if self._big else 4):
            (value_at,) = self._unpack(self._pointer, value_at)
        values = self._unpack(code, value_at)
        tags[tag] = values[0] if text else values

    def _unpack(self, code: str, offset: int) -> tuple[Any, ...]:
        """``struct.unpack_from`` for offsets read from a file, which may be absurd."""
        code = self._order + code
        if offset + struct.calcsize(code) > len(self._data):
            raise truncated()
        return struct.unpack_from(code, self._data, offset)


_TEXT_TAGS = frozenset({DESCRIPTION, MAKE, MODEL, MICRO_MANAGER, JPEG_TABLES})
_READ_TAGS = _TEXT_TAGS | {
    SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, ORIENTATION,
    SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, MAX_SAMPLE, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH,
    TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SUB_DIRECTORIES, EXTRA_SAMPLES, SAMPLE_FORMAT,
    S_MAX_SAMPLE, YCBCR_SUBSAMPLING, YCBCR_POSITION, DNG_VERSION,
}  # fmt: skip


def _refuse_raw(pages: Sequence[TiffPage], data: bytes) -> None:
    """Refuse a camera's raw file by its name: its first page may be a readable thumbnail."""
    camera = next((f"{p.text(MAKE)} {p.text(MODEL)}".strip() for p in pages if p.text(MAKE)), "")
    of = f" of {camera[:60]}" if camera else ""
    if any(DNG_VERSION in page.tags for page in pages):
        name = f"a DNG raw picture{of}"
    elif data[8:10] == b"CR" or any(
        page.photometric in _RAW_PHOTOMETRICS or page.compression in _RAW_COMPRESSIONS
        for page in pages
    ):
        name = f"a camera's raw picture{of}"
    else:
        return
    raise ImageError(f"is {name}, which is not read here; {SAVE_AS}")


def _is_preview(page: TiffPage, largest: TiffPage) -> bool:
    share = page.pixels / max(1, largest.pixels)
    # The same shape: sides in the same ratio, to within the rounding of the smaller one.
    slack = max(largest.width, largest.height)
    alike = abs(page.width * largest.height - page.height * largest.width) <= 2 * slack
    return share <= (_PREVIEW_SHARE if alike else _ANY_PREVIEW_SHARE)


def _refuse_unread(page: TiffPage) -> None:
    """Refuse by name what OpenCV does not decode, or decodes into something else."""
    if page.compression not in READ_COMPRESSIONS:
        name = _COMPRESSION_NAMES.get(page.compression, f"number {page.compression}")
        raise ImageError(f"is a TIFF of compression {name}, which is not read here; {SAVE_AS}")
    if page.photometric in _PHOTOMETRIC_NAMES:
        raise ImageError(f"is {_PHOTOMETRIC_NAMES[page.photometric]}, not read here; {SAVE_AS}")
    if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise ImageError(f"is a TIFF of colour kind {page.photometric}, not read here; {SAVE_AS}")
    if any(kind not in (1, 4) for kind in page.numbers(SAMPLE_FORMAT)):
        kind = next(kind for kind in page.numbers(SAMPLE_FORMAT) if kind not in (1, 4))
        name = {2: "signed", 3: "floating-point"}.get(kind, "complex")
        raise ImageError(f"has {name} samples; save it with 8 or 16 bits a channel")
    depths = page.numbers(BITS) or (1,)
    if len(set(depths)) > 1:
        raise ImageError(f"has channels of different bits {depths[:8]}; {SAVE_AS}")
    if page.bits not in (8, 10, 12, 14, 16) and not (page.bits == 1 and page.samples == 1):
        raise ImageError(f"has {page.bits}-bit samples; save it with 8 or 16 bits a channel")
    colours = 3 if page.photometric in (RGB, YCBCR) else 1
    if not colours <= page.samples <= colours + 1:
        raise ImageError(f"has {page.samples} channels where {colours} are read here; {SAVE_AS}")
    if page.photometric in (PALETTE, YCBCR) and (page.bits != 8 or page.separate):
        raise ImageError(f"is a TIFF of an unusual layout, not read here; {SAVE_AS}")
    if not page.starts:
        raise damaged()


def _grouped(pages: Sequence[TiffPage], previews: int) -> TiffFields:
    """Pages as fields, by what their own text says of planes, channels and focus steps."""
    single = tuple((page,) for page in pages)
    grey = [page.photometric in _GREY and page.samples == 1 for page in pages]
    alike = len({(page.width, page.height, page.bits) for page in pages}) == 1
    text = pages[0].text(DESCRIPTION)
    layout = _ome_layout(text) or _imagej_layout(text)
    if layout is not None:
        layout.check_steps()
        if layout.times_missing(len(pages)):
            raise layout.missing(len(pages))
    if layout is not None and layout.channels > 1 and all(grey) and alike:
        if len(pages) % layout.planes:
            raise layout.missing(len(pages))
        return TiffFields(tuple(layout.colour_fields(pages)), previews=previews)
    unnamed = layout is None or layout.channels == 1
    triple = len(pages) == 3 and all(grey) and alike and unnamed
    return TiffFields(single, grey_triple=triple, previews=previews)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How planes follow one another: how many channels, focus steps and times, and in what order.

    order: of C, Z and T, the fastest first. colours: the channels' names. strict: whether the
    text promises that all planes lie in this file, not in several.
    """

    channels: int
    steps: int
    times: int
    order: str
    colours: tuple[str, ...]
    strict: bool

    @property
    def planes(self) -> int:
        return self.channels * self.steps * self.times

    def times_missing(self, pages: int) -> bool:
        return self.strict and pages < self.planes

    def missing(self, pages: int) -> ImageError:
        return ImageError(
            f"promises {self.planes} planes and holds {pages}; copy all of it, or save each field "
            "as a picture of its own"
        )

    def check_steps(self) -> None:
        if self.steps > 1:
            raise ImageError(
                f"is a focus stack of {self.steps} steps, one place many times; save its "
                "sharpest plane as a picture of its own"
            )

    def colour_fields(self, pages: Sequence[TiffPage]) -> Iterator[tuple[TiffPage, ...]]:
        """The planes of each field as red, green, blue."""
        if self.channels != 3:
            names = ", ".join(name for name in self.colours if name)
            raise ImageError(
                f"holds {self.channels} colour planes{f' ({names[:80]})' if names else ''}, not "
                "red, green and blue; save one colour picture"
            )
        rank = self._red_green_blue()
        apart = 1 if self.order.index("C") < self.order.index("T") else self.times
        for start in range(0, len(pages), self.planes):
            for time in range(self.times):
                first = start + (3 * time if apart == 1 else time)
                yield tuple(pages[first + channel * apart] for channel in rank)

    def _red_green_blue(self) -> tuple[int, ...]:
        """Which channel is red, green and blue: by their names, else in the order given."""
        firsts = [name.strip().casefold()[:1] for name in self.colours]
        if sorted(firsts) == ["b", "g", "r"]:
            return tuple(firsts.index(colour) for colour in "rgb")
        return (0, 1, 2)


def _ome_layout(text: str) -> _Layout | None:
    """The layout of OME-XML, by patterns: an XML reader would be asked to trust a stranger."""
    pixels = re.search(r"<(?:\w{1,20}:)?Pixels\b[^<>]{0,4000}>", text)
    if pixels is None:
        return None
    found = dict(re.findall(r'(\w+)="([^"]*)"', pixels.group()))

    def size(name: str) -> int:
        digits = found.get(name, "1")
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else 1

    channels = re.findall(r"<(?:\w{1,20}:)?Channel\b[^<>]{0,4000}>", text)[:64]
    told = [dict(re.findall(r'(\w+)="([^"]*)"', channel)) for channel in channels]
    # A channel of three samples is a colour picture in one page.
    inside = max([1, *(_digits(each.get("SamplesPerPixel", "1")) for each in told)])
    order = "".join(letter for letter in found.get("DimensionOrder", "XYCZT") if letter in "CZT")
    return _Layout(
        channels=max(1, size("SizeC") // inside),
        steps=size("SizeZ"),
        times=size("SizeT"),
        order=order if sorted(order) == ["C", "T", "Z"] else "CZT",
        colours=tuple(_colour_name(each) for each in told),
        strict=False,
    )


def _digits(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _colour_name(channel: Mapping[str, str]) -> str:
    """A channel's name, or its colour where that is a pure one (RGBA as a signed number)."""
    name = channel.get("Name", "")
    if name:
        return name
    try:
        rgba = int(channel.get("Color", "")) & 0xFFFFFFFF
    except ValueError:
        return ""
    return {0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue"}.get(rgba >> 8, "")


def _imagej_layout(text: str) -> _Layout | None:
    """The layout of ImageJ's description. Its ``slices`` are any stack, so they are taken for
    fields; only ``channels`` say what the pages are.
    """
    if not text.startswith("ImageJ="):
        return None
    found = dict(line.split("=", 1) for line in text.replace("\r", "\n").split("\n") if "=" in line)
    channels = _digits(found.get("channels", "1").strip())
    images = _digits(found.get("images", "1").strip())
    return _Layout(
        channels=channels,
        steps=1,
        times=max(1, images // max(1, channels)),
        order="CZT",
        colours=(),
        strict=True,
    )


def white_is_zero(page: TiffPage) -> bool:
    """Whether large samples are dark."""
    return page.photometric == WHITE_IS_ZERO


def significant_bits(page: TiffPage) -> int | None:
    """How many bits of a 16-bit sample the file says are used; None where it says nothing."""
    description = page.text(DESCRIPTION)
    named = (
        _matched(r'SignificantBits="(\d{1,2})"', description),
        _matched(r'"BitDepth"\s*:\s*"?(\d{1,2})\b', page.text(MICRO_MANAGER)),
    )
    # 65535 is what programs write without a thought.
    maxima = (
        _bits_of_maximum(page.number(MAX_SAMPLE, 0)),
        _bits_of_maximum(page.number(S_MAX_SAMPLE, 0)),
        _bits_of_maximum(_matched(r"(?m)^max=(\d{1,6})(?:\.0*)?\s*$", description)),
    )
    told = [bits for bits in named if 8 < bits <= 16] + [bits for bits in maxima if 8 < bits < 16]
    return told[0] if told else None


def _matched(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def _bits_of_maximum(value: int) -> int:
    """The bits of a largest sample that is one less than a power of two; 0 for any other."""
    return value.bit_length() if value & (value + 1) == 0 else 0
