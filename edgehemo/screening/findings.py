"""What of a sample a person must look at, because it may mean an illness that no number here tells.

A finding says what was seen and in how many cells, never what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgehemo.cells.shares import explained_by_others
from edgehemo.guidance.codes import FindingCode
from edgehemo.guidance.withheld import FoundCell, SampleFinding, sample_finding
from edgehemo.screening.cell_types import interior_cells
from edgehemo.screening.field import FieldReading
from edgehemo.statistics.poisson import poisson_interval

if TYPE_CHECKING:
    from edgehemo.cells.cell import Cell
    from edgehemo.cells.shares import TypeShare

# Red cells with an inclusion that are many: at least so many, and by the lower end of their 95 %
# interval more than this share. On real sets without parasites the look marks at most 0.7 %
# (benchmarks/inclusions.py), and three times that on the worst of slides.
MIN_CELLS_WITH_INCLUSION = 5
MIN_SHARE_WITH_INCLUSION = 0.02
# Types that are findings as soon as the sample bears them out (`doubtful_names`).
CODE_OF_TYPE: Mapping[str, FindingCode] = {
    "myeloblast": "BLASTS_SEEN",
    "erythroblast": "ERYTHROBLASTS_SEEN",
    "immature_granulocyte": "IMMATURE_GRANULOCYTES_SEEN",
}
# Types that are findings where there are many: code, least number, and the share of the red cells
# that the lower end of the number's 95 % interval must exceed. Of schistocytes 1 % is the limit
# that haematologists agreed on (ICSH, Schistocyte Working Group 2012).
CODE_OF_MANY: Mapping[str, tuple[FindingCode, int, float]] = {
    "schistocyte": ("SCHISTOCYTES_SEEN", 5, 0.01),
    "sickle_cell": ("SICKLE_CELLS_SEEN", 3, 0.002),
}


def findings_of(
    images: Sequence[object], shares: Sequence[TypeShare] | None = None
) -> tuple[SampleFinding, ...]:
    """What the accepted fields hold that a person must look at; empty for most.

    images: what was made of each image of the sample, in order; a finding names cells by their
    place among them. shares: of the red cells' types, None where none are given; a type whose names
    they explain by other types that are mistaken for it is no finding.
    """
    seen = [
        (place, cell)
        for place, image in enumerate(images)
        if isinstance(image, FieldReading) and image.accepted
        for cell in interior_cells(image)
    ]
    red = sum(cell.kind == "rbc" for _, cell in seen)
    by_type: dict[str, list[FoundCell]] = {}
    for place, cell in seen:
        by_type.setdefault(cell.type, []).append(_place(place, cell))
    marked = [_place(place, cell) for place, cell in seen if cell.kind == "rbc" and cell.inclusion]
    explained = {
        share.type for share in shares or () if explained_by_others(share.named, share.share, red)
    }
    found = []
    if inclusions_stand_out(len(marked), red):
        share = f"{100 * len(marked) / red:.1f}"
        found.append(
            sample_finding(
                "RED_CELLS_WITH_INCLUSIONS", marked, cells=len(marked), red=red, share=share
            )
        )
    for type_, code in CODE_OF_TYPE.items():
        if named := by_type.get(type_, []):
            found.append(sample_finding(code, named, cells=len(named)))
    for type_, (code, least, least_share) in CODE_OF_MANY.items():
        named = [] if type_ in explained else by_type.get(type_, [])
        if len(named) >= least and poisson_interval(float(len(named)))[0] > least_share * red:
            share = f"{100 * len(named) / red:.1f}"
            found.append(sample_finding(code, named, cells=len(named), red=red, share=share))
    return tuple(found)


def _place(image: int, cell: Cell) -> FoundCell:
    shown = cell.rounded()
    return FoundCell(image, shown.x0, shown.y0, shown.x1, shown.y1)


def inclusions_stand_out(marked: int, red: int) -> bool:
    """Whether so many of so many red cells are more than chance and stain deposits make."""
    if marked < MIN_CELLS_WITH_INCLUSION:
        return False
    low, _ = poisson_interval(float(marked))
    return low > MIN_SHARE_WITH_INCLUSION * red
