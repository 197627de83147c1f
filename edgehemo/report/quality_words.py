"""What the quality checks, their units and other terms of the evidence are called."""

from __future__ import annotations

from edgehemo.measurands import BLOOD_FACTS, BloodQuantity
from edgehemo.quality.limits import LIMITS
from edgehemo.words.language import Words


def quantity_name(words: Words, key: BloodQuantity) -> str:
    """A quantity of blood with its short name, such as ``Haemoglobin (HGB)``."""
    _ = words._
    name = {
        "hgb_g_per_l": _("Haemoglobin"),
        "hct_l_per_l": _("Haematocrit"),
        "rbc_1e12_per_l": _("Red cells"),
        "mcv_fl": _("Mean cell volume"),
        "mch_pg": _("Mean cell haemoglobin"),
        "mchc_g_per_l": _("Mean cell haemoglobin concentration"),
    }[key]
    return f"{name} ({BLOOD_FACTS[key].name})"


def check_name(words: Words, check: str) -> str:
    """A quality check; of one of another version, as it is written."""
    _ = words._
    known = {
        "whole_picture": _("Missing part of the picture"),
        "specimen": _("Looks like a blood smear"),
        "colour": _("Colour"),
        "exposure": _("Brightness of the background"),
        "highlights": _("Part that is too bright"),
        "shadows": _("Part that is black"),
        "evenness": _("Fall-off of the light"),
        "field_stop": _("Part that shows the smear"),
        "background": _("Clear background"),
        "scale_cells": _("Cells that measured the scale"),
        "scale_spread": _("Spread of the scale"),
        "cell_widths": _("Width of cells against the scale"),
        "scale_agreement": _("Size of cells against the scale"),
        "focus": _("Sharpness"),
        "fine_detail": _("Fine detail"),
        "finest_detail": _("Finest detail"),
        "cell_count": _("Red cells in the field"),
        "crowding": _("Part covered by cells"),
        "clumping": _("Cells in clumps"),
        "rouleaux": _("Cells in stacks"),
        "nucleus_contrast": _("Contrast of nuclei"),
        "stain_separation": _("Hue of nuclei against red cells"),
        "nucleated_red_cells": _("Red cells with a nucleus"),
        "spread": _("Largest empty area"),
        "stain_density": _("Strength of the stain"),
        "stain_colour": _("Colour of the stain"),
        "background_colour": _("Tint of the background"),
        "stain_drift": _("Stain against the reference"),
        "stain_strength": _("Strength against the reference"),
        "light_drift": _("Light against the calibration"),
        "artefacts": _("Marks and dirt"),
        "envelope": _("Distance from the training pictures"),
        "repeat": _("Same place as before"),
    }
    return known.get(check, check.replace("_", " "))


def unit_of(words: Words, check: str) -> str:
    """The unit of a check, empty where it has none."""
    _ = words._
    unit = next((item.unit for name, item in LIMITS.items() if name.startswith(f"{check}.")), "")
    return {
        "share": _("share"),
        "counts": _("counts of 255"),
        "cells": _("cells"),
        "ratio": _("ratio"),
        "ln ratio": "ln",
        "ln share of power": "ln",
        "optical density": _("optical density"),
        "degrees": "°",
        "um": "µm",
        "1/um": "1/µm",
        "SD": _("SD"),
        "transmittance": _("transmittance"),
        "relative IQR": _("relative spread"),
        "likeness 0-1": _("likeness, 0 to 1"),
        "share of the reference": _("share of the reference"),
    }.get(unit, "")
