"""Which focus measure to keep: steadiness with blur, separation and time on real fields.

    python benchmarks/focus_measures.py [--fields 24]

Each real field is blurred by circles of confusion of several radii on linear light, with camera
noise, at its own scale; every measure sees the same canonical field. One limit a measure for all
sets together: the one that keeps 97 % of the fields of one part as they are. It is judged on the
other part.

Columns: ``kept`` share of fields as they are above the limit; ``refused`` at a radius; ``falls``
share of fields whose value falls at every step to 2 um; ``noisy`` share refused at 1 um with noise
of 4 instead of 1.5 counts; ``spread`` relative interquartile range over sharp fields (what stain
and light do to the measure); ``ms`` CPU time a field of 640x480 canonical px on one core.

Two more tables: whether the kept measure falls steadily on every set there is, and what the
three checks as shipped (outlines' sharpness, fine and finest detail, all must pass) say of it.

The classical measures are on the canonical green channel (background 1) and divided by the squared
mean or the mean, as Yazdanfar and others normalise them for light.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.quality.fine_detail import detail_of
from edgehemo.quality.focus import edge_sharpness, lowest_sharpness
from edgehemo.quality.limits import limit as limit_of
from edgehemo.quality.regions import FieldRegions, field_regions
from edgehemo_export.data.sets import read_set

Picture = NDArray[np.float32]
Measure = Callable[[CanonicalField, FieldRegions], float]

RADII_UM = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
KEPT_SHARE = 0.97
COMMON_NOISE, STRONG_NOISE = 1.5, 4.0
# Radius um and noise counts: as it is, each radius, and 1 um with strong noise.
CONDITIONS = ((0.0, 0.0), *((r, COMMON_NOISE) for r in RADII_UM), (1.0, STRONG_NOISE))
# Every set, with its nominal um/px (its README). Those of single cells hold few outlines, and many
# of their pictures none that can be told from the border.
EVERY_SET = {
    "bccd": 0.08,
    "chula_rbc12": 0.20,
    "chula_disease": 0.10,
    "txl_pbc": 0.09,
    "anerbc": 0.38,
    "uganda_phone": 0.20,
    "pbc": 0.23,
    "lmu": 0.15,
    "three_class": 0.10,
}
KEPT = "edge sharpness (kept)"
DETAIL = "fine detail (kept beside it)"
FINEST = "finest detail (kept too)"


def _green(field: CanonicalField) -> Picture:
    return np.ascontiguousarray(field.transmittance[..., 1])


def _gradients(green: Picture) -> tuple[Picture, Picture]:
    across = cv2.Sobel(green, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(green, cv2.CV_32F, 0, 1)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def brenner(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(np.mean((green[:, 2:] - green[:, :-2]) ** 2) / green.mean() ** 2)


def squared_gradient(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(np.mean(np.diff(green, axis=1) ** 2) / green.mean() ** 2)


def tenengrad(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    across, down = _gradients(green)
    return float(np.mean(across**2 + down**2) / green.mean() ** 2)


def variance_of_gradient(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    across, down = _gradients(green)
    return float(np.sqrt(across**2 + down**2).var() / green.mean() ** 2)


def normalised_variance(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(green.var() / green.mean())


def variance_of_laplacian(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(np.var(cv2.Laplacian(green, cv2.CV_32F)) / green.mean() ** 2)


def contrast_normalised_gradient(field: CanonicalField, regions: FieldRegions) -> float:
    """Tenengrad along the outlines over the squared contrast of cells against background."""
    if len(regions.body_sample) == 0 or len(regions.ground_sample) == 0:
        return 0.0
    contrast = np.median(regions.ground_sample[:, 1]) - np.median(regions.body_sample[:, 1])
    green = np.asarray(cv2.GaussianBlur(_green(field), (0, 0), 0.7), np.float32)
    across, down = _gradients(green)
    rim = cv2.morphologyEx(
        regions.cells.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)
    )
    rim = cv2.resize(rim, (field.width, field.height), interpolation=cv2.INTER_NEAREST)
    if not rim.any() or contrast <= 0:
        return 0.0
    return float((across**2 + down**2)[rim > 0].mean() / contrast**2)


def spectral_share(field: CanonicalField, regions: FieldRegions) -> float:
    """Power at 0.5 to 1.2 cycles/um over that at 0.06 to 0.25, mean of 64 px tiles."""
    green, side = _green(field), 64
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    tiles = [
        green[top : top + side, left : left + side]
        for top in range(0, field.height - side + 1, side)
        for left in range(0, field.width - side + 1, side)
    ]
    if not tiles:
        return 0.0
    power = np.mean([np.abs(np.fft.rfft2((t - t.mean()) * window)) ** 2 for t in tiles], axis=0)
    cycles = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    high = power[(cycles > 0.12) & (cycles < 0.30)].sum()
    return float(high / max(1e-9, power[(cycles > 0.015) & (cycles < 0.06)].sum()))


def kept_measure(field: CanonicalField, regions: FieldRegions) -> float:
    return edge_sharpness(field, regions) or 0.0


def detail_measure(field: CanonicalField, regions: FieldRegions) -> float:
    found = detail_of(field, regions)
    return 0.0 if found is None else float(np.exp(found.fine))


def finest_measure(field: CanonicalField, regions: FieldRegions) -> float:
    found = detail_of(field, regions)
    return 0.0 if found is None else float(np.exp(found.finest))


MEASURES: dict[str, Measure] = {
    "Brenner": brenner,
    "squared gradient": squared_gradient,
    "Tenengrad": tenengrad,
    "variance of gradient": variance_of_gradient,
    "normalised variance": normalised_variance,
    "variance of Laplacian": variance_of_laplacian,
    "gradient / contrast": contrast_normalised_gradient,
    "spectral share": spectral_share,
    DETAIL: detail_measure,
    FINEST: finest_measure,
    KEPT: kept_measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=24, help="fields a set")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    setting = measured_fields("limits", options.fields)
    judged = measured_fields("held-out", options.fields)
    print_measures(setting, judged)
    print_steadiness(options.fields)
    print_verdicts(setting, judged)


@dataclass(frozen=True)
class Measured:
    """One real field under all conditions.

    name: its set. values: of every measure, one a condition of `CONDITIONS`. scale: um/px.
    """

    name: str
    values: dict[str, list[float]]
    scale: float


def measured_fields(part: real_fields.Part, count: int) -> list[Measured]:
    """Every measure of ``count`` fields of each ordinary set under `CONDITIONS`."""
    rng = np.random.default_rng(1 if part == "limits" else 2)
    found = []
    for name in real_fields.ORDINARY:
        for path in real_fields.fields_of(name, part, count):
            pixels = real_fields.read_rgb(path)
            scale = scale_of(pixels, name)
            values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
            for radius, noise in CONDITIONS:
                field, regions = taken_apart(pixels, radius, noise, scale, rng)
                for measure, function in MEASURES.items():
                    values[measure].append(function(field, regions))
            found.append(Measured(name, values, scale))
    return found


def taken_apart(
    pixels: NDArray[np.uint8], radius: float, noise: float, scale: float, rng: np.random.Generator
) -> tuple[CanonicalField, FieldRegions]:
    """A picture blurred by a disc (um), with noise (counts), made canonical and taken apart."""
    seen = pixels
    if noise > 0:
        seen = real_fields.defocused(pixels, radius, scale, rng, noise)
    field = canonical_field(Frame(seen, "benchmark"), um_per_px=scale)
    return field, field_regions(field)


def print_measures(setting: list[Measured], judged: list[Measured]) -> None:
    """The table of measures: limit set on one part of the sets, judged on the other."""
    sets = np.array([item.name for item in judged])
    print(f"limit set on {len(setting)} real fields, judged on {len(judged)} others")
    radii = "  ".join(f"{radius:>4g}" for radius in RADII_UM)
    print(f"{'measure':30}{'kept':>6}  refused at um: {radii}  {'noisy':>6}{'falls':>7}", end="")
    print(f"{'spread':>8}{'ms':>7}   kept by set")
    times = timed()
    for measure in MEASURES:
        limit = np.quantile([item.values[measure][0] for item in setting], 1 - KEPT_SHARE)
        table = np.array([item.values[measure] for item in judged])
        sharp = table[:, 0]
        blurred = table[:, 1 : 1 + len(RADII_UM)]
        refused = "  ".join(f"{share:4.2f}" for share in np.mean(blurred < limit, axis=0))
        low, middle, high = np.quantile(sharp, [0.25, 0.5, 0.75])
        by_set = " ".join(
            f"{name} {np.mean(sharp[sets == name] >= limit):.2f}" for name in dict.fromkeys(sets)
        )
        print(
            f"{measure:30}{np.mean(sharp >= limit):6.2f}  {'':15}{refused}  "
            f"{np.mean(table[:, -1] < limit):6.2f}{np.mean(falling(table)):7.2f}"
            f"{(high - low) / middle:8.2f}{times[measure]:7.2f}   {by_set}   (limit {limit:.4g})"
        )


def timed() -> dict[str, float]:
    """Median CPU time, ms, of each measure on real fields of 640x480 canonical px."""
    seconds: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for path in real_fields.fields_of("chula_rbc12", "held-out", 8):
        frame = Frame(real_fields.read_rgb(path), path.name)
        # Named so that the canonical field has the frame's own 640x480 px.
        field = canonical_field(frame, um_per_px=CANONICAL_UM_PER_PX)
        regions = field_regions(field)
        for measure, function in MEASURES.items():
            for _ in range(5):
                start = time.process_time()
                function(field, regions)
                seconds[measure].append(time.process_time() - start)
    return {measure: 1e3 * float(np.median(taken)) for measure, taken in seconds.items()}


def falling(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each field, whether its value falls at every step of radius.

    A bounded measure may sit at its upper end for two sharp steps, or at 0 for two blurred ones.
    """
    steps = np.diff(table[:, : 1 + len(RADII_UM)], axis=1)
    after = table[:, 1 : 1 + len(RADII_UM)]
    return np.asarray(np.all((steps < 0) | (after >= 10.0) | (after == 0.0), axis=1))


def print_steadiness(count: int) -> None:
    """Whether the kept measure falls with every step, on every set there is."""
    rng = np.random.default_rng(3)
    print("\nthe kept measure on every set: share of fields that fall at every step to 2 um,")
    print("of those whose cells can be measured as they are; median share left at each radius")
    for name, scale in EVERY_SET.items():
        files = sorted(picture.path for picture in read_set(real_fields.data_root(), name))
        chosen = [files[i] for i in np.linspace(0, len(files) - 1, count).astype(int)]
        rows = []
        for path in dict.fromkeys(chosen):
            pixels = real_fields.read_rgb(path)
            own = scale_of(pixels, name) if name in real_fields.NOMINAL_UM_PER_PX else scale
            rows.append(
                [
                    kept_measure(*taken_apart(pixels, radius, noise, own, rng))
                    for radius, noise in CONDITIONS[: 1 + len(RADII_UM)]
                ]
            )
        table = np.array(rows)
        table = table[table[:, 0] > 0]
        if not len(table):
            print(f"  {name:14} none of {len(rows)} fields holds enough outlines")
            continue
        left = np.median(table[:, 1:] / table[:, :1], axis=0)
        print(
            f"  {name:14} measured {len(table):3d} of {len(rows):3d}, "
            f"fall {np.mean(falling(table)):.2f}, left "
            + " ".join(f"{share:.2f}" for share in left)
        )


def print_verdicts(setting: list[Measured], judged: list[Measured]) -> None:
    """The shipped check's verdicts on the judged part, with 95 % intervals (Wilson)."""
    print("\nthe checks as shipped: share accepted, by their own limits and by a profile whose")
    print("reference is the median of the set's other part")
    conditions = ["as it is", *(f"{radius:g} um" for radius in RADII_UM)]
    print(f"  {'':28}" + "".join(f"{name:>22}" for name in conditions))
    least = {
        DETAIL: float(np.exp(limit_of("fine_detail.fail_below"))),
        FINEST: float(np.exp(limit_of("finest_detail.fail_below"))),
    }
    names = [*dict.fromkeys(item.name for item in judged), "all"]
    for name in names:
        for kind in ("own limit", "profile"):
            cells = []
            chosen = [item for item in judged if name in (item.name, "all")]
            for index in range(1 + len(RADII_UM)):
                accepted = sum(
                    item.values[KEPT][index] >= lowest(item, kind, setting)
                    and all(item.values[name][index] >= low for name, low in least.items())
                    for item in chosen
                )
                low, high = real_fields.wilson(accepted, len(chosen))
                cells.append(f"{accepted:4d}/{len(chosen):<4d}{low:.2f}-{high:.2f}")
            print(f"  {name:14}{kind:14}" + "".join(f"{cell:>22}" for cell in cells))


def lowest(item: Measured, kind: str, setting: list[Measured]) -> float:
    """The limit a field is held to: the software's own, or that of a profile of its set."""
    if kind == "own limit":
        return lowest_sharpness(item.scale)
    others = [other.values[KEPT][0] for other in setting if other.name == item.name]
    return limit_of("focus.fail_below_share_of_reference") * float(np.median(others))


def scale_of(pixels: NDArray[np.uint8], name: str) -> float:
    """The field's scale by its own red cells where that is believable, else the set's."""
    nominal = real_fields.NOMINAL_UM_PER_PX[name]
    field = canonical_field(Frame(pixels, name))
    if field.scale_source == "red_cells" and 0.4 < field.frame_um_per_px / nominal < 2.5:
        return field.frame_um_per_px
    return nominal


if __name__ == "__main__":
    main()
