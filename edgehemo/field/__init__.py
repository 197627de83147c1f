"""The canonical field: what every model, index and check sees instead of the camera's frame."""

from edgehemo.field.canonical import (
    ASSUMED_UM_PER_PX,
    CANONICAL_UM_PER_PX,
    CELL_DIAMETER_PX,
    CLEAR_FIELD_CODE,
    MAX_TRANSMITTANCE,
    UINT8_PER_TRANSMITTANCE,
    CanonicalField,
    canonical_field,
)
from edgehemo.field.scale import RED_CELL_DIAMETER_UM, ScaleEstimate, ScaleSource

__all__ = [
    "ASSUMED_UM_PER_PX",
    "CANONICAL_UM_PER_PX",
    "CELL_DIAMETER_PX",
    "CLEAR_FIELD_CODE",
    "MAX_TRANSMITTANCE",
    "RED_CELL_DIAMETER_UM",
    "UINT8_PER_TRANSMITTANCE",
    "CanonicalField",
    "ScaleEstimate",
    "ScaleSource",
    "canonical_field",
]
