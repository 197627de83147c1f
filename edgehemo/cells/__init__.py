"""Finding and counting cells in canonical fields."""

from edgehemo.cells.finder import CellFinder, open_cell_finder
from edgehemo.cells.records import CELL_KINDS, Cell, CellKind, CountInterval, FieldCells

__all__ = [
    "CELL_KINDS",
    "Cell",
    "CellFinder",
    "CellKind",
    "CountInterval",
    "FieldCells",
    "open_cell_finder",
]
