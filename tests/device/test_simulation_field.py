"""The simulated field: what must be conserved, follow the panel, and repeat by seed."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.errors import UsageError
from edgehemo.simulation import cells as shapes
from edgehemo.simulation.field import (
    SimulatedField,
    draw_specimen,
    expected_red_cells_per_mm2,
    photograph,
    simulate_field,
)
from edgehemo.simulation.optics import disc_kernel, illumination_surface, image_formed, sensed
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import (
    FIELD_THICKNESS_SD,
    SAMPLE_THICKNESS_SD,
    OpticsParameters,
    SensorParameters,
    SimulationParameters,
    SmearParameters,
    StainParameters,
    randomised_parameters,
    smear_of_sample,
)

PANEL = CBCPanel.from_indices(hgb_g_per_l=140.0, mcv_fl=88.0, mchc_g_per_l=332.0)
ONLY_RED = SmearParameters(
    field_thickness_sd=0.0, white_cell_factor=0.0, platelet_factor=0.0, poikilocyte_fraction=0.0
)
QUIET = SensorParameters(read_noise_e=0.0, full_well_e=1e6)


def field(
    panel: CBCPanel = PANEL, *, seed: int = 0, um_per_px: float = 0.2, **parts: object
) -> SimulatedField:
    sizes = {"width_px": 320, "height_px": 240} | {
        key: parts.pop(key) for key in ("width_px", "height_px") if key in parts
    }
    return simulate_field(
        panel,
        rng=np.random.default_rng(seed),
        um_per_px=um_per_px,
        **sizes,  # type: ignore[arg-type]
        **parts,  # type: ignore[arg-type]
    )


# Conservation


@pytest.mark.parametrize("um_per_px", [0.05, 0.1, 0.2, 0.38, 0.8])
@pytest.mark.parametrize("shape", ["normal", *(name for name, _ in shapes.POIKILOCYTES)])
def test_a_patch_holds_the_haemoglobin_of_its_cell(um_per_px: float, shape: str) -> None:
    rng = np.random.default_rng(hash_of(shape))
    smear = replace(ONLY_RED, poikilocyte_fraction=0.0 if shape == "normal" else 1.0)
    made = (shapes.red_cell(rng, PANEL, smear) for _ in itertools.count())
    cell = next(cell for cell in made if cell.shape == shape)
    patch = shapes.draw(cell, 100.3, 57.8, um_per_px)
    assert float(patch.mass.sum()) * um_per_px**2 == pytest.approx(cell.haemoglobin_pg, rel=0.02)
    if um_per_px <= 0.2:
        assert patch.inside.sum() * um_per_px**2 == pytest.approx(cell.area_um2, rel=0.03)


def hash_of(text: str) -> int:
    return sum(ord(letter) for letter in text)


def test_optical_density_of_an_isolated_cell_is_its_haemoglobin_times_the_stain() -> None:
    thin = replace(ONLY_RED, film_thickness_um=0.15, crowding=0.0, clumping=0.0)
    stain = StainParameters()
    found = 0
    for seed in range(12):
        truth = field(seed=seed, smear=thin, stain=stain, um_per_px=0.15).truth
        density = -np.log10(truth.transmittance)
        for cell in truth.cells:
            inside = cell.x0 > 1 and cell.y0 > 1 and cell.x1 < 319 and cell.y1 < 239
            crowd = any(
                other is not cell
                and math.hypot(other.x_px - cell.x_px, other.y_px - cell.y_px) < 90
                for other in truth.cells
            )
            if cell.overlapped or not inside or crowd:
                continue
            box = density[
                math.floor(cell.y0) : math.ceil(cell.y1), math.floor(cell.x0) : math.ceil(cell.x1)
            ]
            integral = box.sum(axis=(0, 1)) * truth.um_per_px**2
            expected = cell.haemoglobin_pg * np.array(stain.red_cell_od_rgb_per_pg_um2)
            np.testing.assert_allclose(integral, expected, rtol=0.02)
            found += 1
    assert found >= 3


def test_optical_densities_add_where_cells_overlap() -> None:
    crowded = replace(ONLY_RED, crowding=1.0, film_thickness_um=4.0)
    specimen = draw_specimen(
        PANEL,
        rng=np.random.default_rng(3),
        width_px=400,
        height_px=400,
        um_per_px=0.2,
        parameters=SimulationParameters(smear=crowded),
    )
    truth_mass = specimen.thickness_um.sum() * 0.2**2 * PANEL.mchc_g_per_l / 1000
    density = -np.log10(specimen.transmittance[..., 1]).sum() * 0.2**2
    coefficient = StainParameters().red_cell_od_rgb_per_pg_um2[1]
    assert density == pytest.approx(truth_mass * coefficient, rel=1e-3)
    assert specimen.coverage.max() >= 3


@given(radius=st.floats(0.1, 12))
def test_the_disc_kernel_keeps_light_and_has_its_radius(radius: float) -> None:
    kernel = disc_kernel(radius).astype(float)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(kernel, kernel.T) and np.allclose(kernel, kernel[::-1])
    if radius >= 2:
        offsets = np.arange(len(kernel)) - len(kernel) // 2
        second = (kernel * (offsets[:, None] ** 2 + offsets[None, :] ** 2)).sum()
        # A uniform disc has a mean squared radius of half its radius squared; the pixel's own
        # extent adds a twelfth in each direction, more or less, as the pixels fall.
        assert second == pytest.approx(radius**2 / 2 + 1 / 6, rel=0.05)


@pytest.mark.parametrize("refractive_index_step", [0.0, 0.01])
@pytest.mark.parametrize("defocus_um", [0.0, 0.4, 2.0])
def test_blur_and_fringes_conserve_light(defocus_um: float, refractive_index_step: float) -> None:
    # A lone patch in the middle of a clear field: nothing is lost over the border.
    cell = shapes.red_cell(np.random.default_rng(0), PANEL, ONLY_RED)
    patch = shapes.draw(cell, 100.0, 100.0, 0.1)
    mass = np.zeros((200, 200), np.float32)
    rows, columns = patch.mass.shape
    mass[patch.row : patch.row + rows, patch.column : patch.column + columns] = patch.mass
    transmittance = np.repeat((10 ** (-0.3 * mass))[..., None], 3, axis=2).astype(np.float32)
    optics = OpticsParameters(defocus_um=defocus_um, refractive_index_step=refractive_index_step)
    light = image_formed(transmittance, optics, 0.1, mass * np.float32(3.0))
    lost_before = (1 - transmittance).sum(axis=(0, 1))
    lost_after = (1 - light).sum(axis=(0, 1))
    np.testing.assert_allclose(lost_after, lost_before, rtol=0.01)


def test_blur_hides_optical_density_as_real_defocus_does() -> None:
    sharp, blurred = (
        field(
            seed=2,
            smear=ONLY_RED,
            sensor=QUIET,
            optics=OpticsParameters(vignette=0.0, defocus_um=z),
        )
        for z in (0.0, 2.5)
    )
    density = [
        -np.log10(np.maximum(f.frame.pixels[..., 1] / 204.0, 0.01)) for f in (sharp, blurred)
    ]
    assert density[1].std() < 0.7 * density[0].std()
    assert density[1].mean() < density[0].mean()


# The field follows the panel


def test_the_number_of_cells_follows_the_count_and_the_film() -> None:
    expected = expected_red_cells_per_mm2(PANEL, 1.8)
    assert expected == pytest.approx(PANEL.rbc_1e12_per_l * 1800)
    density = []
    for seed in range(8):
        truth = field(seed=seed, smear=ONLY_RED, um_per_px=0.3).truth
        inside = [c for c in truth.cells if 0 <= c.x_px < 320 and 0 <= c.y_px < 240]
        density.append(len(inside) / truth.area_mm2)
    total = expected * 8 * truth.area_mm2
    assert np.mean(density) == pytest.approx(expected, rel=4 / math.sqrt(total))


@pytest.mark.parametrize(
    ("hgb", "mcv", "mchc"), [(60.0, 62.0, 280.0), (95.0, 110.0, 330.0), (165.0, 92.0, 345.0)]
)
def test_field_density_recovers_the_haemoglobin(hgb: float, mcv: float, mchc: float) -> None:
    panel = CBCPanel.from_indices(hgb_g_per_l=hgb, mcv_fl=mcv, mchc_g_per_l=mchc)
    coefficient = StainParameters().red_cell_od_rgb_per_pg_um2[1]
    found, cells = [], 0
    for seed in range(10):
        truth = field(panel, seed=seed, smear=ONLY_RED, um_per_px=0.38).truth
        # HGB (g/L = pg / 1000 um^3) x film thickness: pg/um^2.
        mean_density = float(-np.log10(truth.transmittance[..., 1]).mean())
        found.append(mean_density / coefficient / truth.film_thickness_um * 1000)
        cells += len(truth.of_kind("rbc"))
    assert np.mean(found) == pytest.approx(hgb, rel=4.5 / math.sqrt(cells))


def test_mean_cell_is_the_panels() -> None:
    rng = np.random.default_rng(8)
    panel = replace(PANEL, rdw_percent=16.0)
    cells = [shapes.red_cell(rng, panel, ONLY_RED) for _ in range(4000)]
    volumes = np.array([cell.volume_fl for cell in cells])
    assert volumes.mean() == pytest.approx(panel.mcv_fl, rel=0.01)
    assert volumes.std() / volumes.mean() == pytest.approx(0.16, rel=0.06)
    assert np.mean([c.haemoglobin_pg for c in cells]) == pytest.approx(panel.mch_pg, rel=0.01)


def test_large_cells_are_wide_and_pale_ones_have_more_pallor() -> None:
    def typical(mcv: float, mchc: float) -> tuple[float, float]:
        panel = CBCPanel.from_indices(hgb_g_per_l=120, mcv_fl=mcv, mchc_g_per_l=mchc)
        rng = np.random.default_rng(4)
        cells = [shapes.red_cell(rng, panel, ONLY_RED) for _ in range(300)]
        middle = np.mean([cell.profile[0] / cell.profile.max() for cell in cells])
        return float(np.mean([2 * cell.radius_um for cell in cells])), float(middle)

    normal, micro, macro = typical(90, 335), typical(62, 280), typical(118, 335)
    assert micro[0] < 7.0 < normal[0] < 8.0 < macro[0]
    assert micro[1] < normal[1] < macro[1]


def test_white_cells_and_platelets_come_in_proportion() -> None:
    panel = replace(PANEL, wbc_1e9_per_l=10.0, plt_1e9_per_l=300.0)
    smear = replace(ONLY_RED, white_cell_factor=8.0, platelet_factor=1.0)
    white = platelets = area = 0.0
    for seed in range(8):
        truth = field(panel, seed=seed, smear=smear, um_per_px=0.38).truth
        white += sum(0 <= c.x_px < 320 and 0 <= c.y_px < 240 for c in truth.of_kind("wbc"))
        platelets += sum(0 <= c.x_px < 320 and 0 <= c.y_px < 240 for c in truth.of_kind("platelet"))
        area += truth.area_mm2
    for found, expected in ((white, 10 * 1.8 * 8), (platelets, 300 * 1.8)):
        assert found == pytest.approx(expected * area, abs=4 * math.sqrt(expected * area))


def test_crowding_makes_cells_overlap() -> None:
    def share(crowding: float) -> float:
        smear = replace(ONLY_RED, crowding=crowding, clumping=0.0, film_thickness_um=1.4)
        cells = field(seed=1, smear=smear).truth.of_kind("rbc")
        return float(np.mean([cell.overlapped for cell in cells]))

    assert share(0.0) < 0.10 < 0.4 < share(1.0)


def test_boxes_enclose_what_is_drawn() -> None:
    truth = field(seed=5, smear=replace(ONLY_RED, poikilocyte_fraction=0.5)).truth
    boxes = np.zeros(truth.coverage.shape, bool)
    for cell in truth.cells:
        assert cell.x0 < cell.x_px < cell.x1 and cell.y0 < cell.y_px < cell.y1
        boxes[
            max(0, math.floor(cell.y0)) : max(0, math.ceil(cell.y1)),
            max(0, math.floor(cell.x0)) : max(0, math.ceil(cell.x1)),
        ] = True
    assert not (truth.coverage > 0)[~boxes].any()
    np.testing.assert_allclose(truth.transmittance[~boxes], 1.0)


def test_sample_factor_varies_little_and_field_factor_more() -> None:
    rng = np.random.default_rng(2)
    samples = [smear_of_sample(rng).film_thickness_um for _ in range(2000)]
    assert np.std(samples) / np.mean(samples) == pytest.approx(SAMPLE_THICKNESS_SD, rel=0.1)
    assert np.mean(samples) == pytest.approx(1.8, rel=0.01)
    fields = [
        field(seed=seed, width_px=16, height_px=16).truth.film_thickness_um for seed in range(150)
    ]
    assert np.std(fields) / np.mean(fields) == pytest.approx(FIELD_THICKNESS_SD, rel=0.25)


# Determinism, optics, sensor


def test_the_same_seed_gives_the_same_field_and_another_does_not() -> None:
    first, second, other = field(seed=3), field(seed=3), field(seed=4)
    np.testing.assert_array_equal(first.frame.pixels, second.frame.pixels)
    assert first.truth.cells == second.truth.cells
    assert not np.array_equal(first.frame.pixels, other.frame.pixels)


@given(na=st.floats(0.1, 1.4), z=st.floats(0, 50), more=st.floats(0.01, 10))
def test_defocus_radius_grows_with_z_and_aperture(na: float, z: float, more: float) -> None:
    optics = OpticsParameters(numerical_aperture=na, defocus_um=z)
    assert replace(optics, defocus_um=z + more).defocus_radius_um > optics.defocus_radius_um
    assert replace(optics, defocus_um=-z).defocus_radius_um == optics.defocus_radius_um
    if z > 0.01:
        wider = replace(optics, numerical_aperture=na + 0.01)
        assert wider.defocus_radius_um > optics.defocus_radius_um


def test_defocus_follows_the_aperture_cone() -> None:
    dry = OpticsParameters(numerical_aperture=0.6, immersion_index=1.0, defocus_um=-4.0)
    assert dry.defocus_radius_um == pytest.approx(4.0 * 0.75)


def test_sharpness_falls_with_defocus() -> None:
    specimen = draw_specimen(
        PANEL,
        rng=np.random.default_rng(1),
        width_px=200,
        height_px=200,
        um_per_px=0.2,
        parameters=SimulationParameters(),
        margin_px=40,
    )

    def gradient(z: float) -> float:
        taken = photograph(
            specimen,
            parameters=SimulationParameters(optics=OpticsParameters(defocus_um=z), sensor=QUIET),
            rng=np.random.default_rng(9),
        )
        green = taken.frame.pixels[..., 1].astype(float)
        return float((np.diff(green, axis=0) ** 2).mean())

    values = [gradient(z) for z in (0.0, 0.3, 0.6, 1.2, 2.4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.1 * values[0]


def test_light_is_uneven_as_asked_for() -> None:
    surface = illumination_surface(
        400, 300, OpticsParameters(vignette=0.3, lamp_rgb=(0.5, 1.0, 0.8))
    )
    assert surface[150, 200] == pytest.approx([0.5, 1.0, 0.8], abs=0.01)
    assert surface[0, 0, 1] == pytest.approx(0.7, abs=0.01)
    tilted = illumination_surface(400, 300, OpticsParameters(vignette=0.0, tilt_x=0.2))
    assert tilted[150, -1, 1] - tilted[150, 0, 1] == pytest.approx(0.4, abs=0.01)
    stopped = illumination_surface(400, 300, OpticsParameters(field_stop_radius=0.5))
    assert stopped[0, 0, 1] < 0.02 and stopped[150, 200, 1] > 0.9


def test_the_sensor_counts_photons() -> None:
    light = np.full((200, 200, 3), 1.0, np.float32)
    sensor = SensorParameters(background_level=0.5, full_well_e=5000.0, read_noise_e=10.0)
    pixels = sensed(light, sensor, np.random.default_rng(0)).astype(float)
    assert pixels.mean() == pytest.approx(127.5, abs=0.2)
    # Shot and read noise in counts, and that of rounding.
    expected = math.sqrt((2500 + 100) * (255 / 5000) ** 2 + 1 / 12)
    assert pixels.std() == pytest.approx(expected, rel=0.03)
    doubled = sensed(light, replace(sensor, gain=2.0), np.random.default_rng(0))
    assert doubled.mean() == pytest.approx(254, abs=1.5)
    balanced = sensed(light, replace(sensor, white_balance=(1.5, 0.5)), np.random.default_rng(0))
    np.testing.assert_allclose(balanced.mean(axis=(0, 1)), [191, 127.5, 64], atol=1)
    encoded = sensed(light, replace(sensor, gamma=2.0), np.random.default_rng(0))
    assert encoded.mean() == pytest.approx(255 * math.sqrt(0.5), abs=0.5)
    full = sensed(10 * light, sensor, np.random.default_rng(0))
    assert (full == 255).all()


def test_the_clear_field_is_what_illumination_and_exposure_say() -> None:
    taken = field(
        seed=1,
        smear=replace(ONLY_RED, film_thickness_um=0.05),
        sensor=replace(QUIET, background_level=0.6),
        optics=OpticsParameters(vignette=0.2),
    )
    far = taken.truth.coverage == 0
    far[taken.truth.transmittance.min(axis=2) < 0.999] = False
    ratio = taken.frame.pixels[far] / (255 * 0.6 * taken.truth.illumination[far])
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)


# Parameters


def test_every_problem_is_named_at_once() -> None:
    parameters = SimulationParameters(
        smear=SmearParameters(crowding=2.0, film_thickness_um=math.nan),
        optics=OpticsParameters(numerical_aperture=1.4, immersion_index=1.0),
        sensor=SensorParameters(white_balance=(1.0, -1.0)),
    )
    problems = parameters.validate()
    assert len(problems) == 4
    with pytest.raises(UsageError) as error:
        parameters.check()
    for name in ("crowding", "film_thickness_um", "numerical_aperture", "white_balance"):
        assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change", [{"width_px": 4}, {"height_px": 100_000}, {"um_per_px": 0.0}, {"um_per_px": 50.0}]
)
def test_impossible_geometry_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        field(**change)  # type: ignore[arg-type]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), um_per_px=st.floats(0.08, 0.6))
def test_randomised_fields_are_always_sound(seed: int, um_per_px: float) -> None:
    rng = np.random.default_rng(seed)
    drawn = randomised_parameters(rng)
    assert drawn.validate() == []
    taken = simulate_field(
        PANEL,
        rng=rng,
        width_px=96,
        height_px=80,
        um_per_px=um_per_px,
        smear=drawn.smear,
        stain=drawn.stain,
        optics=drawn.optics,
        sensor=drawn.sensor,
    )
    truth = taken.truth
    assert taken.frame.pixels.shape == truth.transmittance.shape == (80, 96, 3)
    assert np.isfinite(truth.transmittance).all() and np.isfinite(truth.illumination).all()
    assert truth.transmittance.min() >= 0 and truth.transmittance.max() <= 1


def test_edgehemo_does_not_load_the_simulation() -> None:
    code = "import edgehemo, sys; print([m for m in sys.modules if 'simulat' in m or m == 'cv2'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
