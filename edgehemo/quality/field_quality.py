"""All checks of one field, in the order in which an operator should deal with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgehemo.cells.cell import FieldCells
from edgehemo.field.canonical import CanonicalField
from edgehemo.images.frame import Frame
from edgehemo.quality.artefacts import artefact_check
from edgehemo.quality.check import Check, QualityReport
from edgehemo.quality.colour import colour_check
from edgehemo.quality.density import density_checks
from edgehemo.quality.envelope import envelope_check, envelope_features
from edgehemo.quality.fine_detail import detail_checks
from edgehemo.quality.focus import focus_check
from edgehemo.quality.illumination import illumination_checks
from edgehemo.quality.nuclei import nuclei_checks
from edgehemo.quality.regions import artefact_share, field_regions
from edgehemo.quality.scale import scale_checks
from edgehemo.quality.specimen import specimen_check
from edgehemo.quality.stain import stain_checks
from edgehemo.quality.whole_picture import whole_picture_check

if TYPE_CHECKING:
    from edgehemo.profile.profile import CalibrationProfile


def check_field(
    field: CanonicalField,
    frame: Frame,
    *,
    cells: FieldCells | None = None,
    profile: CalibrationProfile | None = None,
    envelope: Mapping[str, Any] | None = None,
    sharpest: float | None = None,
) -> QualityReport:
    """Judge one field.

    field: `canonical_field` of ``frame``; frame: as captured (clipping is judged on it). cells:
    what the finder found, else counts are estimated from the covered area. profile: its sharp
    reference and stain reference are used where it has them. envelope: the bundle's, see
    `edgehemo.quality.envelope`. sharpest: see `edgehemo.quality.focus.focus_check`.

    Pure, and defined for every valid frame: what cannot be measured fails with value None. Raises
    ValueError only for an envelope of another version.
    """
    regions = field_regions(field)
    stain_reference = profile.stain if profile is not None else None
    focus_reference = profile.focus if profile is not None else None
    scale = profile.scale if profile is not None else None
    checks: list[Check] = [
        whole_picture_check(frame.pixels),
        specimen_check(regions),
        colour_check(regions),
        *illumination_checks(frame, field.illumination),
        *scale_checks(field, regions, cells, scale.frame_px if scale is not None else None),
        focus_check(field, regions, focus_reference, sharpest),
        *detail_checks(field, regions),
        *density_checks(regions, cells),
        *stain_checks(regions, field.illumination, stain_reference),
        *nuclei_checks(field, regions, cells),
        artefact_check(artefact_share(regions)),
    ]
    if envelope is not None:
        checks.append(envelope_check(envelope_features(regions, field.illumination), envelope))
    return QualityReport(tuple(checks))
