"""What of a sample a person must look at, because it may mean an illness that no number here tells.

A finding says what was seen and in how many cells, never what it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgehemo.guidance.withheld import SampleFinding, sample_finding
from edgehemo.screening.cell_types import interior_cells
from edgehemo.screening.field import FieldReading
from edgehemo.statistics.poisson import poisson_interval

# Red cells with an inclusion that are many: at least so many, and by the lower end of their 95 %
# interval more than this share. On real sets without parasites the look marks at most 0.7 %
# (benchmarks/inclusions.py), and three times that on the worst of slides.
MIN_CELLS_WITH_INCLUSION = 5
MIN_SHARE_WITH_INCLUSION = 0.02


def findings_of(fields: Sequence[FieldReading]) -> tuple[SampleFinding, ...]:
    """What the accepted fields hold that a person must look at; empty for most."""
    red = [
        cell
        for field in fields
        if field.accepted
        for cell in interior_cells(field)
        if cell.kind == "rbc"
    ]
    marked = sum(cell.inclusion for cell in red)
    if not inclusions_stand_out(marked, len(red)):
        return ()
    share = f"{100 * marked / len(red):.1f}"
    return (sample_finding("RED_CELLS_WITH_INCLUSIONS", cells=marked, red=len(red), share=share),)


def inclusions_stand_out(marked: int, red: int) -> bool:
    """Whether so many of so many red cells are more than chance and stain deposits make."""
    if marked < MIN_CELLS_WITH_INCLUSION:
        return False
    low, _ = poisson_interval(float(marked))
    return low > MIN_SHARE_WITH_INCLUSION * red
