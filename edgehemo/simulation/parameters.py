"""What a simulated field is made with: smear, stain, optics and sensor, each with its limits.

Every parameter's unit is in its name, its allowed range beside its default; `validate` returns
all problems at once, one line each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np

from edgehemo.errors import UsageError

RGB = tuple[float, float, float]

# Optical density (base 10) of haemoglobin per pg/um^2 in a camera's red, green and blue under a
# white LED: rounded band means (about 0.4, 9.5 and 15 per mM haem and cm) read from the spectrum
# of oxyhaemoglobin tabulated by Prahl (Oregon Medical Laser Center), 16114 g per mol of haem.
HAEMOGLOBIN_OD_RGB_PER_PG_UM2: RGB = (0.0025, 0.059, 0.093)

# Hues of the two dyes, relative to their strongest channel, rounded from their absorption maxima:
# eosin Y about 517 nm, azure B about 650 nm.
EOSIN_HUE: RGB = (0.05, 1.0, 0.38)
AZURE_HUE: RGB = (1.0, 0.55, 0.15)

# How samples and fields differ in smear thickness, relative standard deviations.
#
# Between fields of one smear: on Chula RBC-12 (459 fields of the training part) the share of a
# field that cells cover scatters by 6.9 % between neighbouring file numbers (413 pairs, median
# absolute difference) and by 9.9 % within blocks of ten (median block); by disease in the other
# Chula set by 9 % (elliptocytosis, 34 fields), 9 % (spherocytosis, 8), 24 % (iron deficiency, 14:
# 32 cells a field), 6 % (megaloblastic, 4), 10 % (thalassemia, 11). Pieces of 96 x 128 um of one
# AneRBC field scatter by 6 to 7 % (median of eight). All of these hold the counting noise (12 % by
# Poisson for the 68 cells of a median field), which the simulation adds on its own: 10 % is on the
# wide side.
#
# Between samples: red cells found over the analyser's concentration scatter by 10 % over the eight
# AneRBC pairs, one field each, which one field's own scatter explains whole (the two fields of one
# and the same patient lie 11 % apart): the pairs say no more than "well below 10 %". What is
# published for many fields a sample says more: a mean absolute error of 0.155 x 10^12/L of about
# 4.5 (Yang et al. 2025) is a standard deviation of 4.3 %, of which 2.2 % is counting 2,000 cells
# and 2.2 % twenty fields; at most 3 % is left for the sample. What the simulation cannot tell is
# therefore how accurate a real instrument is: these two numbers bound it by construction.
SAMPLE_THICKNESS_SD = 0.03
FIELD_THICKNESS_SD = 0.10


def _range(low: float, high: float) -> dict[str, tuple[float, float]]:
    return {"range": (low, high)}


@dataclass(frozen=True)
class _Checked:
    """Validation shared by the parameter sets: ranges come from the fields' metadata."""

    def validate(self) -> list[str]:
        """All problems, one line each naming the parameter and its range; empty when sound."""
        problems = []
        for item in fields(self):
            bounds = item.metadata.get("range")
            value = getattr(self, item.name)
            if bounds is None or value is None:
                continue
            low, high = bounds
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) and low <= number <= high for number in numbers):
                problems.append(f"{item.name} = {value} is outside {low:g} to {high:g}")
        return problems


@dataclass(frozen=True)
class SmearParameters(_Checked):
    """How the drop was spread and how the cells lie and look.

    film_thickness_um: of the wet film the cells came from; cells per area = concentration x this.
    field_thickness_sd: relative spread of it between fields of one smear (log-normal, mean 1).
    crowding: probability that a red cell lies wherever it falls, on others too; else it lies
        where it overlaps least. clumping: probability that it adheres to a neighbour.
    diameter_um_at_90_fl: of a dried red cell of 90 fL; others follow as the cube root of volume.
    diameter_sd, haemoglobin_sd: relative spread beyond that of volume. ellipticity_sd: of the axis
        ratio. outline_roughness: relative. poikilocyte_fraction: cells of another shape.
    pallor_depth: how much thinner the middle of a normal cell is than its rim (0-1).
    white_cell_factor, platelet_factor: oversampling; 1 is what the panel gives.
    debris_per_mm2: stain deposits and dust. inclusion_fraction: red cells that hold parasites or
        nuclear remnants.
    """

    film_thickness_um: float = field(default=1.8, metadata=_range(0.05, 10.0))
    field_thickness_sd: float = field(default=FIELD_THICKNESS_SD, metadata=_range(0.0, 1.0))
    crowding: float = field(default=0.08, metadata=_range(0.0, 1.0))
    clumping: float = field(default=0.10, metadata=_range(0.0, 1.0))
    diameter_um_at_90_fl: float = field(default=7.5, metadata=_range(5.0, 10.0))
    diameter_sd: float = field(default=0.035, metadata=_range(0.0, 0.2))
    haemoglobin_sd: float = field(default=0.05, metadata=_range(0.0, 0.3))
    ellipticity_sd: float = field(default=0.08, metadata=_range(0.0, 0.5))
    outline_roughness: float = field(default=0.012, metadata=_range(0.0, 0.1))
    poikilocyte_fraction: float = field(default=0.03, metadata=_range(0.0, 1.0))
    pallor_depth: float = field(default=0.60, metadata=_range(0.0, 1.0))
    white_cell_factor: float = field(default=1.0, metadata=_range(0.0, 1000.0))
    platelet_factor: float = field(default=1.0, metadata=_range(0.0, 100.0))
    debris_per_mm2: float = field(default=0.0, metadata=_range(0.0, 20000.0))
    inclusion_fraction: float = field(default=0.0, metadata=_range(0.0, 1.0))


@dataclass(frozen=True)
class StainParameters(_Checked):
    """The stain. Optical densities are base 10; hues are relative to the strongest channel.

    eosin_od_per_pg_um2: eosin bound to haemoglobin, green optical density per pg/um^2 of it.
    red_cell_azure_od_per_pg_um2: azure on the red cells (an alkaline buffer), red channel.
    cell_stain_sd: relative spread of a red cell's stain beyond its haemoglobin.
    nucleus_od: strongest channel of a compact nucleus, nucleus_hue its colour.
    cytoplasm_od: of a white cell's cytoplasm. platelet_od: of a platelet's middle, platelet_hue
        its colour.
    film_od_rgb: of the dried plasma between the cells, all over the field.
    """

    haemoglobin_od_rgb_per_pg_um2: RGB = field(
        default=HAEMOGLOBIN_OD_RGB_PER_PG_UM2, metadata=_range(0.0, 2.0)
    )
    eosin_od_per_pg_um2: float = field(default=0.23, metadata=_range(0.0, 2.0))
    eosin_hue: RGB = field(default=EOSIN_HUE, metadata=_range(0.0, 1.0))
    red_cell_azure_od_per_pg_um2: float = field(default=0.08, metadata=_range(0.0, 1.0))
    azure_hue: RGB = field(default=AZURE_HUE, metadata=_range(0.0, 1.0))
    cell_stain_sd: float = field(default=0.0, metadata=_range(0.0, 0.5))
    nucleus_od: float = field(default=0.70, metadata=_range(0.0, 3.0))
    nucleus_hue: RGB = field(default=(0.62, 1.0, 0.20), metadata=_range(0.0, 1.0))
    cytoplasm_od: float = field(default=0.13, metadata=_range(0.0, 1.0))
    platelet_od: float = field(default=0.36, metadata=_range(0.0, 2.0))
    platelet_hue: RGB = field(default=(0.50, 1.0, 0.18), metadata=_range(0.0, 1.0))
    film_od_rgb: RGB = field(default=(0.0, 0.0, 0.0), metadata=_range(0.0, 0.5))

    @property
    def red_cell_od_rgb_per_pg_um2(self) -> RGB:
        """Optical density of a red cell per pg/um^2 of haemoglobin: its own and the dyes'."""
        red, green, blue = (
            own + self.eosin_od_per_pg_um2 * eosin + self.red_cell_azure_od_per_pg_um2 * azure
            for own, eosin, azure in zip(
                self.haemoglobin_od_rgb_per_pg_um2, self.eosin_hue, self.azure_hue, strict=True
            )
        )
        return red, green, blue


@dataclass(frozen=True)
class OpticsParameters(_Checked):
    """Objective, focus and lamp.

    defocus_um: stage position relative to best focus; its sign matters only with
        refractive_index_step, the cells' refractive index over the medium's (phase fringes).
    lamp_rgb: what the clear field gives in each channel, before exposure and white balance.
    vignette: fall-off at the corner (0-1). tilt_x, tilt_y: relative slope from middle to edge.
    field_stop_radius: of the visible disc relative to the half diagonal; None: not in view.
    """

    numerical_aperture: float = field(default=1.25, metadata=_range(0.05, 1.45))
    immersion_index: float = field(default=1.515, metadata=_range(1.0, 1.6))
    wavelength_um_rgb: RGB = field(default=(0.61, 0.54, 0.46), metadata=_range(0.35, 0.8))
    defocus_um: float = field(default=0.0, metadata=_range(-60.0, 60.0))
    refractive_index_step: float = field(default=0.0, metadata=_range(0.0, 0.1))
    lamp_rgb: RGB = field(default=(1.0, 1.0, 1.0), metadata=_range(0.01, 2.0))
    vignette: float = field(default=0.06, metadata=_range(0.0, 0.95))
    tilt_x: float = field(default=0.0, metadata=_range(-0.5, 0.5))
    tilt_y: float = field(default=0.0, metadata=_range(-0.5, 0.5))
    field_stop_radius: float | None = field(default=None, metadata=_range(0.1, 2.0))

    def validate(self) -> list[str]:
        problems = super().validate()
        if self.numerical_aperture >= self.immersion_index:
            problems.append(
                f"numerical_aperture = {self.numerical_aperture} must stay below "
                f"immersion_index = {self.immersion_index}"
            )
        return problems

    @property
    def defocus_radius_um(self) -> float:
        """Radius of the disc a point becomes: |z| tan(arcsin(NA / n)), um in the object."""
        na = self.numerical_aperture
        return abs(self.defocus_um) * na / math.sqrt(self.immersion_index**2 - na**2)

    @property
    def diffraction_sigma_um_rgb(self) -> RGB:
        """Gaussian that approximates the Airy pattern: 0.21 wavelength / NA (Zhang et al. 2007)."""
        red, green, blue = (0.21 * w / self.numerical_aperture for w in self.wavelength_um_rgb)
        return red, green, blue


@dataclass(frozen=True)
class SensorParameters(_Checked):
    """The camera.

    background_level: share of the full well that the clear field fills (the exposure).
    gain: analogue gain after it. white_balance: (red, blue) gains; green is 1.
    full_well_e, read_noise_e: electrons. gamma: encoded = linear ** (1 / gamma); 1 is linear.
    """

    background_level: float = field(default=0.80, metadata=_range(0.0, 50.0))
    gain: float = field(default=1.0, metadata=_range(0.1, 64.0))
    white_balance: tuple[float, float] = field(default=(1.0, 1.0), metadata=_range(0.05, 16.0))
    full_well_e: float = field(default=10000.0, metadata=_range(100.0, 1e6))
    read_noise_e: float = field(default=6.0, metadata=_range(0.0, 1000.0))
    gamma: float = field(default=1.0, metadata=_range(0.4, 3.0))


@dataclass(frozen=True)
class SimulationParameters:
    """All four together."""

    smear: SmearParameters = field(default_factory=SmearParameters)
    stain: StainParameters = field(default_factory=StainParameters)
    optics: OpticsParameters = field(default_factory=OpticsParameters)
    sensor: SensorParameters = field(default_factory=SensorParameters)

    def validate(self) -> list[str]:
        """All problems of all four, one line each."""
        return [
            problem
            for part in (self.smear, self.stain, self.optics, self.sensor)
            for problem in part.validate()
        ]

    def check(self) -> None:
        """Raise UsageError naming every problem on one line."""
        problems = self.validate()
        if problems:
            raise UsageError("the simulation cannot run: " + "; ".join(problems))


def smear_of_sample(
    rng: np.random.Generator, base: SmearParameters | None = None
) -> SmearParameters:
    """One sample's smear: ``base`` with the thickness that this sample happened to get."""
    base = base or SmearParameters()
    factor = lognormal_with_mean_one(rng, SAMPLE_THICKNESS_SD)
    return replace(base, film_thickness_um=base.film_thickness_um * factor)


def lognormal_with_mean_one(rng: np.random.Generator, sd: float) -> float:
    """A positive factor of mean 1 and relative standard deviation ``sd``."""
    sigma = math.sqrt(math.log1p(sd * sd))
    return float(math.exp(sigma * rng.standard_normal() - 0.5 * sigma * sigma))


def randomised_parameters(rng: np.random.Generator) -> SimulationParameters:
    """Parameters from wide ranges, for training across microscopes, stains and hands.

    The ranges enclose what Chula RBC-12, BCCD, AneRBC and phone pictures show (cover 0.1 to 0.5,
    green optical density of a cell 0.05 to 0.35, clear field of 60 to 250 counts in any tint).
    """

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def varied(hue: RGB, spread: float) -> RGB:
        red, green, blue = (
            float(min(1.0, max(0.0, value + rng.uniform(-spread, spread)))) for value in hue
        )
        return red, green, blue

    def often(probability: float) -> bool:
        return bool(rng.random() < probability)

    smear = SmearParameters(
        film_thickness_um=float(np.exp(rng.uniform(np.log(0.8), np.log(3.2)))),
        field_thickness_sd=0.25,
        crowding=uniform(0.0, 0.5) if often(0.7) else uniform(0.5, 1.0),
        clumping=uniform(0.0, 0.3) if often(0.7) else uniform(0.3, 0.8),
        diameter_um_at_90_fl=uniform(6.8, 8.4),
        diameter_sd=uniform(0.02, 0.06),
        haemoglobin_sd=uniform(0.03, 0.12),
        ellipticity_sd=uniform(0.03, 0.22),
        outline_roughness=uniform(0.003, 0.018),
        poikilocyte_fraction=uniform(0.0, 0.08) if often(0.7) else uniform(0.08, 0.5),
        pallor_depth=uniform(0.15, 0.9),
        white_cell_factor=uniform(1.0, 12.0),
        platelet_factor=uniform(0.7, 2.0),
        debris_per_mm2=0.0 if often(0.5) else uniform(0.0, 1500.0),
    )
    stain = StainParameters(
        eosin_od_per_pg_um2=uniform(0.06, 0.60),
        eosin_hue=varied(EOSIN_HUE, 0.20),
        red_cell_azure_od_per_pg_um2=uniform(0.0, 0.30),
        azure_hue=varied(AZURE_HUE, 0.20),
        cell_stain_sd=uniform(0.0, 0.10),
        nucleus_od=uniform(0.45, 1.3),
        nucleus_hue=varied((0.68, 0.95, 0.25), 0.22),
        cytoplasm_od=uniform(0.04, 0.28),
        platelet_od=uniform(0.15, 0.70),
        platelet_hue=varied((0.55, 0.95, 0.22), 0.22),
        film_od_rgb=(uniform(0.0, 0.03), uniform(0.0, 0.05), uniform(0.0, 0.05)),
    )
    oil = often(0.7)
    numerical_aperture = uniform(1.1, 1.35) if oil else uniform(0.45, 0.85)
    index = 1.515 if oil else 1.0
    radius_um = 0.0 if often(0.35) else abs(float(rng.normal(0.0, 0.35)))
    z = radius_um * math.sqrt(index**2 - numerical_aperture**2) / numerical_aperture
    optics = OpticsParameters(
        numerical_aperture=numerical_aperture,
        immersion_index=index,
        defocus_um=z if often(0.5) else -z,
        refractive_index_step=0.0 if often(0.4) else uniform(0.0, 0.03),
        lamp_rgb=(uniform(0.6, 1.1), uniform(0.75, 1.05), uniform(0.6, 1.1)),
        vignette=uniform(0.0, 0.15) if often(0.8) else uniform(0.15, 0.6),
        tilt_x=float(np.clip(rng.normal(0.0, 0.06), -0.2, 0.2)),
        tilt_y=float(np.clip(rng.normal(0.0, 0.06), -0.2, 0.2)),
        field_stop_radius=None if often(0.92) else uniform(0.55, 0.95),
    )
    sensor = SensorParameters(
        background_level=uniform(0.55, 0.88) if often(0.85) else uniform(0.25, 0.55),
        gain=1.0,
        white_balance=(uniform(0.9, 1.15), uniform(0.9, 1.15)),
        full_well_e=float(np.exp(rng.uniform(np.log(1500.0), np.log(20000.0)))),
        read_noise_e=uniform(2.0, 20.0),
        gamma=1.0 if often(0.3) else uniform(1.0, 2.4),
    )
    return SimulationParameters(smear, stain, optics, sensor)
