"""What a file is, from its first bytes: pictures that are read, videos, and what neither is.

By content and never by the name: cameras and programs name files as they like. No I/O.

Sources: PNG, W3C recommendation, 5.2; JPEG, ITU-T T.81 annex B; TIFF 6.0; BMP; WebP, RFC 9649;
ISO/IEC 14496-12 4.3 (brands); Matroska, RFC 9559; H.264, ITU-T H.264 annex B; H.265 annex B;
MPEG-1/2, ISO/IEC 13818-1 and -2; ASF 2.1; Ogg, RFC 3533.
"""

from __future__ import annotations

import struct
from typing import Literal

ImageFormat = Literal["png", "jpeg", "bmp", "tiff", "webp"]
READABLE = "JPEG, PNG, BMP, TIFF and WebP"
SAVE_AS = "save it as JPEG, PNG or plain TIFF"
# Bytes that tell any kind: an MPEG transport stream needs the most, three packets of 204 bytes.
HEAD_BYTES = 1024

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
# Brands of ISO base media files that are pictures; all others are videos.
_STILL_BRANDS = {
    b"heic": "a HEIC picture", b"heix": "a HEIC picture", b"mif1": "a HEIC picture",
    b"msf1": "a HEIC picture", b"hevc": "a HEIC picture", b"avif": "an AVIF picture",
    b"avis": "an AVIF picture", b"crx ": "a camera raw (Canon CR3)",
}  # fmt: skip
# What a first atom of a QuickTime file without a brand may be called.
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})

_VIDEO_STARTS = (
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (b"\0\0\1\xba", "MPEG"),
    (b"\0\0\1\xb3", "MPEG"),
    (b"\0\0\1\xb0", "MPEG-4"),
    (b"FLV\1", "Flash"),
    (b"OggS", "Ogg"),
    (b"DKIF", "IVF"),
    (b"YUV4MPEG2", "YUV4MPEG"),
    (b".RMF", "RealMedia"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "MXF"),
)
# NAL units a raw stream begins with. H.264: SEI, SPS, PPS, delimiter; H.265: VPS, SPS, PPS,
# delimiter.
_H264_FIRST = frozenset({6, 7, 8, 9})
_H265_FIRST = frozenset({32, 33, 34, 35})
_TS_PACKETS = ((0, 188), (4, 192), (0, 204))

_NAMED_STARTS = (
    (b"GIF8", "a GIF file"),
    (b"%PDF", "a PDF file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"II\xbc", "a JPEG XR file"),
    (b"8BPS", "a Photoshop file"),
    (b"v/1\1", "an OpenEXR file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"IIU\0", "a camera raw (Panasonic RW2)"),
    (b"IIRO", "a camera raw (Olympus ORF)"),
    (b"IIRS", "a camera raw (Olympus ORF)"),
    (b"MMOR", "a camera raw (Olympus ORF)"),
    (b"FUJIFILMCCD-RAW", "a camera raw (Fujifilm RAF)"),
    (b"FOVb", "a camera raw (Sigma X3F)"),
    (b"\0MRM", "a camera raw (Minolta MRW)"),
    (b"II\x1a\0\0\0HEAPCCDR", "a camera raw (Canon CRW)"),
    (b"ZISRAWFILE", "a Zeiss CZI file"),
    (b"\xda\xce\xbe\x0a", "a Nikon ND2 file"),
    (b"P4\n", "a PNM file"),
    (b"P5\n", "a PNM file"),
    (b"P6\n", "a PNM file"),
    (b"BPG\xfb", "a BPG file"),
    (b"\x89HDF", "an HDF5 file"),
)
_PACKED_STARTS = (
    (b"PK\3\4", "a ZIP archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip archive"),
)


def picture_format(data: bytes) -> ImageFormat | None:
    """The format of a picture that is read here; None for anything else."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] in TIFF_SIGNATURES:
        return "tiff"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and len(data) > 26 and _is_bmp(data):
        return "bmp"
    return None


def video_kind(data: bytes) -> str | None:
    """What kind of video the first `HEAD_BYTES` begin; None where they begin none."""
    if data[4:8] == b"ftyp":
        return None if data[8:12] in _STILL_BRANDS else "MP4 or QuickTime"
    if data[4:8] in _QUICKTIME_ATOMS:
        return "QuickTime"
    if data.startswith(b"RIFF") and data[8:11] == b"AVI":
        return "AVI"
    for start, name in _VIDEO_STARTS:
        if data.startswith(start):
            return name
    if data.startswith((b"\0\0\1", b"\0\0\0\1")):
        nal = data[data.index(b"\1") + 1 :][:1]
        if nal and not nal[0] & 0x80:
            # H.265 first: its delimiter and parameter sets are 0x40 to 0x46, in H.264 the slices.
            if nal[0] & 1 == 0 and nal[0] >> 1 in _H265_FIRST:
                return "H.265"
            if nal[0] & 0x1F in _H264_FIRST:
                return "H.264"
    for first, step in _TS_PACKETS:
        if len(data) > first + 2 * step and all(
            data[first + packet * step] == 0x47 for packet in range(3)
        ):
            return "MPEG transport stream"
    return None


def why_not_read(data: bytes) -> str:
    """What to say of bytes that are no picture read here: what they are and what to do."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in _STILL_BRANDS:
        return _not_read(_STILL_BRANDS[brand])
    video = video_kind(data)
    if video is not None:
        return (
            f"is a video ({video}), not a picture; give it to `edgehemo screen` by itself, which "
            "samples frames"
        )
    name = named_kind(data)
    if name is not None:
        return _not_read(name)
    for start, packed in _PACKED_STARTS:
        if data.startswith(start):
            return f"is {packed}, not a picture; unpack it"
    return f"is not a picture; {READABLE} are read"


def named_kind(data: bytes) -> str | None:
    """The name of a picture or document of a format that is not read here, None if unknown."""
    if data[4:8] == b"ftyp":
        return _STILL_BRANDS.get(data[8:12])
    for start, name in _NAMED_STARTS:
        if data.startswith(start):
            return name
    return "a DICOM file" if data[128:132] == b"DICM" else None


def _not_read(name: str) -> str:
    return f"is {name}, which is not read here; {SAVE_AS} ({READABLE} are read)"


def _is_bmp(data: bytes) -> bool:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    return header_bytes in _BMP_HEADERS
