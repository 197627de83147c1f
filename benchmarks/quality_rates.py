"""How often quality accepts real fields, spoilt ones and pictures that are no smear.

    python benchmarks/quality_rates.py [--fields 30] [--part held-out|limits] [--skip-not-smears]

Each share has its 95 % interval (Wilson). ``own scale``: nothing known of the microscope; all
other rows have the scale given, as with a profile. ``faded``: optical density x 0.3. ``warm lamp``:
the light's colour changed, which calibration takes out again: to be accepted. ``red and green
swapped``: the cells' densities in the two channels exchanged, blue-green cells: to be refused.
``+ref``: with a stain reference made from the other part of the same set, as a profile would hold.
All but ``no envelope`` use the shipped bundle's envelope, as a screening does.

The last tables sum over the sets: false refusals of ordinary fields, false acceptances of spoilt
ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields
from focus_measures import scale_of

from edgehemo.device.equipment import open_finder
from edgehemo.errors import FieldError
from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import StainReference
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.quality import QualityReport, check_field
from edgehemo.quality.regions import field_regions

REFERENCE_FIELDS = 20
WARM_LAMP = (1.10, 0.92, 0.60)
# What must be accepted and what refused, summed over the ordinary sets.
GOOD = ("own scale", "as it is", "warm lamp", "as it is +ref")
SPOILT = (
    "blurred 1 um",
    "blurred 1.5 um",
    "blurred 2 um",
    "exposure / 4",
    "exposure x 2",
    "faded",
    "faded +ref",
    "red and green swapped",
    "empty",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=30, help="fields a set")
    parser.add_argument("--part", choices=("limits", "held-out"), default="held-out")
    parser.add_argument("--skip-not-smears", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    rng = np.random.default_rng(7)
    envelope = open_finder(None)[1].envelope("cell_finder")
    sums: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for name in real_fields.NOMINAL_UM_PER_PX:
        other: real_fields.Part = "held-out" if options.part == "limits" else "limits"
        profile = _profile(name, other)
        reports: dict[str, list[QualityReport]] = defaultdict(list)
        seconds: list[float] = []
        for path in real_fields.fields_of(name, options.part, options.fields):
            pixels = real_fields.read_rgb(path)
            scale = scale_of(pixels, name)
            field = canonical_field(Frame(pixels, path.name), um_per_px=scale)
            light = field.illumination.resampled(pixels.shape[1], pixels.shape[0])
            reports["own scale"].append(_judge(pixels, None, envelope))
            reports["no envelope"].append(_judge(pixels, scale, None))
            start = time.process_time()
            check_field(field, Frame(pixels, path.name))
            seconds.append(time.process_time() - start)
            spoilt = {
                "as it is": pixels,
                "blurred 1 um": real_fields.defocused(pixels, 1.0, scale, rng),
                "blurred 1.5 um": real_fields.defocused(pixels, 1.5, scale, rng),
                "blurred 2 um": real_fields.defocused(pixels, 2.0, scale, rng),
                "exposure / 2": real_fields.exposed(pixels, 0.5, rng),
                "exposure / 4": real_fields.exposed(pixels, 0.25, rng),
                "exposure x 2": real_fields.exposed(pixels, 2.0, rng),
                "faded": real_fields.faded(pixels, light, 0.3, rng),
                "warm lamp": _relit(pixels, rng),
                "red and green swapped": _swapped(pixels, light, rng),
                "empty": real_fields.empty(light, rng),
            }
            for condition, picture in spoilt.items():
                reports[condition].append(_judge(picture, scale, envelope))
            for condition in ("as it is", "exposure / 2", "faded"):
                reports[condition + " +ref"].append(
                    _judge(spoilt[condition], scale, envelope, profile)
                )
        for condition, found in reports.items():
            _print(name, condition, found)
            if name in real_fields.ORDINARY:
                sums[condition] += sum(report.accepted for report in found)
                totals[condition] += len(found)
        print(f"{name:15}check_field: median {1e3 * float(np.median(seconds)):.1f} ms CPU")
    if not options.skip_not_smears:
        kinds: dict[str, list[QualityReport]] = defaultdict(list)
        seed = 1 if options.part == "limits" else 2
        for kind, picture in real_fields.not_smears(seed, 5):
            for claimed in (None, 0.1, 0.2, 0.36):
                kinds[kind].append(_judge(picture, claimed, envelope))
        for kind, found in kinds.items():
            _print("not a smear", kind, found)
    print(f"over {', '.join(real_fields.ORDINARY)}:")
    for condition in GOOD:
        _print_rate("false refusals", condition, totals[condition] - sums[condition], totals)
    for condition in SPOILT:
        _print_rate("false acceptances", condition, sums[condition], totals)


def _print_rate(what: str, condition: str, hits: int, totals: Counter[str]) -> None:
    low, high = real_fields.wilson(hits, totals[condition])
    share = hits / max(1, totals[condition])
    print(
        f"  {what:18}{condition:24}{hits:3d}/{totals[condition]:3d} = {share:5.3f} "
        f"({low:.3f}-{high:.3f})"
    )


def _relit(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Under a warm lamp, dimmed so that no channel clips that did not before."""
    gains = np.asarray(WARM_LAMP, np.float32) / max(WARM_LAMP)
    noisy = pixels * gains + rng.normal(0, 1.0, pixels.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _swapped(
    pixels: NDArray[np.uint8], light: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The cells' transmittance in red and in green exchanged, the light as it was."""
    transmittance = np.clip(pixels / np.maximum(light, 1.0), 0.0, 1.3)[..., (1, 0, 2)]
    noisy = light * transmittance + rng.normal(0, 1.0, pixels.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _profile(name: str, part: real_fields.Part) -> CalibrationProfile:
    densities, backgrounds = [], []
    for path in real_fields.fields_of(name, part, REFERENCE_FIELDS):
        pixels = real_fields.read_rgb(path)
        field = canonical_field(Frame(pixels, path.name), um_per_px=scale_of(pixels, name))
        density = field_regions(field).body_density()
        if density is not None:
            densities.append(density)
            backgrounds.append(field.illumination.background_rgb)
    return CalibrationProfile(
        created_at=datetime.now(UTC),
        software_version="benchmark",
        stain=StainReference(
            background_rgb=_three(np.mean(backgrounds, axis=0)),
            background_rgb_sd=_three(np.std(backgrounds, axis=0)),
            cell_od=_three(np.mean(densities, axis=0)),
            cell_od_sd=_three(np.std(densities, axis=0)),
            fields=len(densities),
        ),
    )


def _three(values: NDArray[np.floating]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _judge(
    pixels: NDArray[np.uint8],
    scale: float | None,
    envelope: dict[str, Any] | None,
    profile: CalibrationProfile | None = None,
) -> QualityReport:
    frame = Frame(pixels, "benchmark")
    try:
        field = canonical_field(frame, um_per_px=scale)
    except FieldError as error:
        raise SystemExit(str(error)) from error
    return check_field(field, frame, profile=profile, envelope=envelope)


def _print(name: str, condition: str, reports: list[QualityReport]) -> None:
    accepted = sum(report.accepted for report in reports)
    quiet = sum(all(c.verdict == "pass" for c in report.checks) for report in reports)
    low, high = real_fields.wilson(accepted, len(reports))
    failed = Counter(code for report in reports for code in report.faults)
    warned = Counter(
        check.code for report in reports for check in report.checks if check.verdict == "warn"
    )
    print(
        f"{name:15}{condition:24}accepted {accepted:3d}/{len(reports):3d} = "
        f"{accepted / len(reports):5.3f} ({low:.2f}-{high:.2f})  without warning {quiet:3d}  "
        f"fail {dict(failed.most_common(4))}  warn {dict(warned.most_common(3))}"
    )


if __name__ == "__main__":
    main()
