"""Feed changed picture files to the reader for a while: nothing may come but a frame or one line.

Prints how many files were tried, how many were read, the slowest, the largest memory, and every
error that is not an ImageError; exits 1 where there was one, or where one took too long.
Run with ``--seconds 600 --seed 1`` for a soak; ``--inputs DIR`` adds files of one's own.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import struct
import sys
import time
import traceback
import zlib
from pathlib import Path

import cv2
import numpy as np

from edgehemo.errors import ImageError
from edgehemo.images.reading import IMAGE_SUFFIXES, picture_of
from edgehemo.images.worker import FAULT

# A changed file that takes longer than this is a finding, s.
SLOW_S = 5.0
_EDGES = (0, 1, 2, 3, 7, 8, 9, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def seeds(folder: Path | None) -> list[tuple[str, bytes]]:
    """Small pictures of every format, and the ones of a folder."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC)
    kinds: list[tuple[str, str, list[int], np.ndarray]] = [
        ("jpeg", ".jpg", [], picture),
        ("progressive", ".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], picture),
        ("restarts", ".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2], picture),
        ("png", ".png", [], picture),
        ("png 16", ".png", [], picture.astype(np.uint16) * 257),
        ("bmp", ".bmp", [], picture),
        ("webp", ".webp", [cv2.IMWRITE_WEBP_QUALITY, 80], picture),
        ("webp lossless", ".webp", [cv2.IMWRITE_WEBP_QUALITY, 101], picture),
        ("tiff 16", ".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 5], picture.astype(np.uint16) * 257),
    ]
    for compression in (1, 5, 7, 8, 32773):
        parameters = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 16]
        kinds.append((f"tiff {compression}", ".tif", parameters, picture))
    found = [
        (name, cv2.imencode(suffix, array, parameters)[1].tobytes())
        for name, suffix, parameters, array in kinds
    ]
    pages = cv2.imencodemulti(".tif", [picture, picture[::-1], picture[:, ::-1]])[1]
    found.append(("tiff pages", pages.tobytes()))
    if folder is not None:
        found += [
            (path.name, path.read_bytes())
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in IMAGE_SUFFIXES or path.suffix.lower() == ".dng"
        ]
    return found


def changed(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some overwritten, cut out, doubled, or replaced by telling numbers."""
    new = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not new:
            break
        # The beginning decides what a decoder does: half of the changes fall there.
        span = min(len(new), 400) if chance.random() < 0.5 else len(new)
        at = chance.randrange(span)
        way = chance.randrange(6)
        if way == 0:
            new[at] ^= 1 << chance.randrange(8)
        elif way == 1:
            new[at] = chance.randrange(256)
        elif way == 2:
            code = chance.choice(("<H", ">H", "<I", ">I"))
            value = chance.choice(_EDGES) & (0xFFFF if code[1] == "H" else 0xFFFFFFFF)
            coded = struct.pack(code, value)
            new[at : at + len(coded)] = coded
        elif way == 3:
            del new[at : at + chance.randrange(1, 64)]
        elif way == 4:
            new[at:at] = new[at : at + chance.randrange(1, 64)] * chance.choice((1, 2, 50))
        else:
            end = min(len(new), at + chance.randrange(1, 2000))
            new[at:end] = bytes([chance.choice((0, 0x80, 0xFF))]) * (end - at)
    return mended(bytes(new)) if chance.random() < 0.5 else bytes(new)


def mended(data: bytes) -> bytes:
    """A PNG with right checksums, so that its changes reach what lies behind them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    new = bytearray(data)
    position = 8
    while position + 12 <= len(new):
        (length,) = struct.unpack_from(">I", new, position)
        end = position + 8 + length
        if end + 4 > len(new):
            break
        struct.pack_into(">I", new, end, zlib.crc32(new[position + 4 : end]))
        position = end + 4
    return bytes(new)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=Path, help="folder of files to change as well")
    parser.add_argument("--keep", type=Path, help="folder for the files that were findings")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    files = seeds(arguments.inputs)
    ends = time.monotonic() + arguments.seconds
    tried = read = 0
    slowest = (0.0, "")
    reasons: collections.Counter[str] = collections.Counter()
    findings: list[str] = []
    while time.monotonic() < ends:
        name, data = chance.choice(files)
        new = changed(data, chance)
        tried += 1
        started = time.monotonic()
        try:
            picture = picture_of(new, "x")
            for field in range(min(len(picture), 4)):
                picture.frame(field)
            read += 1
        except ImageError as error:
            reasons[str(error).split(": ", 1)[-1][:40]] += 1
            if "\n" in str(error) or FAULT in str(error):
                findings.append(f"{name}: {error}")
        except Exception:  # what this looks for
            findings.append(f"{name}: {traceback.format_exc()}")
            if arguments.keep is not None:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / f"{tried}-{name.replace(' ', '-')}").write_bytes(new)
        took = time.monotonic() - started
        slowest = max(slowest, (took, name))
        if took > SLOW_S:
            findings.append(f"{name}: took {took:.1f} s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    apart = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{tried} files, {read} read, {tried - read} refused; slowest {slowest[0]:.2f} s "
        f"({slowest[1]}); memory {memory:.0f} MB here, {apart:.0f} MB apart"
    )
    for reason, count in reasons.most_common(12):
        print(f"  {count:7d}  {reason}")
    for finding in findings[:20]:
        print(finding, file=sys.stderr)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
