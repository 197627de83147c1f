"""A scale that was read from the cells, held against the cells that were found at it.

The first reading goes by separate round parts of the picture. Clumps, white cells or halves of
cells can stand in for red cells there, and everything after it is then wrong by the same factor.
The finder's boxes are a second measure: where they disagree, the field is made again at the scale
they ask for, until they agree. Where they agree so far that the same cells would be found again,
but not well, the boxes are believed without a second look: on real sets they scatter half as much
as the parts. A field whose scale is not its slide's is looked at again at that. A scale that was
measured or given is never changed, only judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgehemo.cells.cell import FieldCells
from edgehemo.cells.widths import CellWidths, cell_widths
from edgehemo.errors import FieldError
from edgehemo.field.canonical import CanonicalField
from edgehemo.field.scale import MAX_UM_PER_PX, MIN_UM_PER_PX, ScaleEstimate, ScaleSource

# Beyond this factor the boxes' scale is taken. Of thin-smear fields the first reading is more than
# 15 % off in every second, after this in one of thirty.
RESCALED_BEYOND = 1.12
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
# Fields of one slide differ less: measured on real sets, in all but one of a hundred.
ONE_SLIDE_WITHIN = 1.25

# Makes the field again at another scale; and finds its cells anew.
Remake = Callable[[ScaleEstimate], CanonicalField]
Look = Callable[[ScaleEstimate], tuple[CanonicalField, FieldCells]]


@dataclass(frozen=True, slots=True)
class _Seen:
    field: CanonicalField
    cells: FieldCells
    widths: CellWidths


def settled(
    field: CanonicalField, cells: FieldCells, look: Look, remake: Remake
) -> tuple[CanonicalField, FieldCells]:
    """The field and its cells at the scale on which both measures agree best.

    look: makes the field again at another scale and finds its cells; remake: does the first alone.
    Costs nothing where the measures agree. Where they never do, the first stands, for quality to
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
        if widths.disagreement <= RESCALED_BEYOND or widths.kinds_in_doubt:
            return field, cells
        return _rescaled(field, cells, widths, remake)
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


def _rescaled(
    field: CanonicalField, cells: FieldCells, widths: CellWidths, remake: Remake
) -> tuple[CanonicalField, FieldCells]:
    """The same cells at the scale that their widths ask for: their boxes are the frame's, what they
    were counted on is as many pixels of other um.
    """
    if not MIN_UM_PER_PX <= widths.um_per_px <= MAX_UM_PER_PX:
        return field, cells
    coarsest = max(field.frame_um_per_px, widths.um_per_px)
    try:
        again = remake(replace(widths.estimate, coarsest_um_per_px=coarsest))
    except FieldError:
        return field, cells
    area = cells.interior_area_mm2 * (again.frame_um_per_px / field.frame_um_per_px) ** 2
    return again, replace(cells, interior_area_mm2=area)


def as_its_slide(
    field: CanonicalField, cells: FieldCells, slide: ScaleEstimate, look: Look
) -> tuple[CanonicalField, FieldCells]:
    """The field at its slide's scale where its own is another and the cells found there agree.

    Where they do not, the field is of another magnification, and stays as it was.
    """
    if not is_another(field.scale_source, field.frame_um_per_px, slide):
        return field, cells
    coarsest = max(slide.um_per_px, field.frame_um_per_px * field.scale_doubt)
    read = coarsest if field.scale_source == "red_cells" else None
    try:
        again, found = look(replace(slide, coarsest_um_per_px=read))
    except FieldError:
        return field, cells
    widths = cell_widths(found, again)
    if widths is None or widths.kinds_in_doubt or widths.disagreement > BEGIN_AGAIN_BEYOND:
        return field, cells
    return again, found


def is_another(source: ScaleSource, um_per_px: float, slide: ScaleEstimate) -> bool:
    """Whether a field's scale, read from its cells or not at all, is not its slide's."""
    if source not in ("red_cells", "assumed"):
        return False
    apart = um_per_px / slide.um_per_px
    return source != "red_cells" or not 1 / ONE_SLIDE_WITHIN <= apart <= ONE_SLIDE_WITHIN
