"""Pictures to practise a calibration on, taken with the simulated microscope.

    python examples/practice_pictures.py FOLDER

Writes, each into its own folder, what the calibration protocols ask a technician to photograph: a
ruling, an empty field and a dark one, well-stained smears, a focus stack, samples that an analyser
measured (with ``pairs.csv``), and runs of a control slide, one of them under a lamp that has
changed. Everything is simulated and proves nothing of a real microscope.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.images.frame import Frame
from edgehemo.simulation.field import Specimen
from edgehemo.simulation.parameters import SensorParameters, SimulationParameters
from edgehemo.simulation.targets import empty_slide, ruled_slide

WIDTH_PX, HEIGHT_PX, UM_PER_PX = 640, 480, 0.2
PITCH_UM = 10.0
# The clear field fills 70 % of the sensor's well: bright, and nowhere overexposed.
MICROSCOPE = SimulationParameters(sensor=SensorParameters(background_level=0.7))
FRAME_DEADLINE_S = 10.0
EMPTY_PICTURES = 8
STAINED_SMEARS = 10
SAMPLES, FIELDS_A_SAMPLE = 10, 4
CONTROL_RUNS, FIELDS_A_RUN = 10, 4
FOCUS_HEIGHTS_UM = np.linspace(-2.0, 2.0, 9)
# The control slide is one slide: one seed. Those of patients lie elsewhere.
CONTROL_SEED, FIRST_SAMPLE_SEED, FIRST_STAINED_SEED = 50, 100, 200
# A lamp that has grown weaker and redder, as an old one does.
WORN_LAMP_EXPOSURE = 0.82
WORN_LAMP_BLUE_GAIN = 0.8


class SlideOnStage(SimulatedMicroscope):
    """The simulated microscope with a calibration slide instead of a smear."""

    slide: Specimen

    def _placed(self) -> Specimen:
        return self.slide


def microscope(seed: int, fields: int = 1) -> SimulatedMicroscope:
    """The microscope over the smear of one person."""
    options = SimulatedOptions(
        seed=seed, fields=fields, um_per_px=UM_PER_PX, width_px=WIDTH_PX, height_px=HEIGHT_PX
    )
    return SimulatedMicroscope(options, parameters=MICROSCOPE)


def over(slide: Specimen) -> SlideOnStage:
    """The microscope over a calibration slide."""
    options = SimulatedOptions(um_per_px=UM_PER_PX, width_px=WIDTH_PX, height_px=HEIGHT_PX)
    made = SlideOnStage(options, parameters=MICROSCOPE)
    made.slide = slide
    return made


def save(frame: Frame, path: Path) -> None:
    """The frame as PNG: 8-bit RGB in memory, BGR as OpenCV writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: cannot be written")


def fields_of(camera: SimulatedMicroscope, folder: Path, count: int, first: int = 0) -> None:
    """So many fields of the slide on the stage, each a picture."""
    for index in range(count):
        camera.move_to_field(first + index)
        save(camera.frame(FRAME_DEADLINE_S), folder / f"field_{index + 1}.png")


def write_optics(folder: Path) -> None:
    """A ruling in three directions, an empty place, a dark picture."""
    for angle in (2, 48, 91):
        slide = ruled_slide(WIDTH_PX, HEIGHT_PX, UM_PER_PX, pitch_um=PITCH_UM, angle_deg=angle)
        with over(slide) as camera:
            save(camera.frame(FRAME_DEADLINE_S), folder / "ruling" / f"ruling_{angle}.png")
    with over(empty_slide(WIDTH_PX, HEIGHT_PX, UM_PER_PX)) as camera:
        for number in range(EMPTY_PICTURES):
            save(camera.frame(FRAME_DEADLINE_S), folder / "empty" / f"empty_{number + 1}.png")
        camera.switch_on("dark")
        save(camera.frame(FRAME_DEADLINE_S), folder / "dark.png")


def write_references(folder: Path) -> None:
    """Well-stained smears of several people, and one field through focus."""
    for number in range(STAINED_SMEARS):
        with microscope(FIRST_STAINED_SEED + number) as camera:
            save(camera.frame(FRAME_DEADLINE_S), folder / "stained" / f"smear_{number + 1}.png")
    with microscope(FIRST_STAINED_SEED) as camera:
        for number, height in enumerate(FOCUS_HEIGHTS_UM):
            camera.apply(CameraSettings(focus_um=float(height)))
            save(camera.frame(FRAME_DEADLINE_S), folder / "stack" / f"step_{number + 1:02d}.png")


def write_samples(folder: Path) -> None:
    """Samples, a folder each, and what the analyser measured of them."""
    rows = []
    for number in range(SAMPLES):
        name = f"S{number + 1:02d}"
        with microscope(FIRST_SAMPLE_SEED + number, FIELDS_A_SAMPLE) as camera:
            fields_of(camera, folder / "samples" / name, FIELDS_A_SAMPLE)
            panel = camera.panel
        rows.append(
            (
                name,
                f"{panel.hgb_g_per_l:.0f}",
                f"{panel.hct_l_per_l:.3f}",
                f"{panel.rbc_1e12_per_l:.2f}",
            )
        )
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("sample", "hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"))
        table.writerows(rows)


def write_control_runs(folder: Path) -> None:
    """Runs of the control slide, today's, one under a worn lamp, and one with a new lamp."""
    with microscope(CONTROL_SEED, (CONTROL_RUNS + 3) * FIELDS_A_RUN) as camera:
        for run in range(CONTROL_RUNS):
            fields_of(
                camera, folder / "runs" / f"run_{run + 1:02d}", FIELDS_A_RUN, run * FIELDS_A_RUN
            )
        fields_of(camera, folder / "today", FIELDS_A_RUN, CONTROL_RUNS * FIELDS_A_RUN)
        fields_of(camera, folder / "new_lamp", FIELDS_A_RUN, (CONTROL_RUNS + 2) * FIELDS_A_RUN)
        settings = camera.settings
        if settings.exposure_us is None or settings.blue_gain is None:
            raise RuntimeError("the simulated camera reports exposure and gains")
        camera.apply(
            CameraSettings(
                exposure_us=settings.exposure_us * WORN_LAMP_EXPOSURE,
                red_gain=settings.red_gain,
                blue_gain=settings.blue_gain * WORN_LAMP_BLUE_GAIN,
            )
        )
        fields_of(camera, folder / "worn_lamp", FIELDS_A_RUN, (CONTROL_RUNS + 1) * FIELDS_A_RUN)


def main(folder: Path) -> None:
    """Write them all."""
    write_optics(folder)
    write_references(folder)
    write_samples(folder)
    write_control_runs(folder)
    print(f"simulated pictures to practise on: {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pictures to practise a calibration on.")
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
