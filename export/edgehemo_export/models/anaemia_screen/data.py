"""What the anaemia screen learns from: fields called anaemia-like or control-like.

Every source holds both classes, so that the source does not give the class away: AneRBC by its
cohorts, the Uganda pictures by sickle and clear, Chula by its diseases against RBC-12 fields whose
labelled cells are mostly normal, the simulated microscope by the haemoglobin drawn, and sets of
one's own by that which an analyser measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError, FieldError, UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE, CanonicalField, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo.quality.envelope import envelope_features
from edgehemo.quality.regions import field_regions
from edgehemo.records.exports.dataset import SAMPLES_TABLE
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.sets import chula_rbc12
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.data.simulated.tiles import SimulatedFields
from edgehemo_export.data.smears import (
    ANAEMIA,
    ANAEMIA_BELOW_G_PER_L,
    CONTROL,
    CONTROL_FROM_G_PER_L,
    FieldImage,
    field_image,
    label_of,
    own_smears,
    smear_pictures,
)
from edgehemo_export.data.splits import CURRENT, ModelSplit, Part

SIMULATED = "simulated"
SOURCES = ("anerbc", "chula", "uganda_phone", SIMULATED)
# A Chula RBC-12 field is called by the share of normal cells among its labelled ones.
MIN_LABELLED_CELLS = 8
CONTROL_NORMAL_SHARE, ANAEMIA_NORMAL_SHARE = 0.75, 0.30
NORMAL_TYPE = chula_rbc12.TYPES.index("normal")
# Real fields of a source and class are taken up to this number, evenly.
MAX_FIELDS = 120


@dataclass(frozen=True)
class ScreenField:
    """codes: uint8 (h, w, 3), canonical. label: CONTROL or ANAEMIA. group: what stays on one side
    of the split; sample: what is judged as one (a patient where it is known, else the group).
    envelope: `ENVELOPE_FEATURES`.
    """

    codes: NDArray[np.uint8]
    source: str
    group: str
    label: int
    envelope: NDArray[np.float64]


def screen_images(root: Path) -> list[FieldImage]:
    """The labelled pictures of a data root, their sources named as in SOURCES."""
    out: list[FieldImage] = []
    for picture in smear_pictures(root):
        image = field_image(picture)
        source = "chula" if image.source.startswith("chula") else image.source
        label = image.label
        if picture.set_name == chula_rbc12.SOURCE:
            label = _chula_label(picture)
        if source in SOURCES and label is not None:
            out.append(replace(image, source=source, label=label))
    out += [image for image in own_smears(root) if image.label is not None]
    if not out:
        raise UsageError(
            f"{root} holds none of the sets that the anaemia screen learns from, and no samples of "
            f"one's own whose haemoglobin is below {ANAEMIA_BELOW_G_PER_L:g} g/L or from "
            f"{CONTROL_FROM_G_PER_L:g} on ({SAMPLES_TABLE})"
        )
    return _evenly(out)


def _evenly(images: Sequence[FieldImage]) -> list[FieldImage]:
    """At most MAX_FIELDS of each source and class."""
    out: list[FieldImage] = []
    for source in dict.fromkeys((*SOURCES, *(image.source for image in images))):
        for label in (CONTROL, ANAEMIA):
            here = [i for i in images if i.source == source and i.label == label]
            step = max(1.0, len(here) / MAX_FIELDS)
            out += [here[int(k * step)] for k in range(min(len(here), MAX_FIELDS))]
    return out


def _chula_label(picture: SetPicture) -> int | None:
    """By the field's labelled cells; None where they are missing, too few, or say neither."""
    if picture.read_points is None:
        return None
    types = picture.read_points().types
    if len(types) < MIN_LABELLED_CELLS:
        return None
    normal = float((types == NORMAL_TYPE).mean())
    if normal >= CONTROL_NORMAL_SHARE:
        return CONTROL
    return ANAEMIA if normal <= ANAEMIA_NORMAL_SHARE else None


def screen_fields(images: Sequence[FieldImage], cache: Path | None) -> list[ScreenField]:
    """The pictures as canonical fields; what cannot be made one is left out."""
    found: list[ScreenField] = []
    for image in images:
        depends_on = {"picture": content_of(image.path)}
        try:
            stored = prepared(cache, "screen-field", depends_on, partial(_read, image))
        except EdgeHemoError:
            continue
        label = CONTROL if image.label is None else image.label
        found.append(
            ScreenField(stored["codes"], image.source, image.group, label, stored["envelope"])
        )
    return found


def _read(image: FieldImage) -> dict[str, NDArray[Any]]:
    """Codes and envelope; FieldError where no red cell tells the scale."""
    field = canonical_field(read_frame(image.path))
    if field.scale_source == "assumed":
        raise FieldError(f"{image.path.name}: no red cell tells the scale")
    codes, features = as_codes(field)
    return {"codes": codes, "envelope": features}


def as_codes(field: CanonicalField) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A field's codes, clear beyond the field stop as on the device, and envelope features."""
    codes = field.to_uint8()
    codes[~field.valid] = CLEAR_FIELD_CODE
    return codes, envelope_features(field_regions(field), field.illumination)


def simulated_screen_fields(fields: SimulatedFields, name: str) -> list[ScreenField]:
    """Simulated fields whose haemoglobin is clearly below or above the limits."""
    out: list[ScreenField] = []
    for i in range(len(fields)):
        label = label_of(float(fields.panel[i, 0]))
        if label is None:
            continue
        nothing = np.full(5, np.nan)
        out.append(ScreenField(fields.codes[i], SIMULATED, f"{name}-{i}", label, nothing))
    return out


def part_images(
    images: Sequence[FieldImage], part: Part, left_out: str | None, split: ModelSplit = CURRENT
) -> list[FieldImage]:
    """One part of the split without a source that is left out whole."""
    return [image for image in split.select(images, part) if image.source != left_out]
