"""The simulated microscope as a camera: settings act on pixels, faults fail, specifications."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.capture.hand_moved import FRAMES_PER_S, HandMovedMicroscope
from edgehemo.capture.protocol import Camera, CameraSettings, StagedCamera
from edgehemo.capture.simulated import (
    FAULTS,
    OPTIONS,
    SLIDES,
    SimulatedMicroscope,
    SimulatedOptions,
    format_simulated,
    parse_simulated,
)
from edgehemo.errors import CaptureError, EdgeHemoError, UsageError

SMALL = SimulatedOptions(seed=3, width_px=160, height_px=120, fields=4)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def camera(waits: list[float]) -> SimulatedMicroscope:
    microscope = SimulatedMicroscope(SMALL, sleep=waits.append)
    microscope.open()
    return microscope


def mean(camera: SimulatedMicroscope) -> np.ndarray:
    return np.asarray(camera.frame(5.0).pixels.mean(axis=(0, 1)))


def sharpness(camera: SimulatedMicroscope) -> float:
    green = camera.frame(5.0).pixels[..., 1].astype(float)
    return float((np.diff(green[::2, ::2], axis=1) ** 2).mean())


def test_it_is_a_camera_with_a_stage(camera: SimulatedMicroscope) -> None:
    assert isinstance(camera, Camera)
    assert isinstance(camera, StagedCamera)
    frame = camera.frame(5.0)
    assert frame.pixels.shape == (120, 160, 3)
    assert frame.metadata["simulated"] is True
    assert frame.metadata["exposure_us"] == 10_000.0
    assert frame.timestamp is not None and frame.timestamp.tzinfo is not None


def test_two_slides_of_one_seed_show_the_same(camera: SimulatedMicroscope) -> None:
    with SimulatedMicroscope(SMALL) as again:
        np.testing.assert_array_equal(again.frame(5.0).pixels, camera.frame(5.0).pixels)
        assert again.panel == camera.panel


def test_the_stage_shows_each_field_once_and_ends(camera: SimulatedMicroscope) -> None:
    seen = [camera.frame(5.0)]
    for _ in range(camera.options.fields - 1):
        camera.move_to_next_field()
        seen.append(camera.frame(5.0))
    assert len({frame.source for frame in seen}) == 4
    assert len({frame.pixels.tobytes() for frame in seen}) == 4
    with pytest.raises(CaptureError, match="no further one") as error:
        camera.move_to_next_field()
    assert error.value.action
    camera.move_to_field(0)
    assert camera.frame(5.0).source == seen[0].source


def test_one_place_stays_the_same_but_for_noise(camera: SimulatedMicroscope) -> None:
    first, second = camera.frame(5.0).pixels, camera.frame(5.0).pixels
    difference = first.astype(float) - second
    assert 0 < np.abs(difference).mean() < 4


def test_exposure_gain_and_white_balance_act_on_the_pixels(camera: SimulatedMicroscope) -> None:
    before = mean(camera)
    camera.apply(CameraSettings(exposure_us=5_000))
    np.testing.assert_allclose(mean(camera), before / 2, rtol=0.03)
    camera.apply(CameraSettings(gain=2.0))
    np.testing.assert_allclose(mean(camera), before, rtol=0.03)
    settings = camera.apply(CameraSettings(red_gain=0.5, blue_gain=2.0))
    assert settings.red_gain == 0.5 and settings.exposure_us == 5_000 and settings.gain == 2.0
    red, green, blue = mean(camera)
    assert red < 0.6 * green and blue > 1.2 * green


def test_the_focus_drive_has_its_best_place_at_zero(camera: SimulatedMicroscope) -> None:
    values = {}
    for z in (-1.5, -0.6, 0.0, 0.6, 1.5):
        assert camera.apply(CameraSettings(focus_um=z)).focus_um == pytest.approx(z)
        values[z] = sharpness(camera)
        assert camera.truth is not None and camera.truth.parameters.optics.defocus_um == (
            pytest.approx(z)
        )
    assert values[0.0] > values[0.6] > values[1.5]
    assert values[0.0] > values[-0.6] > values[-1.5]


def test_a_slide_may_start_out_of_focus() -> None:
    blurred = SimulatedMicroscope.from_spec("simulated:?seed=3&width=160&height=120&defocus_um=2")
    with blurred:
        start = sharpness(blurred)
        blurred.apply(CameraSettings(focus_um=0.0))
        assert sharpness(blurred) > 3 * start


@pytest.mark.parametrize(
    "settings",
    [
        CameraSettings(gain=40.0),
        CameraSettings(focus_um=500.0),
        CameraSettings(white_balance_k=5000.0),
    ],
)
def test_what_the_camera_cannot_do_is_refused(
    camera: SimulatedMicroscope, settings: CameraSettings
) -> None:
    with pytest.raises(CaptureError) as error:
        camera.apply(settings)
    assert error.value.code == "CAMERA_SETTING_REFUSED"
    assert next(iter(settings.given())) in str(error.value)


def test_settings_out_of_all_range_are_a_mistake(camera: SimulatedMicroscope) -> None:
    with pytest.raises(UsageError):
        camera.apply(CameraSettings(exposure_us=-1.0))


def test_a_closed_camera_gives_nothing() -> None:
    camera = SimulatedMicroscope(SMALL)
    for call in (lambda: camera.frame(1.0), lambda: camera.apply(CameraSettings(gain=1.0))):
        with pytest.raises(CaptureError, match="not open"):
            call()
    with camera:
        camera.frame(5.0)
    camera.close()
    with pytest.raises(CaptureError):
        camera.frame(1.0)


# Faults


def test_timeout_waits_for_the_deadline_and_no_longer(
    camera: SimulatedMicroscope, waits: list[float]
) -> None:
    camera.switch_on("timeout")
    with pytest.raises(CaptureError) as error:
        camera.frame(0.7)
    assert error.value.code == "CAMERA_TIMEOUT" and waits == [0.7]
    camera.switch_off("timeout")
    assert camera.frame(5.0).pixels.mean() > 50


def test_an_exposure_longer_than_the_deadline_times_out(
    camera: SimulatedMicroscope, waits: list[float]
) -> None:
    camera.apply(CameraSettings(exposure_us=900_000))
    with pytest.raises(CaptureError) as error:
        camera.frame(0.5)
    assert error.value.code == "CAMERA_TIMEOUT" and waits == [0.5]


def test_dark_is_a_lamp_that_is_off(camera: SimulatedMicroscope) -> None:
    camera.switch_on("dark")
    assert camera.frame(5.0).pixels.max() < 10
    camera.switch_off("dark")
    assert camera.frame(5.0).pixels.mean() > 50


def test_frozen_repeats_the_frame_though_the_stage_moves(camera: SimulatedMicroscope) -> None:
    first = camera.frame(5.0)
    camera.switch_on("frozen", frames=2)
    camera.move_to_next_field()
    for _ in range(2):
        np.testing.assert_array_equal(camera.frame(5.0).pixels, first.pixels)
    assert not np.array_equal(camera.frame(5.0).pixels, first.pixels)


def test_swapped_channels_exchange_red_and_blue(camera: SimulatedMicroscope) -> None:
    straight = mean(camera)
    camera.switch_on("swapped_channels")
    swapped = mean(camera)
    np.testing.assert_allclose(swapped, straight[::-1], atol=0.5)
    assert abs(straight[0] - straight[2]) > 1


def test_unplugged_stays_away_until_plugged_in(camera: SimulatedMicroscope) -> None:
    camera.switch_on("unplugged")
    with pytest.raises(CaptureError) as error:
        camera.frame(1.0)
    assert error.value.code == "CAMERA_UNPLUGGED"
    with pytest.raises(CaptureError) as error:
        camera.open()
    assert error.value.code == "CAMERA_NOT_FOUND"
    camera.switch_off("unplugged")
    camera.open()
    camera.frame(5.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_can_be_asked_for_in_the_specification(fault: str) -> None:
    spec = f"simulated:?width=64&height=64&fault={fault}"
    camera = SimulatedMicroscope(parse_simulated(spec), sleep=lambda seconds: None)
    try:
        with camera:
            pixels = camera.frame(1.0).pixels
    except CaptureError as error:
        assert fault in ("timeout", "unplugged") and error.action
    else:
        assert fault in ("dark", "frozen", "swapped_channels")
        assert (pixels.max() < 10) == (fault == "dark")


def test_a_fault_nobody_knows_is_refused(camera: SimulatedMicroscope) -> None:
    unknown: Any = "explosion"
    with pytest.raises(UsageError, match="timeout"):
        camera.switch_on(unknown)


# Bad fields


def test_bad_fields_are_bad_and_the_others_are_not() -> None:
    camera = SimulatedMicroscope.from_spec("simulated:?seed=1&fields=7&bad=3&width=320&height=240")
    kinds = [camera.bad_field(index) for index in range(7)]
    assert kinds[0] is None
    assert sorted(kind for kind in kinds if kind) == ["defocused", "empty", "underexposed"]
    with camera:
        good, seen = [], {}
        for index, kind in enumerate(kinds):
            camera.move_to_field(index)
            frame = camera.frame(5.0)
            assert camera.truth is not None
            measured = (
                float(np.quantile(frame.pixels, 0.95)),
                camera.truth.defocus_radius_um,
                len(camera.truth.of_kind("rbc")),
            )
            if kind is None:
                good.append(measured)
            else:
                seen[kind] = measured
    light, blur, count = np.array(good).T
    assert seen["underexposed"][0] < 0.4 * light.min()
    assert seen["defocused"][1] > 2.0 > blur.max() + 1.0
    assert seen["empty"][2] < 0.25 * count.min()


# Faults that come and go, and a slide that is moved by hand


def test_a_file_switches_faults_on_and_off_while_it_runs(tmp_path: Path) -> None:
    said = tmp_path / "faults"
    spec = f"simulated:?width=160&height=120&faults_from={said}"
    with SimulatedMicroscope.from_spec(spec) as camera:
        assert camera.frame(5.0).pixels.max() > 100
        said.write_text("dark")
        assert camera.frame(5.0).pixels.max() < 25
        assert camera.faults == {"dark"}
        said.write_text("unplugged\n")
        with pytest.raises(CaptureError, match="unplugged"):
            camera.frame(5.0)
        with pytest.raises(CaptureError, match="no such camera"):
            camera.open()
        said.unlink()
        camera.open()
        assert camera.frame(5.0).pixels.max() > 100
        said.write_text("drak")
        with pytest.raises(UsageError, match="did you mean dark"):
            camera.frame(5.0)


def test_a_hand_moves_the_slide_on_and_no_two_frames_are_the_same() -> None:
    at_s = [0.0]
    microscope = SimulatedMicroscope(replace(SMALL, hand_s=2.0, fields=2))
    hand = HandMovedMicroscope(
        microscope, clock=lambda: at_s[0], sleep=lambda s: at_s.__setitem__(0, at_s[0] + s)
    )
    with hand:
        frames = [hand.frame(5.0) for _ in range(round(5 * FRAMES_PER_S))]
    assert at_s[0] == pytest.approx(5.0, abs=0.1)
    assert isinstance(hand, Camera)
    assert not isinstance(hand, StagedCamera)
    for one, next_one in itertools.pairwise(frames):
        assert not np.array_equal(one.pixels, next_one.pixels)
    shown = [frame.source for frame in frames]
    assert shown == sorted(shown)
    assert [shown.count(source) for source in sorted(set(shown))] == pytest.approx([60, 90], abs=2)
    # Noise alone at rest; the smear itself on the way.
    changes = [
        float(np.abs(one.pixels.astype(float) - two.pixels).mean())
        for one, two in itertools.pairwise(frames)
    ]
    assert max(changes[:55]) < 4 < min(changes[61:70])


# Specifications

VALUES = {
    "seed": st.integers(0, 2**32 - 1),
    "fields": st.integers(5, 50),
    "bad": st.integers(0, 5),
    "um_per_px": st.floats(0.02, 2.0),
    "width_px": st.integers(64, 8192),
    "height_px": st.integers(64, 8192),
    "hgb_g_per_l": st.none() | st.floats(30, 205),
    "mcv_fl": st.none() | st.floats(40, 150),
    "mchc_g_per_l": st.none() | st.floats(200, 390),
    "defocus_um": st.floats(-60, 60),
    "fault": st.none() | st.sampled_from(FAULTS),
    "slide": st.sampled_from(SLIDES),
    "faults_from": st.none() | st.sampled_from(("/tmp/faults", "faults=on.txt")),
    "hand_s": st.floats(0, 600),
    "stain": st.floats(0.1, 4),
    "film_um": st.none() | st.floats(0.1, 9),
    "debris_per_mm2": st.floats(0, 20_000),
    "inclusions": st.floats(0, 1),
}


def taken(**options: Any) -> SimulatedMicroscope:
    """A microscope that has taken a picture of a slide of these options."""
    microscope = SimulatedMicroscope(replace(SMALL, **options))
    microscope.open()
    microscope.frame(5.0)
    return microscope


def test_more_dye_darkens_the_cells_and_not_the_glass() -> None:
    usual, more = taken(), taken(stain=2.5)
    assert usual.truth is not None and more.truth is not None
    glass = usual.truth.coverage == 0
    green, darker = usual.truth.transmittance[..., 1], more.truth.transmittance[..., 1]
    assert np.median(darker[glass]) == pytest.approx(np.median(green[glass]), abs=0.002)
    assert np.median(darker[~glass]) < 0.9 * np.median(green[~glass])


def test_a_slide_is_prepared_as_the_options_say() -> None:
    usual, thin = taken(), taken(film_um=0.3)
    assert usual.truth is not None and thin.truth is not None
    assert len(thin.truth.of_kind("rbc")) < 0.5 * len(usual.truth.of_kind("rbc"))
    assert not any(cell.inclusion for cell in usual.truth.cells)
    full = taken(inclusions=1.0)
    assert full.truth is not None
    assert all(cell.inclusion for cell in full.truth.of_kind("rbc"))
    assert taken(debris_per_mm2=20_000.0).parameters.smear.debris_per_mm2 == 20_000.0


@given(st.fixed_dictionaries(VALUES))
def test_a_specification_says_what_the_options_hold(values: dict[str, Any]) -> None:
    assert set(values) == {item.name for item in fields(SimulatedOptions)}
    options = SimulatedOptions(**values)
    assert parse_simulated(format_simulated(options)) == options


@given(st.text(max_size=40))
def test_any_text_gives_options_or_one_line(text: str) -> None:
    spec = "simulated:?" + text.replace("\n", " ")
    try:
        options = parse_simulated(spec)
    except EdgeHemoError as error:
        assert isinstance(error, UsageError)
        assert "\n" not in str(error)
    else:
        assert parse_simulated(format_simulated(options)) == options


@given(name=st.sampled_from(sorted(OPTIONS)), text=st.text(min_size=1, max_size=8))
def test_any_value_is_a_number_in_range_or_refused(name: str, text: str) -> None:
    try:
        options = parse_simulated(
            f"simulated:?fields=10000&{name}={text}"
            if name != "fields"
            else f"simulated:?{name}={text}"
        )
    except UsageError:
        return
    option = OPTIONS[name]
    assert option.low <= getattr(options, option.field) <= option.high


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("simulated:?sed=3", "did you mean seed?"),
        ("simulated:?defocus=1", "did you mean defocus_um?"),
        ("simulated:?zzzzzz=1", "known are"),
        ("simulated:?seed", "needs a value"),
        ("simulated:?seed=1&seed=2", "given twice"),
        ("simulated:?seed=1.5", "a whole number"),
        ("simulated:?hgb=1_00", "a number from 30 to 205"),
        ("simulated:?hgb=nan", "a number from"),
        ("simulated:?hgb=900", "not 900"),
        ("simulated:?fault=timout", "did you mean timeout?"),
        ("simulated:?fields=2&bad=3", "more than the slide's fields"),
        ("simulated:seed=3", "question mark"),
        ("uvc:/dev/video0", "simulated:"),
    ],
)
def test_a_mistake_is_named_in_one_line(spec: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_simulated(spec)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_blood_can_be_asked_for() -> None:
    camera = SimulatedMicroscope.from_spec("simulated:?hgb=82&mcv=65&mchc=290")
    assert camera.panel.hgb_g_per_l == pytest.approx(82)
    assert camera.panel.mcv_fl == pytest.approx(65)
    assert camera.panel.mchc_g_per_l == pytest.approx(290)
    assert camera.name == "simulated:?hgb=82.0&mcv=65.0&mchc=290.0"
