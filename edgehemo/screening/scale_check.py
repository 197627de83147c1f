"""A scale that was read from the cells, held against the cells that were found at it.

The first reading goes by separate round parts of the picture. Clumps, white cells or halves of
cells can stand in for red cells there, and everything after it is then wrong by the same factor.
The finder's boxes are a second measure: where they disagree, the field is made again at the scale
they ask for, until they agree. A scale that was measured or given is never changed, only judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgehemo.cells.cell import FieldCells
from edgehemo.cells.widths import CellWidths, cell_widths
from edgehemo.errors import FieldError
from edgehemo.field.canonical import CanonicalField
from edgehemo.field.scale import MAX_UM_PER_PX, MIN_UM_PER_PX, ScaleEstimate

# Beyond this factor the field is begun again. On real fields whose scale was right the boxes
# disagree by 1.30 at most; clumps and white cells gave 1.7 and more.
BEGIN_AGAIN_BEYOND = 1.3
# Once begun again, it goes on until the two agree so well, or the rounds are used up. The finder's
# boxes stop shrinking and growing at the ends of what it was trained on, so that a first step
# from a threefold error is too short.
AGREED_WITHIN = 1.05
MAX_ROUNDS = 3
# A scale that could not be read at all is taken from at least so many boxes.
MIN_BOXES_ALONE = 20

Look = Callable[[ScaleEstimate], tuple[CanonicalField, FieldCells]]


@dataclass(frozen=True, slots=True)
class _Seen:
    field: CanonicalField
    cells: FieldCells
    widths: CellWidths


def settled(
    field: CanonicalField, cells: FieldCells, look: Look
) -> tuple[CanonicalField, FieldCells]:
    """The field and its cells at the scale on which both measures agree best.

    look: makes the field again at another scale and finds its cells. Costs nothing where the
    measures agree, which is nearly always. Where they never do, the first stands, for quality to
    refuse.
    """
    if field.scale_source not in ("red_cells", "assumed"):
        return field, cells
    widths = cell_widths(cells, field)
    if widths is None:
        return field, cells
    unread = field.scale_source == "assumed"
    if unread and widths.cells < MIN_BOXES_ALONE:
        return field, cells
    if not unread and widths.disagreement <= BEGIN_AGAIN_BEYOND:
        return field, cells
    coarsest = 0.0 if unread else field.frame_um_per_px
    seen: list[_Seen] = []
    for _ in range(MAX_ROUNDS):
        if not MIN_UM_PER_PX <= widths.um_per_px <= MAX_UM_PER_PX:
            break
        coarsest = max(coarsest, widths.um_per_px)
        try:
            again, found = look(replace(widths.estimate, coarsest_um_per_px=coarsest))
        except FieldError:
            break
        wider = cell_widths(found, again)
        if wider is None:
            break
        widths = wider
        seen.append(_Seen(again, found, widths))
        if widths.disagreement <= AGREED_WITHIN:
            break
    best = min(seen, key=lambda each: each.widths.disagreement, default=None)
    if best is None or best.widths.disagreement > BEGIN_AGAIN_BEYOND or best.widths.kinds_in_doubt:
        return field, cells
    return best.field, best.cells
