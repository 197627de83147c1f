"""The scale of a slide, pooled over its fields: what one field's own reading is held against.

One field's few cells can mislead both its readings in the same way, so that nothing in it speaks
against a wrong scale; the other fields of the slide, of the same camera and objective, do.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgehemo.field.scale import ScaleEstimate
from edgehemo.screening.field import FieldReading
from edgehemo.statistics.medians import median_of, quantiles_of

# So many accepted fields make a slide's scale that can overrule a field's own.
MIN_FIELDS = 3


def slide_scale(
    fields: Iterable[FieldReading], width: int, height: int, *, min_fields: int = MIN_FIELDS
) -> ScaleEstimate | None:
    """The median scale of the accepted fields of one picture size (px) whose scale was read from
    their cells; None with fewer than ``min_fields``.

    Where it was measured or given there is nothing to pool: None.
    """
    alike = [
        field
        for field in fields
        if field.accepted
        and (field.width, field.height) == (width, height)
        and field.scale_source == "red_cells"
    ]
    if len(alike) < max(1, min_fields):
        return None
    scales = np.array([field.um_per_px for field in alike])
    low, high = quantiles_of(scales, (0.25, 0.75))
    middle = median_of(scales)
    # Of what each field's scale stands on; its cells may not have been kept.
    cells = sum(
        int(check.value)
        for field in alike
        for check in field.quality.checks
        if check.name == "scale_cells" and check.value is not None
    )
    return ScaleEstimate(um_per_px=middle, cells=cells, spread=(high - low) / middle)
