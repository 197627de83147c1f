"""A full calibration of the simulated microscope from nothing, and what it recovers.

``python benchmarks/full_calibration.py [--samples N] [--fresh N] [--fields N] [--seed N] [FOLDER]``

A microscope with an unknown scale, vignette, lamp and exposure is calibrated as a technician would:
a ruling in three directions, exposure and gains on an empty field, flat field, dark frame, stain
and focus references, then an analyser calibration on N simulated samples. Fresh samples are then
screened with the profile. Everything is simulated: it shows that the procedure recovers what was
put in, and says nothing of real blood.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import comb
from pathlib import Path

import cv2
import numpy as np

import edgehemo
from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.device.equipment import open_finder
from edgehemo.field.illumination import stretched_grid
from edgehemo.images.frame import Frame
from edgehemo.measurands import Measurand
from edgehemo.profile.profile import CalibrationProfile, new_profile, save_profile
from edgehemo.screening.field import FieldReader
from edgehemo.simulation.field import Specimen
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters, SimulationParameters
from edgehemo.simulation.targets import empty_slide, ruled_slide, vignette_of
from edgehemo_calibration.analyser.fit import AnalyserSample, fit_analyser
from edgehemo_calibration.exposure import expose
from edgehemo_calibration.flat_field import measure_flat_field
from edgehemo_calibration.measuring import measure_image, measure_stain
from edgehemo_calibration.micrometer import combined, read_micrometer
from edgehemo_calibration.sharpness import measure_focus

# The microscope that is to be found out: none of it is told to the calibration.
TRUE_UM_PER_PX = 0.231
OPTICS = OpticsParameters(
    vignette=0.32, tilt_x=0.06, tilt_y=-0.04, lamp_rgb=(0.95, 1.0, 0.72), numerical_aperture=1.2
)
TRUTH = SimulationParameters(optics=OPTICS, sensor=SensorParameters(background_level=0.7))
WIDTH_PX, HEIGHT_PX = 640, 480
PITCH_UM = 10.0
START_EXPOSURE_US = 1500.0
DEADLINE_S = 5.0
STAIN_SMEARS = 12
FOCUS_UM = np.linspace(-2.4, 2.4, 13)
MEASURANDS: tuple[Measurand, ...] = ("hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l")


class SlideMicroscope(SimulatedMicroscope):
    """The microscope with a calibration slide on its stage instead of a smear."""

    slide: Specimen

    def _placed(self) -> Specimen:
        return self.slide


def microscope(seed: int, fields: int = 1) -> SimulatedMicroscope:
    """The microscope over the smear of one person."""
    options = SimulatedOptions(
        seed=seed, fields=fields, um_per_px=TRUE_UM_PER_PX, width_px=WIDTH_PX, height_px=HEIGHT_PX
    )
    return SimulatedMicroscope(options, parameters=TRUTH)


def over(slide: Specimen, seed: int = 0) -> SlideMicroscope:
    """The microscope over a calibration slide."""
    options = SimulatedOptions(
        seed=seed, um_per_px=TRUE_UM_PER_PX, width_px=WIDTH_PX, height_px=HEIGHT_PX
    )
    made = SlideMicroscope(options, parameters=TRUTH)
    made.slide = slide
    return made


def calibrated_optics(folder: Path, seed: int) -> tuple[CalibrationProfile, CameraSettings]:
    """Scale, illumination, stain and focus, each measured, with what it should have been."""
    empty = empty_slide(WIDTH_PX, HEIGHT_PX, TRUE_UM_PER_PX)
    with over(empty, seed) as camera:
        camera.apply(CameraSettings(exposure_us=START_EXPOSURE_US, red_gain=1.0, blue_gain=1.0))
        exposed = expose(camera)
        empties = [camera.frame(DEADLINE_S) for _ in range(8)]
        camera.switch_on("dark")
        dark = camera.frame(DEADLINE_S)
    print(
        f"exposure {START_EXPOSURE_US:.0f} -> {exposed.settings.exposure_us:.0f} us in "
        f"{exposed.steps} steps, levels {', '.join(f'{v:.0f}' for v in exposed.levels)} (RGB)"
    )
    readings = []
    for angle in (3.0, 47.0, 95.0):
        slide = ruled_slide(WIDTH_PX, HEIGHT_PX, TRUE_UM_PER_PX, pitch_um=PITCH_UM, angle_deg=angle)
        with over(slide, seed) as camera:
            camera.apply(exposed.settings)
            readings.append(read_micrometer(camera.frame(DEADLINE_S), PITCH_UM))
    scale = combined(readings, ["3 deg", "47 deg", "95 deg"])
    print(
        f"scale {scale.um_per_px:.5f} um/px for a true {TRUE_UM_PER_PX}: "
        f"{100 * (scale.um_per_px / TRUE_UM_PER_PX - 1):+.3f} % "
        f"(stated +-{100 * scale.relative_uncertainty:.2f} %)"
    )
    light = measure_flat_field(empties, [dark])
    found = stretched_grid(light.array() - np.float32(light.dark_level), WIDTH_PX, HEIGHT_PX)[
        ..., 1
    ]
    true = vignette_of(OPTICS, WIDTH_PX, HEIGHT_PX)
    ratio = found / true
    ratio /= np.median(ratio)
    print(
        f"light: shape off by at most {100 * np.abs(ratio - 1).max():.2f} % "
        f"(mean {100 * np.abs(ratio - 1).mean():.2f} %); darkest corner over brightest point "
        f"{found.min() / found.max():.4f}, true {true.min() / true.max():.4f}"
    )
    profile = new_profile(
        datetime.now(UTC),
        software_version=edgehemo.__version__,
        microscope="under test",
        camera="under test",
    )
    from edgehemo.profile.parts import ScaleCalibration

    part = ScaleCalibration(
        um_per_px=scale.um_per_px,
        relative_uncertainty=scale.relative_uncertainty,
        method="stage micrometer, found",
        lines=scale.lines,
        frame_px=scale.frame_px,
        measured_at=datetime.now(UTC),
    )
    profile = profile.model_copy(update={"scale": part, "illumination": light})
    stack, stains = [], []
    with microscope(seed + 900) as camera:
        camera.apply(exposed.settings)
        for z in FOCUS_UM:
            camera.apply(CameraSettings(focus_um=float(z)))
            stack.append(written(folder / f"z{z:+.2f}.png", camera.frame(DEADLINE_S)))
    # Of several people: how deep red cells are is theirs as well as the stain's.
    for number in range(STAIN_SMEARS):
        with microscope(seed + 901 + number) as camera:
            camera.apply(exposed.settings)
            stains.append(written(folder / f"stain{number}.png", camera.frame(DEADLINE_S)))
    focus = measure_focus(stack, profile=profile, um_per_px=None)
    print(f"focus: sharpest {focus.sharpest.stem} um of a true z+0.00")
    stain = measure_stain(stains, profile=profile, um_per_px=None)
    profile = profile.model_copy(update={"focus": focus.reference, "stain": stain})
    return profile, exposed.settings


def photographed(
    folder: Path, seed: int, fields: int, settings: CameraSettings
) -> tuple[list[Path], dict[Measurand, float]]:
    """Pictures of one person's smear, and the blood count it was drawn from."""
    paths = []
    with microscope(seed, fields) as camera:
        camera.apply(replace(settings, focus_um=None))
        for index in range(fields):
            camera.move_to_field(index)
            path = folder / f"s{seed}_{index}.png"
            paths.append(written(path, camera.frame(DEADLINE_S)))
        panel = camera.panel
    return paths, {
        "hgb_g_per_l": round(panel.hgb_g_per_l, 1),
        "hct_l_per_l": round(panel.hct_l_per_l, 4),
        "rbc_1e12_per_l": round(panel.rbc_1e12_per_l, 3),
    }


def with_analyser(
    profile: CalibrationProfile,
    folder: Path,
    seeds: Sequence[int],
    fields: int,
    settings: CameraSettings,
) -> CalibrationProfile:
    """The profile with an analyser calibration on these people's samples."""
    from edgehemo.estimate.pooling import pool

    _, bundle, finder = open_finder(None)
    reader = FieldReader(finder, profile=profile, envelope=bundle.envelope("cell_finder"))
    samples, codes = [], Counter[str]()
    for seed in seeds:
        paths, reference = photographed(folder, seed, fields, settings)
        measured = [measure_image(path, str(seed), reader) for path in paths]
        codes.update(code for item in measured for code in item.failed)
        known = [item.indices for item in measured if item.indices is not None]
        if known:
            samples.append(AnalyserSample(str(seed), pool(known), reference))
    print(f"fields refused by quality: {dict(codes) or 'none'}")
    fit = fit_analyser(
        samples,
        made_at=datetime.now(UTC),
        um_per_px=profile.scale.um_per_px if profile.scale is not None else None,
        flat_field_sha256=profile.illumination.digest() if profile.illumination else None,
        bundle_sha256=bundle.digest,
    )
    print(f"analyser: {fit.calibration.grade} on {fit.calibration.samples} samples")
    for item in fit.calibration.measurands:
        print(
            f"  {item.measurand}: {item.estimator}, leave-one-out error {item.nested_mae:.4g} "
            f"(saying the mean {item.mean_only_mae:.4g}), intervals hold "
            f"{item.intervals_holding} of {item.samples}"
        )
    return profile.model_copy(update={"analyser": fit.calibration})


def at_most(held: int, count: int, share: float) -> float:
    """Probability of at most ``held`` of ``count`` where each holds with ``share``."""
    return sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(held + 1))


def main(folder: Path, samples: int, fresh: int, fields: int, seed: int) -> None:
    """Calibrate, screen fresh samples, print what was recovered."""
    folder.mkdir(parents=True, exist_ok=True)
    profile, settings = calibrated_optics(folder, seed)
    first = 10_000 + 1000 * seed
    profile = with_analyser(profile, folder, range(first, first + samples), fields, settings)
    path = folder / "profile.json"
    save_profile(profile, path)
    errors: dict[str, list[float]] = {name: [] for name in MEASURANDS}
    inside: dict[str, int] = dict.fromkeys(MEASURANDS, 0)
    withheld = 0
    for number in range(first + 500, first + 500 + fresh):
        paths, reference = photographed(folder, number, fields, settings)
        estimate = edgehemo.screen([str(p) for p in paths], profile=path).reading.estimate
        if estimate is None or estimate.hgb_g_per_l is None:
            why = "no field accepted" if estimate is None else estimate.reasons["hgb_g_per_l"]
            print(f"  HGB withheld for a true {reference['hgb_g_per_l']:g} g/L: {why}")
            withheld += 1
        for name in MEASURANDS:
            got = estimate.of(name) if estimate is not None else None
            if got is not None:
                errors[name].append(got.value - reference[name])
                inside[name] += got.low <= reference[name] <= got.high
    print(f"fresh: {fresh} samples of {fields} fields, HGB withheld for {withheld}")
    for name in MEASURANDS:
        found = np.array(errors[name])
        if len(found):
            print(
                f"  {name}: mean absolute error {np.abs(found).mean():.4g}, within the stated "
                f"95 % interval {inside[name]} of {len(found)} (so few or fewer in "
                f"{100 * at_most(inside[name], len(found), 0.95):.0f} % of cases were it 95 %)"
            )


def written(path: Path, frame: Frame) -> Path:
    """The frame as a PNG."""
    if not cv2.imwrite(str(path), np.ascontiguousarray(frame.pixels[..., ::-1])):
        raise OSError(f"{path} could not be written")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--fresh", type=int, default=20)
    parser.add_argument("--fields", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    main(
        given.folder or Path(tempfile.mkdtemp()),
        given.samples,
        given.fresh,
        given.fields,
        given.seed,
    )
