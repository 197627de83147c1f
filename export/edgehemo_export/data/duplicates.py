"""Pictures that appear twice: by content, by look at another size, and as a second exposure.

Exact copies share a SHA-256. Others are proposed by a perceptual hash (64 signs of the lowest
frequencies of a discrete cosine transform, as in Zauner 2010) and confirmed by correlating local
detail: the mean and the contrast around every point are taken out first, so that neither a bright
disc on black nor one dark cell in the middle, which many pictures have in common, counts as
likeness. The correlation may shift one picture against the other, which also finds a field that
was photographed twice. Turned or mirrored copies are not looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

DuplicateKind = Literal["exact", "copy", "same_view"]

# Side of the reduced grey picture that is compared, px.
THUMBNAIL_PX = 64
_HASH_PX = 32
_HASH_FREQUENCIES = 8
# Around a point, in thumbnail px: what counts as its surroundings.
_DETAIL_SIGMA_PX = 4.0
# Contrast below which a place counts as empty, grey levels.
_DETAIL_FLOOR = 3.0
# How far two pictures may be shifted against each other, thumbnail px (an eighth of the side).
_SHIFT_PX = 8
# Limits, set on the 11,686 pictures of nine sets. The 826 pairs that two sets publish under one
# name lie within 4 bits and above 0.98. Looked at by eye, pairs were one view from 0.64 up within
# 8 bits and from 0.76 up within 10; the likest pair of two cells has 0.65 at 10 bits; one pair of
# phone pictures with 0.72 could not be told and counts as one view. No pair of a PBC and an LMU
# picture within 14 bits exceeds 0.55. Shifted copies may differ in more bits: not all are found.
CANDIDATE_BITS = 10
COPY_CORRELATION = 0.97
SAME_VIEW_CORRELATION = 0.70
NEAR_BITS = 8
NEAR_CORRELATION = 0.62


@dataclass(frozen=True)
class DuplicatePair:
    """Two pictures by index, first < second. bits: Hamming distance of the perceptual hashes.

    kind: the same bytes ("exact"), the same exposure saved otherwise ("copy"), or the same place
    of a slide ("same_view"). correlation: of local detail, best shift.
    """

    first: int
    second: int
    kind: DuplicateKind
    bits: int
    correlation: float


def thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (64, 64) grey of uint8 (h, w, 3) RGB, the whole picture whatever its proportions."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def perceptual_hash(small: NDArray[np.uint8]) -> int:
    """64 bits of a `thumbnail`: which low frequencies lie above their median."""
    half = cv2.resize(small, (_HASH_PX, _HASH_PX), interpolation=cv2.INTER_AREA)
    low = cv2.dct(half.astype(np.float32))[:_HASH_FREQUENCIES, :_HASH_FREQUENCIES].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Correlation (-1 to 1) of the local detail of two thumbnails at the best shift."""
    core = slice(_SHIFT_PX, THUMBNAIL_PX - _SHIFT_PX)
    first, second = _detail(one), _detail(other)
    return max(
        float(cv2.matchTemplate(b, a[core, core], cv2.TM_CCOEFF_NORMED).max())
        for a, b in ((first, second), (second, first))
    )


def candidate_pairs(
    hashes: NDArray[np.uint64], bits: int = CANDIDATE_BITS
) -> list[tuple[int, int, int]]:
    """Every pair (i, j, distance) with i < j whose hashes differ in at most ``bits`` bits."""
    found: list[tuple[int, int, int]] = []
    for i in range(len(hashes) - 1):
        distance = np.bitwise_count(hashes[i + 1 :] ^ hashes[i])
        found += [(i, i + 1 + int(j), int(distance[j])) for j in np.flatnonzero(distance <= bits)]
    return found


def duplicate_pairs(
    digests: Sequence[str], hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]
) -> list[DuplicatePair]:
    """Every pair of duplicates. digests: SHA-256. hashes: (n,). thumbnails: (n, 64, 64)."""
    pairs: list[DuplicatePair] = []
    for i, j, bits in candidate_pairs(hashes):
        if digests[i] == digests[j]:
            pairs.append(DuplicatePair(i, j, "exact", bits, 1.0))
            continue
        value = likeness(thumbnails[i], thumbnails[j])
        if is_duplicate(bits, value):
            kind: DuplicateKind = "copy" if value >= COPY_CORRELATION else "same_view"
            pairs.append(DuplicatePair(i, j, kind, bits, round(value, 4)))
    return pairs


def is_duplicate(bits: int, correlation: float) -> bool:
    """The rule: unlike hashes ask for more likeness of detail."""
    if bits > CANDIDATE_BITS:
        return False
    return correlation >= (NEAR_CORRELATION if bits <= NEAR_BITS else SAME_VIEW_CORRELATION)


def united(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Each name to the first name, in order of the alphabet, of all it is joined to by pairs."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return {name: root(name) for name in parent}


def _detail(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = small.astype(np.float32)
    residue = values - cv2.GaussianBlur(values, (0, 0), _DETAIL_SIGMA_PX)
    power = cv2.GaussianBlur(residue * residue, (0, 0), _DETAIL_SIGMA_PX)
    contrast = np.sqrt(np.maximum(power, 0.0)) + _DETAIL_FLOOR
    return np.asarray(residue / contrast, np.float32)
