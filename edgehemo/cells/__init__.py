"""Finding and counting cells in canonical fields."""

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
