"""What the anaemia screen learns from: fields called anaemia-like or control-like.

Every source holds both classes, so that the source does not give the class away: AneRBC by its
cohorts, the Uganda pictures by sickle and clear, Chula by its diseases against RBC-12 fields whose
labelled cells are mostly normal, and the simulated microscope by the haemoglobin drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE, CanonicalField, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo.quality.envelope import envelope_features
from edgehemo.quality.regions import field_regions
from edgehemo_export.data.field_tiles import FieldImage
from edgehemo_export.data.simulated_tiles import SimulatedFields
from edgehemo_export.data.smear_sets import ANAEMIA, CONTROL, smear_images
from edgehemo_export.data.splits import part_of

SIMULATED = "simulated"
SOURCES = ("anerbc", "chula", "uganda_phone", SIMULATED)
# WHO 2024: below 120 g/L (women) is anaemia, from 130 (men) on it is none; what lies between is
# not shown in training.
ANAEMIA_BELOW_G_PER_L, CONTROL_FROM_G_PER_L = 115.0, 130.0
# A Chula RBC-12 field is called by the share of normal cells among its labelled ones.
MIN_LABELLED_CELLS = 8
CONTROL_NORMAL_SHARE, ANAEMIA_NORMAL_SHARE = 0.75, 0.30
NORMAL_TYPE = 0
UGANDA_FIELDS_PER_BLOCK = 5
# Real fields of a source and class are taken up to this number, evenly.
MAX_FIELDS = 120
CACHE_VERSION = 1


@dataclass(frozen=True)
class ScreenField:
    """codes: uint8 (h, w, 3), canonical. label: CONTROL or ANAEMIA. group: what stays on one side
    of the split; sample: what is judged as one (a patient where it is known, else the group).
    envelope: `ENVELOPE_FEATURES`."""

    codes: NDArray[np.uint8]
    source: str
    group: str
    label: int
    envelope: NDArray[np.float64]


def screen_images(root: Path) -> list[FieldImage]:
    """The labelled pictures of a data root, their sources named as in SOURCES."""
    out: list[FieldImage] = []
    for image in smear_images(root):
        source = "chula" if image.source.startswith("chula") else image.source
        label = image.label
        if image.source == "chula_rbc12":
            label = _chula_label(image.path)
        if source in SOURCES and label is not None:
            out.append(FieldImage(image.path, source, _group(image), label))
    if not out:
        raise UsageError(f"{root} holds none of the sets that the anaemia screen learns from")
    return _evenly(out)


def _group(image: FieldImage) -> str:
    """The image's group; of the Uganda pictures in smaller blocks, which puts both classes on
    more than one side of the split."""
    if image.source != "uganda_phone":
        return image.group
    digits = "".join(c for c in image.path.stem if c.isdigit())
    folder = image.path.parent.name
    return f"uganda_phone-{folder}-five-{int(digits or 0) // UGANDA_FIELDS_PER_BLOCK:02d}"


def _evenly(images: Sequence[FieldImage]) -> list[FieldImage]:
    """At most MAX_FIELDS of each source and class."""
    out: list[FieldImage] = []
    for source in SOURCES:
        for label in (CONTROL, ANAEMIA):
            here = [i for i in images if i.source == source and i.label == label]
            step = max(1.0, len(here) / MAX_FIELDS)
            out += [here[int(k * step)] for k in range(min(len(here), MAX_FIELDS))]
    return out


def _chula_label(path: Path) -> int | None:
    """By the label file beside the picture; None where it is missing or says neither."""
    for folder in ("labels", "Label"):
        file = path.parent.parent / folder / f"{path.stem}.txt"
        if file.is_file():
            break
    else:
        return None
    types = [line.split()[2] for line in file.read_text("utf-8").splitlines() if line.strip()]
    if len(types) < MIN_LABELLED_CELLS:
        return None
    normal = sum(int(float(kind)) == NORMAL_TYPE for kind in types) / len(types)
    if normal >= CONTROL_NORMAL_SHARE:
        return CONTROL
    return ANAEMIA if normal <= ANAEMIA_NORMAL_SHARE else None


def screen_fields(images: Sequence[FieldImage], cache: Path | None) -> list[ScreenField]:
    """The pictures as canonical fields; what cannot be made one is left out."""
    found = [_cached(image, cache) for image in images]
    return [field for field in found if field is not None]


def _cached(image: FieldImage, cache: Path | None) -> ScreenField | None:
    label = CONTROL if image.label is None else image.label
    path = None
    if cache is not None:
        stat = image.path.stat()
        key = f"{CACHE_VERSION}/{image.source}/{image.path.name}/{stat.st_size}"
        path = cache / f"screen-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
        if path.is_file():
            with np.load(path) as stored:
                return ScreenField(
                    stored["codes"], image.source, image.group, label, stored["envelope"]
                )
    try:
        field = canonical_field(read_frame(image.path))
    except EdgeHemoError:
        return None
    if field.scale_source == "assumed":
        return None
    codes, features = as_codes(field)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part.npz")
        np.savez_compressed(temporary, codes=codes, envelope=features)
        temporary.replace(path)
    return ScreenField(codes, image.source, image.group, label, features)


def as_codes(field: CanonicalField) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A field's codes, clear beyond the field stop as on the device, and envelope features."""
    codes = field.to_uint8()
    codes[~field.valid] = CLEAR_FIELD_CODE
    return codes, envelope_features(field_regions(field), field.illumination)


def simulated_screen_fields(fields: SimulatedFields, name: str) -> list[ScreenField]:
    """Simulated fields whose haemoglobin is clearly below or above the limits."""
    out: list[ScreenField] = []
    for i in range(len(fields)):
        hgb = float(fields.panel[i, 0])
        if ANAEMIA_BELOW_G_PER_L <= hgb < CONTROL_FROM_G_PER_L:
            continue
        label = ANAEMIA if hgb < ANAEMIA_BELOW_G_PER_L else CONTROL
        nothing = np.full(5, np.nan)
        out.append(ScreenField(fields.codes[i], SIMULATED, f"{name}-{i}", label, nothing))
    return out


def part_images(images: Sequence[FieldImage], part: str, left_out: str | None) -> list[FieldImage]:
    """One part of the split without a source that is left out whole."""
    return [i for i in images if part_of(i.group) == part and i.source != left_out]
