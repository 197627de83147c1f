"""Measures one microscope and writes its calibration profile; the device only reads that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehemo_calibration.api import (
        calibrate_analyser,
        calibrate_focus,
        calibrate_illumination,
        calibrate_scale,
        calibrate_stain,
    )

__all__ = [
    "calibrate_analyser",
    "calibrate_focus",
    "calibrate_illumination",
    "calibrate_scale",
    "calibrate_stain",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'edgehemo_calibration' has no attribute {name!r}")
    from edgehemo_calibration import api

    return getattr(api, name)
