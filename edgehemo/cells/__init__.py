"""Finding and counting cells in canonical fields.

Called, `edgehemo.cells(picture)`, it is the function of `edgehemo.api`.
"""

from edgehemo.calling import make_callable
from edgehemo.cells.cell import CELL_KINDS, Cell, CellKind, CountInterval, FieldCells
from edgehemo.cells.finder import CellFinder, open_cell_finder

__all__ = [
    "CELL_KINDS",
    "Cell",
    "CellFinder",
    "CellKind",
    "CountInterval",
    "FieldCells",
    "open_cell_finder",
]

make_callable(__name__)
