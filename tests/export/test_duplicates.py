"""Duplicates: exact, resized and saved again, photographed twice; and what must not be merged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.images.reading import read_frame
from edgehemo_export.data.duplicates import (
    CANDIDATE_BITS,
    candidate_pairs,
    duplicate_pairs,
    is_duplicate,
    likeness,
    perceptual_hash,
    thumbnail,
    united,
)

Pixels = NDArray[np.uint8]


def smear(seed: int, side: int = 360) -> Pixels:
    """uint8 RGB: pale discs and one dark body in the middle, as every single-cell picture has."""
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), (232, 214, 222), np.uint8)
    for x, y, r in zip(
        rng.integers(0, side, 9), rng.integers(0, side, 9), rng.integers(28, 40, 9), strict=True
    ):
        cv2.circle(picture, (int(x), int(y)), int(r), (205, 160, 170), -1, cv2.LINE_AA)
    middle = side // 2
    for _ in range(5):
        dx, dy = rng.integers(-30, 30, 2)
        axes = (int(rng.integers(14, 34)), int(rng.integers(10, 26)))
        place = (middle + int(dx), middle + int(dy))
        angle = float(rng.integers(0, 180))
        cv2.ellipse(picture, place, axes, angle, 0, 360, (96, 60, 140), -1, cv2.LINE_AA)
    noise = rng.normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def saved(picture: Pixels, side: int, quality: int) -> Pixels:
    """The picture at another size, through JPEG."""
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)


def pairs_of(pictures: list[Pixels]) -> set[tuple[int, int, str]]:
    smalls = np.stack([thumbnail(picture) for picture in pictures])
    hashes = np.array([perceptual_hash(small) for small in smalls], np.uint64)
    digests = [str(i) for i in range(len(pictures))]
    return {(p.first, p.second, p.kind) for p in duplicate_pairs(digests, hashes, smalls)}


@pytest.mark.parametrize(("side", "quality"), [(160, 90), (575, 95), (224, 60), (96, 80)])
def test_a_copy_at_another_size_is_found(side: int, quality: int) -> None:
    pictures = [smear(seed) for seed in range(12)]
    copies = [saved(picture, side, quality) for picture in pictures]
    assert pairs_of([*pictures, *copies]) == {(i, i + 12, "copy") for i in range(12)}


def test_a_second_exposure_is_found() -> None:
    """Shifted by 3 %, darker, with another white balance and softer."""
    first = smear(3)
    moved = np.roll(first, (11, -9), (0, 1)).astype(np.float32)
    second = np.clip(cv2.GaussianBlur(moved, (0, 0), 1.5) * (0.8, 0.85, 0.95), 0, 255)
    found = pairs_of([first, second.astype(np.uint8), smear(4)])
    assert {(a, b) for a, b, _ in found} == {(0, 1)}


def test_like_backgrounds_are_not_merged() -> None:
    assert pairs_of([smear(seed) for seed in range(100, 160)]) == set()


def test_a_disc_on_black_is_no_likeness() -> None:
    """Phone pictures through an eyepiece share their frame; only the smear inside counts."""
    rim = np.zeros((360, 360, 1), np.uint8)
    cv2.circle(rim, (180, 180), 172, 1, -1)
    assert pairs_of([smear(seed) * rim for seed in range(20)]) == set()


def test_exact_copies_are_told_by_their_bytes() -> None:
    small = thumbnail(smear(1))
    hashes = np.array([perceptual_hash(small)] * 2, np.uint64)
    found = duplicate_pairs(["same", "same"], hashes, np.stack([small, small]))
    assert [(p.kind, p.correlation) for p in found] == [("exact", 1.0)]


def test_the_rule_asks_for_more_likeness_of_unlike_hashes() -> None:
    assert is_duplicate(8, 0.65) and not is_duplicate(10, 0.65)
    assert is_duplicate(10, 0.75) and not is_duplicate(0, 0.6)
    assert not is_duplicate(CANDIDATE_BITS + 1, 1.0)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 64))
@settings(max_examples=50, deadline=None)
def test_candidates_are_all_pairs_within_the_distance(values: list[int], bits: int) -> None:
    found = candidate_pairs(np.array(values, np.uint64), bits)
    expected = [
        (i, j, (a ^ b).bit_count())
        for i, a in enumerate(values)
        for j, b in enumerate(values)
        if i < j and (a ^ b).bit_count() <= bits
    ]
    assert found == expected


names = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(names, names), max_size=12))
@settings(max_examples=80, deadline=None)
def test_union_joins_exactly_what_is_connected(pairs: list[tuple[str, str]]) -> None:
    found = united("abcdefgh", pairs)
    reached = {name: {name} for name in "abcdefgh"}
    for _ in range(8):
        for one, other in pairs:
            both = reached[one] | reached[other]
            for name in both:
                reached[name] = reached[name] | both
    assert found == {name: min(members) for name, members in reached.items()}


@pytest.mark.real
def test_no_cell_of_one_scanner_is_merged_with_one_of_another(data_root: Path) -> None:
    """160 PBC and 160 LMU cells: like classes, like white backgrounds, no picture in common."""
    files = [
        *sorted((data_root / "pbc" / "neutrophil").glob("*.jpg"))[:160],
        *sorted((data_root / "lmu" / "seg_neutrophil").glob("*.jpg"))[:160],
    ]
    smalls = [thumbnail(read_frame(path).pixels) for path in files]
    worst = max(likeness(a, b) for a in smalls[:160:8] for b in smalls[160::8])
    assert worst < 0.6
    hashes = np.array([perceptual_hash(small) for small in smalls], np.uint64)
    found = duplicate_pairs([path.name for path in files], hashes, np.stack(smalls))
    assert not [p for p in found if p.first < 160 <= p.second]


@pytest.mark.real
def test_pictures_published_twice_are_found_across_sizes(data_root: Path) -> None:
    """three_class holds at 360 px what pbc holds at 160 px under the same name."""
    large = sorted((data_root / "three_class" / "basophil").glob("*.jpg"))[:40]
    small = [data_root / "pbc" / "basophil" / path.name for path in large]
    assert all(path.is_file() for path in small)
    smalls = [thumbnail(read_frame(path).pixels) for path in (*large, *small)]
    hashes = np.array([perceptual_hash(item) for item in smalls], np.uint64)
    found = duplicate_pairs([str(i) for i in range(80)], hashes, np.stack(smalls))
    assert {(i, i + 40) for i in range(40)} <= {(p.first, p.second) for p in found}
