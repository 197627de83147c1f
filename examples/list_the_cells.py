"""Read one picture as a numpy array and list its cells.

    python examples/list_the_cells.py field.png

Any uint8 RGB array of shape (height, width, 3) will do: from a file, as here, or from your own
camera. Boxes are in pixels of that array.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import edgehemo


def main(path: Path) -> None:
    """Say whether the field can be trusted, then how many cells there are and each of them."""
    pixels = edgehemo.read_frame(path).pixels
    reading = edgehemo.cells(pixels)
    if not reading.accepted:
        print("quality refuses this field: its cells are listed, but not to be counted on")
    found = reading.cells.cells if reading.cells is not None else ()
    for kind, count in Counter(cell.kind for cell in found).most_common():
        print(f"{count:4d} {kind}")
    for cell in found:
        print(
            f"{cell.kind:8} {cell.x0:7.1f} {cell.y0:7.1f} {cell.x1:7.1f} {cell.y1:7.1f} "
            f"{cell.score:.2f} {cell.type or ''}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="List the cells of one picture.")
    parser.add_argument("picture", type=Path)
    main(parser.parse_args().picture)
