"""Draws the stored test slide, and writes down the numbers it must give (`make test-slide`).

The pictures were drawn once by the simulated microscope and stay, whatever becomes of the drawing;
the numbers are made anew where the shipped bundle or the measuring moves. ``--draw`` makes the
pictures anew as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edgehemo.bundle.bundle import load_bundle
from edgehemo.files.atomic import write_bytes_atomically, write_text_atomically
from edgehemo_firmware.first_check import (
    EXPECTED_NAME,
    SLIDE_FOLDER,
    SLIDE_UM_PER_PX,
    ExpectedSlide,
    Tolerances,
    screened_slide,
)

FOLDER = Path(__file__).parent / SLIDE_FOLDER
# A woman's moderately low haemoglobin; the last field is out of focus and must be refused.
SEED, FIELDS, BAD = 23, 3, 1
HGB_G_PER_L, MCV_FL, MCHC_G_PER_L = 98.0, 77.0, 318.0
# int8 on a processor with other instructions moves a count by one or two, an index by 1 %.
TOLERANCES = Tolerances(cells=3, share=0.03)


def draw(folder: Path) -> None:
    """Draw the slide's fields."""
    from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
    from edgehemo.report.pictures import png

    options = SimulatedOptions(
        seed=SEED, fields=FIELDS, bad=BAD, um_per_px=SLIDE_UM_PER_PX,
        hgb_g_per_l=HGB_G_PER_L, mcv_fl=MCV_FL, mchc_g_per_l=MCHC_G_PER_L,
    )  # fmt: skip
    with SimulatedMicroscope(options) as microscope:
        for index in range(FIELDS):
            microscope.move_to_field(index)
            picture = png(microscope.frame(10.0).pixels)
            write_bytes_atomically(folder / f"{index + 1}.png", picture)


def numbers() -> ExpectedSlide:
    """What the slide gives here, in each runtime and precision that the shipped bundle has."""
    bundle = load_bundle()
    kinds = {
        (artefact.format, artefact.precision) for artefact in bundle.model("cell_finder").artefacts
    }
    return ExpectedSlide(
        bundle_sha256=bundle.digest,
        tolerances=TOLERANCES,
        numbers=tuple(screened_slide(*kind) for kind in sorted(kinds)),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the slide's numbers."""
    parser = argparse.ArgumentParser(description="Write down what the stored test slide gives.")
    parser.add_argument("--draw", action="store_true", help="draw the pictures anew")
    if parser.parse_args(arguments).draw:
        draw(FOLDER)
    write_text_atomically(FOLDER / EXPECTED_NAME, numbers().model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    main()
