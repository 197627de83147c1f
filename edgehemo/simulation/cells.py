"""Shapes of the cells of a dried smear and their optical mass, as small patches.

A red cell is an outline R(theta) times a biconcave thickness profile h(rho), rho = r / R(theta).
Because the profile depends on rho alone, its integral is known exactly, outline and all:
integral = area x mean of h over rho^2. A patch is scaled by it, so that the haemoglobin a cell
puts into the picture is the haemoglobin it has, whatever its shape and the pixel size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import (
    RGB,
    SmearParameters,
    StainParameters,
    lognormal_with_mean_one,
)

if TYPE_CHECKING:
    from edgehemo.cells.cell import CellKind

Floats = NDArray[np.float32]

OUTLINE_POINTS = 480
PROFILE_POINTS = 1024
# A pixel is divided until its parts are no wider than this, so that areas hold to a percent.
SUBPIXEL_UM = 0.13
MIN_SUBPIXELS, MAX_SUBPIXELS = 2, 8

# Shapes of red cells by the names of the command-line contract, and how often each poikilocyte.
POIKILOCYTES: tuple[tuple[str, float], ...] = (
    ("ovalocyte", 0.30),
    ("elliptocyte", 0.12),
    ("teardrop", 0.14),
    ("target_cell", 0.14),
    ("burr_cell", 0.10),
    ("spherocyte", 0.10),
    ("schistocyte", 0.10),
)
# Share of the white cells in a normal differential, without the rare ones.
WHITE_CELLS: tuple[tuple[str, float], ...] = (
    ("neutrophil", 0.60),
    ("lymphocyte", 0.29),
    ("monocyte", 0.07),
    ("eosinophil", 0.04),
)
NORMAL_MCHC_G_PER_L = 330.0
NORMAL_MCV_FL = 90.0

_ANGLES = (np.arange(OUTLINE_POINTS) + 0.5) * (2 * math.pi / OUTLINE_POINTS)
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)
_COS_WAVES = np.cos(np.arange(8)[:, None] * _ANGLES)
_SIN_WAVES = np.sin(np.arange(8)[:, None] * _ANGLES)
# rho^2 at the middles of equal steps: the mean over them is the mean over the cell's area.
_RHO2 = (np.arange(PROFILE_POINTS) + 0.5) / PROFILE_POINTS
# A dried cell is flat with a steep rim.
_RIM = np.sqrt(1.0 - _RHO2**4)


@dataclass(frozen=True, slots=True)
class CellShape:
    """One cell before it is drawn. Lengths um from its centre.

    kind, shape: what it is. outline_um: float64 (480,) radius by angle. profile: float64 (1024,)
    relative optical mass over rho^2. mass: integral of the patch, pg of haemoglobin for a red
    cell, um^2 of optical density for the others. volume_fl, haemoglobin_pg: the truth.
    """

    kind: CellKind
    shape: str
    outline_um: NDArray[np.float64]
    profile: NDArray[np.float64]
    mass: float
    volume_fl: float
    haemoglobin_pg: float

    @property
    def area_um2(self) -> float:
        """Half the integral of R^2 over the angle."""
        return float(math.pi * np.mean(self.outline_um**2))

    @property
    def radius_um(self) -> float:
        """Radius of the circle of the same area."""
        return math.sqrt(self.area_um2 / math.pi)

    @property
    def reach_um(self) -> float:
        """How close others may come: between that radius and the outline's longest."""
        return 0.5 * (self.radius_um + float(self.outline_um.max()))

    @property
    def box_um(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 from the centre."""
        x, y = self.outline_um * _COS, self.outline_um * _SIN
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())


@dataclass(frozen=True, slots=True)
class Patch:
    """A drawn cell: where it lies on the canvas and what it puts there.

    row, column: of its first pixel. mass: float32 (rows, columns), mass per um^2, mean over each
    pixel. inside: bool, pixels more than half within the outline.
    """

    row: int
    column: int
    mass: Floats
    inside: NDArray[np.bool_]


def subpixels(um_per_px: float) -> int:
    """How many parts a pixel's side is divided into."""
    return int(min(MAX_SUBPIXELS, max(MIN_SUBPIXELS, math.ceil(um_per_px / SUBPIXEL_UM))))


def red_cell(rng: np.random.Generator, panel: CBCPanel, smear: SmearParameters) -> CellShape:
    """Draw one red cell of a sample: its volume, haemoglobin, size and shape.

    Over many cells the mean volume is the panel's MCV and the mean haemoglobin its MCH, but for
    fragments, which hold only the share of a cell that is left.
    """
    volume = panel.mcv_fl * lognormal_with_mean_one(rng, panel.rdw_percent / 100.0)
    # Volume and concentration vary on their own, so the mean haemoglobin stays the MCH.
    concentration = panel.mchc_g_per_l * lognormal_with_mean_one(rng, smear.haemoglobin_sd)
    shape = "normal"
    if rng.random() < smear.poikilocyte_fraction:
        shape = _choice(rng, POIKILOCYTES)
    diameter = (
        smear.diameter_um_at_90_fl
        * (volume / NORMAL_MCV_FL) ** (1 / 3)
        * math.exp(smear.diameter_sd * rng.standard_normal())
    )
    if shape == "spherocyte":
        diameter *= 0.84
    outline = _red_outline(rng, shape, smear)
    if shape == "schistocyte":
        volume *= float(np.mean(outline**2))
    haemoglobin = volume * concentration / 1000.0
    return CellShape(
        kind="rbc",
        shape=shape,
        outline_um=0.5 * diameter * outline,
        profile=_red_profile(rng, shape, smear, volume, concentration),
        mass=haemoglobin,
        volume_fl=volume,
        haemoglobin_pg=haemoglobin,
    )


def platelet(rng: np.random.Generator) -> CellShape:
    """A platelet: 1.5 to 3.5 um wide, irregular, densest in the middle; mass per unit of peak."""
    diameter = float(np.clip(2.4 * math.exp(0.22 * rng.standard_normal()), 1.5, 4.5))
    outline = _ellipse(rng, 1.0 + abs(0.25 * rng.standard_normal())) * _harmonics(
        rng, np.arange(2, 7), 0.06
    )
    profile = np.sqrt(1.0 - _RHO2)
    outline_um = 0.5 * diameter * outline
    area = math.pi * float(np.mean(outline_um**2))
    return CellShape(
        kind="platelet",
        shape="platelet",
        outline_um=outline_um,
        profile=profile,
        mass=area * float(profile.mean()),
        volume_fl=math.pi / 6 * diameter**3 * 0.6,
        haemoglobin_pg=0.0,
    )


def white_cell(rng: np.random.Generator) -> CellShape:
    """A white cell's outline and cytoplasm; its nucleus is drawn by `white_cell_density`."""
    shape = _choice(rng, WHITE_CELLS)
    mean_um = {"neutrophil": 12.5, "lymphocyte": 9.5, "monocyte": 16.0, "eosinophil": 13.5}[shape]
    diameter = mean_um * math.exp(0.07 * rng.standard_normal())
    outline = _ellipse(rng, 1.0 + abs(0.08 * rng.standard_normal())) * _harmonics(
        rng, np.arange(2, 6), 0.02
    )
    profile = np.sqrt(1.0 - _RHO2**3)
    outline_um = 0.5 * diameter * outline
    area = math.pi * float(np.mean(outline_um**2))
    return CellShape(
        kind="wbc",
        shape=shape,
        outline_um=outline_um,
        profile=profile,
        mass=area * float(profile.mean()),
        volume_fl=math.pi / 6 * diameter**3 * 0.5,
        haemoglobin_pg=0.0,
    )


def draw(shape: CellShape, x_px: float, y_px: float, um_per_px: float) -> Patch:
    """Draw a cell centred at (x_px, y_px) on a canvas of pixels (pixel i covers i to i + 1)."""
    x, y, column, row, parts = _subpixel_grid(shape, x_px, y_px, um_per_px)
    grid_x, grid_y = np.meshgrid(x, y)
    rho2 = _rho2(shape, grid_x, grid_y)
    index = np.minimum((rho2 * PROFILE_POINTS).astype(np.int32), PROFILE_POINTS)
    table = np.append(shape.profile, 0.0).astype(np.float32)
    fine = np.take(table, index)
    inside = (index < PROFILE_POINTS).astype(np.float32)
    size = (len(x) // parts, len(y) // parts)
    mass = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
    scale = shape.mass / (shape.area_um2 * float(shape.profile.mean()))
    return Patch(row, column, np.asarray(mass * np.float32(scale), np.float32), share > 0.5)


def white_cell_density(
    rng: np.random.Generator,
    shape: CellShape,
    x_px: float,
    y_px: float,
    um_per_px: float,
    stain: StainParameters,
) -> tuple[Patch, Floats]:
    """A white cell's patch and its optical density, float32 (rows, columns, 3), RGB."""
    patch = draw(shape, x_px, y_px, um_per_px)
    x, y, _, _, parts = _subpixel_grid(shape, x_px, y_px, um_per_px)
    grid_x, grid_y = np.meshgrid(x, y)
    radius = shape.radius_um
    nucleus: Floats = np.zeros(grid_x.shape, np.float32)
    for lobe_x, lobe_y, long, short, angle in _lobes(rng, shape.shape):
        dx, dy = grid_x - lobe_x * radius, grid_y - lobe_y * radius
        cosine, sine = math.cos(angle), math.sin(angle)
        u = (dx * cosine + dy * sine) / (long * radius)
        v = (dy * cosine - dx * sine) / (short * radius)
        # A steep but not sharp rim, the same in um at any pixel size.
        rim = np.clip((1.0 - np.sqrt(u * u + v * v)) * short * radius / 0.5, 0.0, 1.0)
        nucleus = np.maximum(nucleus, rim)
    nucleus *= _texture(rng, grid_x.shape, um_per_px / parts, grain_um=0.9, depth=0.22)
    cytoplasm_hue, granules = _cytoplasm(shape.shape, stain)
    speckle = _texture(rng, grid_x.shape, um_per_px / parts, grain_um=0.35, depth=granules)
    size = (len(x) // parts, len(y) // parts)
    nucleus = np.asarray(cv2.resize(nucleus, size, interpolation=cv2.INTER_AREA), np.float32)
    speckle = np.asarray(cv2.resize(speckle, size, interpolation=cv2.INTER_AREA), np.float32)
    body = patch.mass * speckle * np.float32(stain.cytoplasm_od)
    density = body[..., None] * np.asarray(cytoplasm_hue, np.float32) * (1 - nucleus[..., None])
    density += (
        nucleus[..., None]
        * np.float32(stain.nucleus_od)
        * np.asarray(stain.nucleus_hue, np.float32)
    )
    return patch, np.asarray(density, np.float32)


def _subpixel_grid(
    shape: CellShape, x_px: float, y_px: float, um_per_px: float
) -> tuple[Floats, Floats, int, int, int]:
    """Subpixel middles in um from the cell's centre, first column and row, parts per pixel."""
    x0, y0, x1, y1 = shape.box_um
    column, row = math.floor(x_px + x0 / um_per_px), math.floor(y_px + y0 / um_per_px)
    columns = math.ceil(x_px + x1 / um_per_px) - column
    rows = math.ceil(y_px + y1 / um_per_px) - row
    parts = subpixels(um_per_px)
    x = ((np.arange(columns * parts) + 0.5) / parts + (column - x_px)) * um_per_px
    y = ((np.arange(rows * parts) + 0.5) / parts + (row - y_px)) * um_per_px
    return x.astype(np.float32), y.astype(np.float32), column, row, parts


def _rho2(shape: CellShape, grid_x: Floats, grid_y: Floats) -> Floats:
    angle = cv2.phase(grid_x, grid_y)
    index = (angle * np.float32(OUTLINE_POINTS / (2 * math.pi))).astype(np.int32)
    np.minimum(index, OUTLINE_POINTS - 1, out=index)
    inverse = (1.0 / shape.outline_um**2).astype(np.float32)
    squared = grid_x * grid_x + grid_y * grid_y
    # Bounded so that a far corner cannot overflow the integer it is turned into.
    return np.asarray(np.minimum(squared * np.take(inverse, index), 2.0), np.float32)


def _choice(rng: np.random.Generator, table: tuple[tuple[str, float], ...]) -> str:
    names = [name for name, _ in table]
    shares = np.array([share for _, share in table])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _ellipse(rng: np.random.Generator, ratio: float) -> NDArray[np.float64]:
    """An ellipse of this axis ratio, any direction, area of the unit circle."""
    turn = rng.uniform(0, math.pi)
    long, short = math.sqrt(ratio), 1 / math.sqrt(ratio)
    cosine, sine = np.cos(_ANGLES - turn), np.sin(_ANGLES - turn)
    return np.asarray(1.0 / np.sqrt((cosine / long) ** 2 + (sine / short) ** 2))


def _harmonics(
    rng: np.random.Generator, orders: NDArray[np.int_], roughness: float
) -> NDArray[np.float64]:
    """1 + a few waves around the outline, each of this relative size, falling with its order."""
    sizes = roughness * rng.standard_normal(len(orders)) * math.sqrt(2) / np.sqrt(orders)
    phases = rng.uniform(0, 2 * math.pi, len(orders))
    # cos(k a + phase) from the tables of cos(k a) and sin(k a).
    waves = (sizes * np.cos(phases)) @ _COS_WAVES[orders]
    waves -= (sizes * np.sin(phases)) @ _SIN_WAVES[orders]
    return np.asarray(np.clip(1.0 + waves, 0.5, 1.6))


def _red_outline(
    rng: np.random.Generator, shape: str, smear: SmearParameters
) -> NDArray[np.float64]:
    """Relative outline of a red cell, area of the unit circle (a fragment's is smaller)."""
    ratio = 1.0 + abs(smear.ellipticity_sd * rng.standard_normal())
    if shape == "ovalocyte":
        ratio = rng.uniform(1.25, 1.5)
    elif shape == "elliptocyte":
        ratio = rng.uniform(1.6, 2.3)
    elif shape == "spherocyte":
        ratio = 1.0 + 0.3 * (ratio - 1.0)
    outline: NDArray[np.float64] = _ellipse(rng, ratio)
    outline = outline * _harmonics(rng, np.arange(2, 8), smear.outline_roughness)
    turn = rng.uniform(0, 2 * math.pi)
    away = (_ANGLES - turn + math.pi) % (2 * math.pi) - math.pi
    if shape == "burr_cell":
        spikes = int(rng.integers(10, 18))
        outline = outline * (1.0 + rng.uniform(0.04, 0.08) * np.cos(spikes * _ANGLES + turn))
    elif shape == "teardrop":
        outline = outline * (1.0 + rng.uniform(0.5, 1.0) * np.exp(-(np.abs(away / 0.30) ** 1.3)))
    outline = outline / math.sqrt(float(np.mean(outline**2)))
    if shape == "schistocyte":
        # A straight cut: what lies beyond the chord is missing.
        chord = rng.uniform(0.0, 0.45)
        cosine = np.cos(away)
        cut = np.where(cosine > 0, (chord + 0.12) / np.maximum(cosine, 1e-3), np.inf)
        outline = np.minimum(outline, cut)
        around = np.concatenate([outline[-10:], outline, outline[:10]])
        outline = np.asarray(np.convolve(around, np.full(21, 1 / 21), mode="valid"), np.float64)
    return np.asarray(outline, dtype=np.float64)


def _red_profile(
    rng: np.random.Generator,
    shape: str,
    smear: SmearParameters,
    volume_fl: float,
    concentration_g_per_l: float,
) -> NDArray[np.float64]:
    """Relative thickness over rho^2: a flat rim, thinner in the middle.

    The pallor is deeper and wider the less haemoglobin the cell has for its membrane (low MCHC,
    low volume) and shallower in large cells, as hypochromic and megaloblastic cells show it; how
    much so is an assumption of the simulation.
    """
    pale = 1.0 - concentration_g_per_l / NORMAL_MCHC_G_PER_L
    large = volume_fl / NORMAL_MCV_FL - 1.0
    depth = smear.pallor_depth + 1.6 * pale - 0.45 * max(0.0, large) - 0.15 * min(0.0, large)
    depth += 0.14 * rng.standard_normal()
    width = 0.42 + 0.9 * max(0.0, pale) - 0.12 * max(0.0, large) + 0.05 * rng.standard_normal()
    if shape in ("spherocyte", "schistocyte"):
        depth *= 0.15
    depth, width = min(0.96, max(0.0, depth)), min(0.80, max(0.25, width))
    if shape == "target_cell":
        thin = 0.85 * np.exp(-(((np.sqrt(_RHO2) - 0.55) / 0.17) ** 2))
    else:
        thin = depth * np.exp(-((_RHO2 / width**2) ** 1.5))
    return np.asarray(_RIM * (1.0 - thin), dtype=np.float64)


def _lobes(rng: np.random.Generator, shape: str) -> list[tuple[float, float, float, float, float]]:
    """Nuclear lobes: x, y, half axes relative to the cell's radius, direction."""
    if shape == "lymphocyte":
        offset = rng.uniform(-0.08, 0.08, 2)
        size = rng.uniform(0.78, 0.90)
        return [(float(offset[0]), float(offset[1]), size, size * rng.uniform(0.88, 1.0), 0.0)]
    turn = rng.uniform(0, 2 * math.pi)
    if shape == "monocyte":
        steps: NDArray[Any] = np.linspace(-0.9, 0.9, 4)
        ring, long, short = 0.34, 0.36, 0.30
    else:
        count = 2 if shape == "eosinophil" else int(rng.integers(2, 6))
        steps = (np.arange(count) - (count - 1) / 2) * rng.uniform(0.85, 1.25)
        ring = 0.50
        long, short = {2: (0.50, 0.34), 3: (0.42, 0.30)}.get(count, (0.36, 0.27))
    lobes = []
    for step in steps:
        angle = turn + float(step)
        distance = ring * rng.uniform(0.85, 1.15)
        lobes.append(
            (
                distance * math.cos(angle),
                distance * math.sin(angle),
                long * rng.uniform(0.88, 1.12),
                short * rng.uniform(0.88, 1.12),
                angle + math.pi / 2 + 0.3 * rng.standard_normal(),
            )
        )
    return lobes


def _cytoplasm(shape: str, stain: StainParameters) -> tuple[RGB, float]:
    """Hue and granularity of a white cell's cytoplasm."""
    if shape == "eosinophil":
        red, green, blue = (3.0 * value for value in stain.eosin_hue)
        return (red, green, blue), 0.8
    if shape == "neutrophil":
        return (0.6, 1.0, 0.35), 0.3
    if shape == "lymphocyte":
        return (1.5, 1.3, 0.35), 0.12
    return (1.0, 1.1, 0.35), 0.2


def _texture(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    um_per_part: float,
    *,
    grain_um: float,
    depth: float,
) -> Floats:
    """Smooth noise of mean 1: grains of ``grain_um``, relative depth ``depth``, never negative."""
    rows = max(2, math.ceil(shape[0] * um_per_part / grain_um) + 1)
    columns = max(2, math.ceil(shape[1] * um_per_part / grain_um) + 1)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(1.0 + np.float32(depth) * smooth, 0.0, 2.5), np.float32)
