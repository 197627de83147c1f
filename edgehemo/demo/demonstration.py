"""The demonstration: a slide of known blood in the simulated microscope, screened as a real one.

Run as a module, ``python -m edgehemo.demo.demonstration FOLDER`` writes the simulated samples that
the shipped profile of the simulated microscope was calibrated on (`make demo-profile`).
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgehemo.anaemia.who_grade import Person
from edgehemo.api import screen
from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.capture import FRAME_DEADLINE_S
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions, format_simulated
from edgehemo.files.atomic import write_bytes_atomically, write_text_atomically
from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.memory import not_enough

if TYPE_CHECKING:
    from edgehemo.api import OnImage
    from edgehemo.report.result import ScreeningResult
    from edgehemo.simulation.panels import CBCPanel

DEFAULT_FOLDER = Path("edgehemo-demo")
# The profile of the simulated microscope: its scale and an analyser calibration, both simulated.
SIMULATED_PROFILE = Path(__file__).resolve().parents[1] / "data" / "simulated-profile.json"
# A woman's moderately low haemoglobin, so that the grade has something to say; three of the
# fields are out of focus, empty and underexposed, and must be refused.
DEMO_SLIDE = SimulatedOptions(
    seed=7, fields=11, bad=3, hgb_g_per_l=98.0, mcv_fl=77.0, mchc_g_per_l=318.0
)
DEMO_AGE_YEARS = 32.0

# What the shipped profile was calibrated on: so many slides of so many fields. Their seeds lie
# far from the demonstration's.
CALIBRATION_SLIDES = 40
CALIBRATION_FIELDS = 6
CALIBRATION_FIRST_SEED = 1000


def run(out: Path, on_image: OnImage | None = None) -> tuple[ScreeningResult, CBCPanel]:
    """Screen the demonstration's slide into ``out``; also returns the blood that was drawn.

    Uses the shipped bundle and profile, whatever the device configuration names.
    """
    result = screen(
        format_simulated(DEMO_SLIDE),
        out,
        bundle=SHIPPED_BUNDLE,
        profile=SIMULATED_PROFILE,
        person=Person(age_years=DEMO_AGE_YEARS, sex="female"),
        fields=DEMO_SLIDE.fields,
        on_image=on_image,
    )
    return result, SimulatedMicroscope(DEMO_SLIDE).panel


def sample_image() -> bytes:
    """A field of the demonstration's slide as a JPEG file of 640x480 px, for timing."""
    with SimulatedMicroscope(DEMO_SLIDE) as microscope:
        pixels = microscope.frame(FRAME_DEADLINE_S).pixels
    return _encoded(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92])


def write_calibration_samples(folder: Path) -> Path:
    """Write fields of simulated slides and pairs.csv with their true counts; returns the CSV.

    The images of a sample are those of the subfolder it is named after.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["sample", *MEASURAND_FACTS])
    for number in range(CALIBRATION_SLIDES):
        options = SimulatedOptions(seed=CALIBRATION_FIRST_SEED + number, fields=CALIBRATION_FIELDS)
        name = f"simulated-{number + 1:03d}"
        with SimulatedMicroscope(options) as microscope:
            for index in range(CALIBRATION_FIELDS):
                microscope.move_to_field(index)
                pixels = microscope.frame(FRAME_DEADLINE_S).pixels
                picture = _encoded(pixels, ".png", [])
                write_bytes_atomically(folder / name / f"{index + 1}.png", picture)
            panel = microscope.panel
        writer.writerow(
            [name, *(facts.stored(getattr(panel, key)) for key, facts in MEASURAND_FACTS.items())]
        )
    pairs = folder / "pairs.csv"
    write_text_atomically(pairs, table.getvalue())
    return pairs


def _encoded(pixels: np.ndarray, extension: str, settings: list[int]) -> bytes:
    done, data = cv2.imencode(extension, np.ascontiguousarray(pixels[..., ::-1]), settings)
    if not done:
        # Nothing else keeps a picture of ours from being coded.
        raise not_enough()
    return data.tobytes()


if __name__ == "__main__":
    write_calibration_samples(Path(sys.argv[1]))
