"""A field of a thin smear, drawn from a blood count, with everything about it known.

The relation between panel and field is physical. A smear's wet film of thickness t holds
RBC x t red cells per area, each with the panel's MCV and MCH on average, so the haemoglobin per
area is HGB x t and, by Beer-Lambert, the field's mean optical density in focus is HGB x t times
the stain's coefficient (white cells, platelets and the plasma film apart). What stands between
the field and the panel is t, which differs between samples and between fields (the parameters say
by how much and why).

Optical density is averaged within a pixel before it becomes transmittance, so that the truth
conserves haemoglobin at any pixel size; the light is then blurred as light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo.images.frame import Frame
from edgehemo.simulation import cells as shapes
from edgehemo.simulation.inclusions import inclusion_density
from edgehemo.simulation.optics import blur_margin_px, illumination_surface, image_formed, sensed
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import (
    OpticsParameters,
    SensorParameters,
    SimulationParameters,
    SmearParameters,
    StainParameters,
    lognormal_with_mean_one,
)
from edgehemo.simulation.placement import place

if TYPE_CHECKING:
    from edgehemo.cells.cell import CellKind

Floats = NDArray[np.float32]

# Cells whose centre lies this far outside the field still reach into it (a monocyte's radius).
CELL_MARGIN_UM = 10.0
UM_PER_PX_RANGE = (0.02, 2.0)
SIDE_PX_RANGE = (16, 8192)
# A smear of more cells than this in one picture is a mistake in the arguments.
MAX_CELLS = 200_000
_LN10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class TrueCell:
    """One drawn cell. Coordinates px of the frame (pixel i covers i to i + 1).

    x_px, y_px: centre. x0, y0, x1, y1: full box, beyond the image where the cell is cut.
    area_um2, volume_fl, haemoglobin_pg: its own, whole. overlapped: another cell lies on a part
    of it. shape: morphology of a red cell, type of a white one. inclusion: a red cell that holds
    parasites or the like.
    """

    kind: CellKind
    x_px: float
    y_px: float
    x0: float
    y0: float
    x1: float
    y1: float
    area_um2: float
    volume_fl: float
    haemoglobin_pg: float
    overlapped: bool
    shape: str = "normal"
    inclusion: bool = False


@dataclass(frozen=True, slots=True)
class FieldTruth:
    """What is known of a simulated field.

    cells: every cell whose box reaches into the image. transmittance: float32 (height, width, 3),
    RGB, in focus, before blur and illumination. illumination: float32, same shape, relative.
    coverage: uint8 (height, width), how many cells cover each pixel.
    film_thickness_um: of this field, sample and field factors included.
    """

    panel: CBCPanel
    cells: tuple[TrueCell, ...]
    um_per_px: float
    transmittance: Floats
    illumination: Floats
    coverage: NDArray[np.uint8]
    defocus_radius_um: float
    film_thickness_um: float
    parameters: SimulationParameters

    def of_kind(self, kind: str) -> list[TrueCell]:
        """The cells of one kind."""
        return [cell for cell in self.cells if cell.kind == kind]

    @property
    def area_mm2(self) -> float:
        """Area of the smear in the image, mm^2."""
        height, width = self.coverage.shape
        return float(height * width * (self.um_per_px / 1000.0) ** 2)


@dataclass(frozen=True, slots=True)
class SimulatedField:
    """A frame and the truth behind it."""

    frame: Frame
    truth: FieldTruth


def simulate_field(
    panel: CBCPanel,
    *,
    rng: np.random.Generator,
    width_px: int,
    height_px: int,
    um_per_px: float,
    smear: SmearParameters | None = None,
    stain: StainParameters | None = None,
    optics: OpticsParameters | None = None,
    sensor: SensorParameters | None = None,
    source: str = "simulated:",
) -> SimulatedField:
    """Draw one field of a smear and take its picture.

    The same arguments and generator state give the same pixels. Raises UsageError naming every
    parameter out of range.
    """
    parameters = SimulationParameters(
        smear or SmearParameters(),
        stain or StainParameters(),
        optics or OpticsParameters(),
        sensor or SensorParameters(),
    )
    specimen = draw_specimen(
        panel,
        rng=rng,
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
        parameters=parameters,
    )
    return photograph(specimen, parameters=parameters, rng=rng, source=source)


@dataclass(frozen=True, slots=True)
class Specimen:
    """A place on the smear, before any optics: what stays the same while focus and light change.

    The arrays reach ``margin_px`` beyond the field on every side. transmittance: float32 RGB.
    thickness_um: float32, of the red cells. coverage: uint8.
    """

    panel: CBCPanel
    cells: tuple[TrueCell, ...]
    width_px: int
    height_px: int
    um_per_px: float
    margin_px: int
    transmittance: Floats
    thickness_um: Floats
    coverage: NDArray[np.uint8]
    film_thickness_um: float


def draw_specimen(
    panel: CBCPanel,
    *,
    rng: np.random.Generator,
    width_px: int,
    height_px: int,
    um_per_px: float,
    parameters: SimulationParameters,
    margin_px: int | None = None,
) -> Specimen:
    """Draw the cells of one place; ``margin_px`` defaults to what the given optics need.

    Raises UsageError naming every parameter out of range.
    """
    parameters.check()
    _check_geometry(width_px, height_px, um_per_px)
    smear, stain = parameters.smear, parameters.stain
    pad = blur_margin_px(parameters.optics, um_per_px) if margin_px is None else margin_px
    canvas_width, canvas_height = width_px + 2 * pad, height_px + 2 * pad
    thickness = smear.film_thickness_um * lognormal_with_mean_one(rng, smear.field_thickness_sd)

    drawn_cells = _drawn_cells(panel, rng, smear, thickness, canvas_width, canvas_height, um_per_px)
    positions = place(
        np.array([cell.reach_um for cell in drawn_cells]) / um_per_px,
        [cell.kind for cell in drawn_cells],
        low=-CELL_MARGIN_UM / um_per_px,
        width=canvas_width + 2 * CELL_MARGIN_UM / um_per_px,
        height=canvas_height + 2 * CELL_MARGIN_UM / um_per_px,
        crowding=smear.crowding,
        clumping=smear.clumping,
        rng=rng,
    )

    haemoglobin = np.zeros((canvas_height, canvas_width), np.float32)
    stained = np.zeros_like(haemoglobin)
    density = np.zeros((canvas_height, canvas_width, 3), np.float32)
    density += np.asarray(stain.film_od_rgb, np.float32)
    coverage = np.zeros((canvas_height, canvas_width), np.uint8)
    patches: list[tuple[shapes.CellShape, float, float, shapes.Patch]] = []
    infected: set[int] = set()
    platelet_hue = np.asarray(stain.platelet_hue, np.float32)
    for cell, (x, y) in zip(drawn_cells, positions, strict=True):
        if cell.kind == "wbc":
            patch, patch_density = shapes.white_cell_density(rng, cell, x, y, um_per_px, stain)
            _add(density, patch, patch_density)
        else:
            patch = shapes.draw(cell, x, y, um_per_px)
            if cell.kind == "rbc":
                factor = 1.0
                if stain.cell_stain_sd > 0:
                    factor = lognormal_with_mean_one(rng, stain.cell_stain_sd)
                _add(haemoglobin, patch, patch.mass)
                _add(stained, patch, patch.mass * np.float32(factor))
                if smear.inclusion_fraction > 0 and rng.random() < smear.inclusion_fraction:
                    infected.add(len(patches))
                    inside = inclusion_density(rng, cell, patch, x, y, um_per_px, stain)
                    _add(density, patch, inside)
            else:
                strength = stain.platelet_od * lognormal_with_mean_one(rng, 0.3)
                _add(density, patch, patch.mass[..., None] * platelet_hue * np.float32(strength))
        _add(coverage, patch, patch.inside.astype(np.uint8))
        patches.append((cell, x, y, patch))

    density += stained[..., None] * np.asarray(stain.red_cell_od_rgb_per_pg_um2, np.float32)
    if smear.debris_per_mm2 > 0:
        _add_debris(density, rng, smear.debris_per_mm2, um_per_px)
    np.multiply(density, np.float32(-_LN10), out=density)
    transmittance = np.exp(density, out=density)
    # pg/um^2 over g/L (= pg/um^3 / 1000): thickness of the haemoglobin solution, um.
    thickness_um = haemoglobin * np.float32(1000.0 / panel.mchc_g_per_l)
    return Specimen(
        panel=panel,
        cells=_true_cells(patches, infected, coverage, um_per_px, pad, width_px, height_px),
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
        margin_px=pad,
        transmittance=transmittance,
        thickness_um=thickness_um,
        coverage=coverage,
        film_thickness_um=thickness,
    )


def photograph(
    specimen: Specimen,
    *,
    parameters: SimulationParameters,
    rng: np.random.Generator,
    source: str = "simulated:",
) -> SimulatedField:
    """Take a specimen's picture through these optics and this sensor.

    Raises UsageError naming every parameter out of range.
    """
    parameters.check()
    optics, sensor = parameters.optics, parameters.sensor
    pad, width, height = specimen.margin_px, specimen.width_px, specimen.height_px
    light = image_formed(specimen.transmittance, optics, specimen.um_per_px, specimen.thickness_um)
    inner = (slice(pad, pad + height), slice(pad, pad + width))
    illumination = illumination_surface(width, height, optics)
    pixels = sensed(light[inner] * illumination, sensor, rng)
    frame = Frame(
        pixels,
        source,
        metadata={
            "simulated": True,
            "um_per_px": specimen.um_per_px,
            "z_um": optics.defocus_um,
            "gain": sensor.gain,
        },
    )
    truth = FieldTruth(
        panel=specimen.panel,
        cells=specimen.cells,
        um_per_px=specimen.um_per_px,
        transmittance=np.ascontiguousarray(specimen.transmittance[inner]),
        illumination=illumination,
        coverage=np.ascontiguousarray(specimen.coverage[inner]),
        defocus_radius_um=optics.defocus_radius_um,
        film_thickness_um=specimen.film_thickness_um,
        parameters=parameters,
    )
    return SimulatedField(frame, truth)


def expected_red_cells_per_mm2(panel: CBCPanel, film_thickness_um: float) -> float:
    """RBC x film thickness: 1e12 per L is 1e6 per mm^3."""
    return panel.rbc_1e12_per_l * 1e6 * film_thickness_um / 1000.0


def _drawn_cells(
    panel: CBCPanel,
    rng: np.random.Generator,
    smear: SmearParameters,
    thickness_um: float,
    canvas_width: int,
    canvas_height: int,
    um_per_px: float,
) -> list[shapes.CellShape]:
    """The cells of canvas and margin, large ones first; their numbers are Poisson's."""
    margin_px = CELL_MARGIN_UM / um_per_px
    area_mm2 = (
        (canvas_width + 2 * margin_px) * (canvas_height + 2 * margin_px) * (um_per_px / 1000) ** 2
    )
    per_1e9 = 1e3 * thickness_um / 1000.0 * area_mm2
    red = expected_red_cells_per_mm2(panel, thickness_um) * area_mm2
    white = panel.wbc_1e9_per_l * per_1e9 * smear.white_cell_factor
    platelets = panel.plt_1e9_per_l * per_1e9 * smear.platelet_factor
    if red + white + platelets > MAX_CELLS:
        raise UsageError(
            f"the field would hold {red + white + platelets:.0f} cells; choose fewer pixels, a "
            "smaller um_per_px or a thinner film"
        )
    drawn = [shapes.white_cell(rng) for _ in range(rng.poisson(white))]
    drawn += [shapes.red_cell(rng, panel, smear) for _ in range(rng.poisson(red))]
    drawn += [shapes.platelet(rng) for _ in range(rng.poisson(platelets))]
    return drawn


def _check_geometry(width_px: int, height_px: int, um_per_px: float) -> None:
    low, high = SIDE_PX_RANGE
    if not (low <= width_px <= high and low <= height_px <= high):
        raise UsageError(
            f"a simulated field of {width_px}x{height_px} px is outside {low} to {high} a side"
        )
    least, most = UM_PER_PX_RANGE
    if not least <= um_per_px <= most:
        raise UsageError(f"um_per_px = {um_per_px:g} is outside {least:g} to {most:g}")


def _add(
    canvas: NDArray[np.float32] | NDArray[np.uint8],
    patch: shapes.Patch,
    values: NDArray[np.float32] | NDArray[np.uint8],
) -> None:
    """Add a patch's values to the canvas where the two meet."""
    target, part = _meeting(canvas.shape[:2], patch)
    if target is not None:
        canvas[target] += values[part]


def _meeting(
    shape: tuple[int, ...], patch: shapes.Patch
) -> tuple[tuple[slice, slice] | None, tuple[slice, slice]]:
    rows, columns = patch.inside.shape
    top, left = max(0, patch.row), max(0, patch.column)
    bottom, right = min(shape[0], patch.row + rows), min(shape[1], patch.column + columns)
    part = (
        slice(top - patch.row, bottom - patch.row),
        slice(left - patch.column, right - patch.column),
    )
    if bottom <= top or right <= left:
        return None, part
    return (slice(top, bottom), slice(left, right)), part


def _true_cells(
    patches: list[tuple[shapes.CellShape, float, float, shapes.Patch]],
    infected: set[int],
    coverage: NDArray[np.uint8],
    um_per_px: float,
    pad: int,
    width_px: int,
    height_px: int,
) -> tuple[TrueCell, ...]:
    cells = []
    for index, (cell, x, y, patch) in enumerate(patches):
        box = cell.box_um
        x0, y0 = x + box[0] / um_per_px - pad, y + box[1] / um_per_px - pad
        x1, y1 = x + box[2] / um_per_px - pad, y + box[3] / um_per_px - pad
        if x1 <= 0 or y1 <= 0 or x0 >= width_px or y0 >= height_px:
            continue
        target, part = _meeting(coverage.shape, patch)
        overlapped = target is not None and bool((coverage[target][patch.inside[part]] > 1).any())
        cells.append(
            TrueCell(
                kind=cell.kind,
                x_px=x - pad,
                y_px=y - pad,
                x0=x0,
                y0=y0,
                x1=x1,
                y1=y1,
                area_um2=cell.area_um2,
                volume_fl=cell.volume_fl,
                haemoglobin_pg=cell.haemoglobin_pg,
                overlapped=overlapped,
                shape=cell.shape,
                inclusion=index in infected,
            )
        )
    return tuple(cells)


def _add_debris(
    density: Floats, rng: np.random.Generator, per_mm2: float, um_per_px: float
) -> None:
    """Stain deposits: dark specks of 0.3 to 1.2 um, any place, no cells."""
    rows, columns = density.shape[:2]
    count = rng.poisson(per_mm2 * rows * columns * (um_per_px / 1000) ** 2)
    for _ in range(count):
        radius = rng.uniform(0.3, 1.2) / um_per_px
        y, x = rng.uniform(0, rows), rng.uniform(0, columns)
        half = math.ceil(2.5 * radius)
        top, left = max(0, int(y) - half), max(0, int(x) - half)
        bottom, right = min(rows, int(y) + half + 1), min(columns, int(x) + half + 1)
        dy = (np.arange(top, bottom) + 0.5 - y)[:, None]
        dx = (np.arange(left, right) + 0.5 - x)[None, :]
        speck = np.exp(-0.5 * (dx**2 + dy**2) / (0.6 * radius) ** 2)
        hue = rng.uniform(0.4, 1.0, 3) * rng.uniform(0.05, 0.7)
        density[top:bottom, left:right] += (speck[..., None] * hue).astype(np.float32)
