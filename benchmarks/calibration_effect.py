"""The same simulated slide under other lamps, colours, vignettes and scales, with and without
each calibration step.

``python benchmarks/calibration_effect.py [--fields N] [--seed N]``

One slide is photographed once as it was calibrated and once under each change. What changes in the
counts and indices, against the slide as calibrated, is printed for five ways of reading it: with
the light's shape left in (the scale measured), nothing calibrated (light and scale estimated from
the field), the scale alone, the light alone, and both, where a calibrated part is measured anew
under the change, as the protocols ask for. A last row reads the changed microscope with the
calibration made before the change: what a profile that was not repeated costs. Simulated
throughout.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import cv2
import numpy as np

from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.device.equipment import open_finder
from edgehemo.estimate.pooling import pool
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import IlluminationCalibration, ScaleCalibration
from edgehemo.profile.profile import CalibrationProfile, new_profile
from edgehemo.screening.field import FieldReader, Finder
from edgehemo.simulation.field import Specimen, photograph
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters, SimulationParameters
from edgehemo.simulation.targets import empty_slide, ruled_slide
from edgehemo_calibration.flat_field import measure_flat_field
from edgehemo_calibration.micrometer import read_micrometer

UM_PER_PX = 0.2
WIDTH_PX, HEIGHT_PX = 640, 480
PITCH_UM = 10.0
AS_CALIBRATED = SimulationParameters(
    optics=OpticsParameters(vignette=0.10, tilt_x=0.03, tilt_y=-0.02, lamp_rgb=(1.0, 1.0, 1.0)),
    sensor=SensorParameters(background_level=0.75),
)
# A flat field without a shape: the light's level is followed, its unevenness left in.
_EVEN = IlluminationCalibration(flat_field=[[(180.0, 180.0, 180.0)] * 2] * 2, target_level=180.0)
COLUMNS = ("hgb_index", "cell_od_green", "cell_cover", "cell_area_um2", "rbc_per_mm2")


@dataclass(frozen=True, slots=True)
class Change:
    """What is different: optics and sensor, and the camera's pixel over the calibrated one's."""

    name: str
    parameters: SimulationParameters
    pixel_ratio: float = 1.0


def changes() -> tuple[Change, ...]:
    """Lamp, colour, vignette and scale, alone and together."""
    optics, sensor = AS_CALIBRATED.optics, AS_CALIBRATED.sensor

    def with_(name: str, pixel_ratio: float = 1.0, **changed: object) -> Change:
        own = {k: v for k, v in changed.items() if k in OpticsParameters.__dataclass_fields__}
        rest = {k: v for k, v in changed.items() if k not in own}
        parameters = replace(
            AS_CALIBRATED,
            optics=replace(optics, **own),  # type: ignore[arg-type]
            sensor=replace(sensor, **rest),  # type: ignore[arg-type]
        )
        return Change(name, parameters, pixel_ratio)

    return (
        with_("as calibrated"),
        with_("lamp at half", background_level=0.375),
        with_("warm lamp", lamp_rgb=(1.1, 0.95, 0.55)),
        with_("blue cast", lamp_rgb=(0.65, 0.9, 1.15)),
        with_("vignette 50 %, tilt", vignette=0.5, tilt_x=0.12, tilt_y=-0.08),
        with_("pixels 1.3 as large", 1.3),
        with_(
            "all of these",
            1.3,
            background_level=0.5,
            lamp_rgb=(1.1, 0.95, 0.6),
            vignette=0.5,
            tilt_x=0.12,
        ),
    )


def main(fields: int, seed: int) -> None:
    """Print one table for every change."""
    options = SimulatedOptions(seed=seed, fields=fields, um_per_px=UM_PER_PX, hgb_g_per_l=110.0)
    # The places of one slide, drawn once: the camera's own field, before any optics.
    slide = SimulatedMicroscope(options, parameters=AS_CALIBRATED)
    places = []
    with slide:
        for index in range(fields):
            slide.move_to_field(index)
            slide.apply(CameraSettings())
            places.append(slide._placed())
    before = calibrated(changes()[0], seed)
    finder = open_finder(None)[2]
    reference: dict[str, float] | None = None
    for change in changes():
        frames = [taken(change, place, seed + 10 * i) for i, place in enumerate(places)]
        anew = calibrated(change, seed)
        rows: list[tuple[str, CalibrationProfile | None]] = [
            ("light not divided", anew.model_copy(update={"illumination": _EVEN})),
            ("nothing calibrated", None),
            ("scale", anew.model_copy(update={"illumination": None})),
            ("light", anew.model_copy(update={"scale": None})),
            ("scale and light", anew),
        ]
        if change.name != "as calibrated":
            rows.append(("not repeated", before))
        measured = [(name, *read(frames, profile, finder)) for name, profile in rows]
        if reference is None:
            reference = measured[-1][1]
            print("slide as calibrated: " + ", ".join(f"{k} {v:.4g}" for k, v in reference.items()))
        print(f"\n{change.name}: change in % of the slide as calibrated; fields accepted")
        print(f"  {'':20}" + "".join(f"{name:>15}" for name in COLUMNS) + f"{'accepted':>10}")
        for name, values, accepted in measured:
            changed = "".join(
                f"{100 * (values[column] / reference[column] - 1):+15.1f}"
                if column in values
                else f"{'none':>15}"
                for column in COLUMNS
            )
            print(f"  {name:20}{changed}{accepted:>7}/{len(frames)}")


def taken(change: Change, specimen: Specimen, seed: int) -> Frame:
    """A specimen's picture; larger pixels see the very same place, in fewer of them."""
    rng = np.random.default_rng(seed)
    frame = photograph(specimen, parameters=change.parameters, rng=rng).frame
    if change.pixel_ratio == 1.0:
        return frame
    size = (round(frame.width / change.pixel_ratio), round(frame.height / change.pixel_ratio))
    pixels = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    return Frame(np.asarray(pixels, dtype=np.uint8), frame.source)


def calibrated(change: Change, seed: int) -> CalibrationProfile:
    """Scale and light of this microscope, measured on a ruling and on an empty slide."""
    empty = empty_slide(WIDTH_PX, HEIGHT_PX, UM_PER_PX)
    light: IlluminationCalibration = measure_flat_field(
        [taken(change, empty, seed + 100 + i) for i in range(6)]
    )
    ruled = ruled_slide(
        WIDTH_PX, HEIGHT_PX, UM_PER_PX, pitch_um=PITCH_UM, angle_deg=31.0, line_um=2.0
    )
    reading = read_micrometer(taken(change, ruled, seed + 200), PITCH_UM)
    scale = ScaleCalibration(
        um_per_px=reading.um_per_px,
        relative_uncertainty=reading.relative_uncertainty,
        method="stage micrometer, found",
        frame_px=reading.frame_px,
    )
    profile = new_profile(datetime.now(UTC), software_version="benchmark", camera="simulated")
    return profile.model_copy(update={"scale": scale, "illumination": light})


def read(
    frames: Sequence[Frame], profile: CalibrationProfile | None, finder: Finder
) -> tuple[dict[str, float], int]:
    """The indices pooled over all fields, accepted or not, and how many were accepted.

    As a screening reads them, but for the envelope (the light is changed on purpose) and the
    networks, which are not what is measured here.
    """
    reader = FieldReader(finder, profile=profile, keep_refused=True)
    indices, accepted = [], 0
    for frame in frames:
        reading = reader.read(frame)
        accepted += reading.accepted
        if reading.indices is not None:
            indices.append(reading.indices)
    mean = pool(indices).mean
    found = {name: getattr(mean, name) for name in COLUMNS}
    return {name: float(value) for name, value in found.items() if value is not None}, accepted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    main(given.fields, given.seed)
