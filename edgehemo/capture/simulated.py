"""The simulated microscope: a camera over a smear drawn from a blood count.

A slide is one panel and a seed. The stage goes from field to field; exposure, gain, white balance
and focus act on the pixels as they do on a real camera; faults can be switched on. Nothing it
shows is ever quoted as accuracy of the real thing.

Specification: ``simulated:`` or ``simulated:?seed=3&fields=8&hgb=95``; `OPTIONS` lists them all.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.protocol import (
    CameraSettings,
    OpenedByContext,
    capture_error,
    refused_settings,
)
from edgehemo.errors import UsageError
from edgehemo.images.frame import Frame
from edgehemo.simulation.field import FieldTruth, Specimen, draw_specimen, photograph
from edgehemo.simulation.panels import CBCPanel, draw_panel
from edgehemo.simulation.parameters import (
    OpticsParameters,
    SensorParameters,
    SimulationParameters,
    SmearParameters,
    smear_of_sample,
)
from edgehemo.simulation.targets import MARGIN_PX, empty_slide, ruled_slide

SCHEME = "simulated:"

Fault = Literal["timeout", "dark", "frozen", "swapped_channels", "unplugged"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
# What lies on the stage: a smear, a clean slide, a stage micrometer.
Slide = Literal["smear", "empty", "ruling"]
SLIDES: tuple[Slide, ...] = get_args(Slide)
# The micrometer's lines: their distance, and how far the slide is turned from place to place.
RULING_PITCH_UM, RULING_FIRST_DEG, RULING_TURN_DEG = 10.0, 3.0, 46.0
BadField = Literal["defocused", "empty", "underexposed"]
BAD_FIELDS: tuple[BadField, ...] = get_args(BadField)

# The exposure at which the clear field fills 70 % of the well at gain 1, as OpenFlexure sets it.
REFERENCE_EXPOSURE_US = 10_000.0
REFERENCE_LEVEL = 0.70
# A warm white LED; the gains that make its clear field grey.
LAMP_RGB = (0.92, 1.0, 0.80)
NEUTRAL_GAINS = (1.0 / LAMP_RGB[0], 1.0 / LAMP_RGB[2])
# What this camera's parts can do; beyond it a setting is refused.
GAIN_LIMITS = (1.0, 16.0)
FOCUS_LIMITS_UM = (-60.0, 60.0)
# The drive's and the gain's smallest steps, which the read-back shows.
FOCUS_STEP_UM = 0.05
GAIN_STEP = 1.0 / 256.0
_STEPS = {
    "exposure_us": 1.0,
    "gain": GAIN_STEP,
    "red_gain": GAIN_STEP,
    "blue_gain": GAIN_STEP,
    "focus_um": FOCUS_STEP_UM,
}

# Bad fields: far from focus, hardly any smear, a quarter of the light (dark, yet no camera fault).
BAD_DEFOCUS_UM = 2.0
BAD_THICKNESS_UM = 0.06
BAD_LIGHT = 0.22
# An operator stops rather where a white cell is seen.
WHITE_CELL_FACTOR = 3.0

# What more or less dye on the slide changes.
_DYES = (
    "eosin_od_per_pg_um2",
    "red_cell_azure_od_per_pg_um2",
    "nucleus_od",
    "cytoplasm_od",
    "platelet_od",
)

# How much apart the random streams of one slide are kept.
_STREAM_PANEL, _STREAM_FIELD, _STREAM_NOISE, _STREAM_BAD = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """What a specification can say.

    seed: the slide. fields: how many places the stage reaches. bad: how many of them are
    deliberately unusable. um_per_px, width_px, height_px: the camera. hgb_g_per_l, mcv_fl,
    mchc_g_per_l: of the blood, else drawn as in AneRBC. defocus_um: where the focus drive starts
    (best focus is 0). fault: switched on from the start. slide: what lies on the stage.
    faults_from: a file that names the faults that are on now, looked at before every frame: a
    camera can be pulled, and plugged in again, while a program runs. hand_s: a hand moves the slide
    on after so many seconds; 0, and a stage does it. stain: how much dye there is, over what is
    usual. film_um: how thick the smear was spread, None as usual. debris_per_mm2: stain deposits
    and dust. inclusions: share of the red cells that hold parasites or nuclear remnants.
    """

    seed: int = 0
    fields: int = 12
    bad: int = 0
    um_per_px: float = 0.2
    width_px: int = 640
    height_px: int = 480
    hgb_g_per_l: float | None = None
    mcv_fl: float | None = None
    mchc_g_per_l: float | None = None
    defocus_um: float = 0.0
    fault: Fault | None = None
    slide: Slide = "smear"
    faults_from: str | None = None
    hand_s: float = 0.0
    stain: float = 1.0
    film_um: float | None = None
    debris_per_mm2: float = 0.0
    inclusions: float = 0.0


@dataclass(frozen=True, slots=True)
class _Option:
    field: str
    low: float
    high: float
    whole: bool = False


# One row an option of the specification: the field it sets and its range.
OPTIONS: dict[str, _Option] = {
    "seed": _Option("seed", 0, 2**32 - 1, whole=True),
    "fields": _Option("fields", 1, 10_000, whole=True),
    "bad": _Option("bad", 0, 10_000, whole=True),
    "um_per_px": _Option("um_per_px", 0.02, 2.0),
    "width": _Option("width_px", 64, 8192, whole=True),
    "height": _Option("height_px", 64, 8192, whole=True),
    "hgb": _Option("hgb_g_per_l", 30.0, 205.0),
    "mcv": _Option("mcv_fl", 40.0, 150.0),
    "mchc": _Option("mchc_g_per_l", 200.0, 390.0),
    "defocus_um": _Option("defocus_um", *FOCUS_LIMITS_UM),
    "hand": _Option("hand_s", 0.0, 600.0),
    "stain": _Option("stain", 0.1, 4.0),
    "film_um": _Option("film_um", 0.1, 9.0),
    "debris": _Option("debris_per_mm2", 0.0, 20_000.0),
    "inclusions": _Option("inclusions", 0.0, 1.0),
}
# Options that are words, and which.
WORDS: dict[str, tuple[str, ...]] = {"fault": FAULTS, "slide": SLIDES}
# The option that names a file.
FILE_OPTION = "faults_from"
_NAMES = (*OPTIONS, *WORDS, FILE_OPTION)


def parse_simulated(spec: str) -> SimulatedOptions:
    """The options of ``simulated:?name=value&...``.

    Strict: raises UsageError, one line, for an unknown option (naming the nearest), one given
    twice, and a value that is no number or out of range.
    """
    if not spec.startswith(SCHEME):
        raise UsageError(f"{spec}: the simulated microscope is named {SCHEME}?option=value&...")
    query = spec[len(SCHEME) :]
    if query and not query.startswith("?"):
        raise UsageError(f"{spec}: options follow a question mark, such as {SCHEME}?seed=3")
    values: dict[str, Any] = {}
    for part in query[1:].split("&") if len(query) > 1 else []:
        name, equals, text = part.partition("=")
        if name not in _NAMES:
            raise UsageError(f"{spec}: {_unknown(name)}")
        if not equals:
            raise UsageError(f"{spec}: the option {name} needs a value, such as {name}=...")
        target = OPTIONS[name].field if name in OPTIONS else name
        if target in values:
            raise UsageError(f"{spec}: the option {name} is given twice")
        read = _value if name in OPTIONS else _word if name in WORDS else _file
        values[target] = read(name, text, spec)
    options = SimulatedOptions(**values)
    if options.bad > options.fields:
        raise UsageError(
            f"{spec}: bad={options.bad} is more than the slide's fields={options.fields}"
        )
    return options


def format_simulated(options: SimulatedOptions) -> str:
    """The shortest specification that `parse_simulated` turns into these options."""
    names = {option.field: name for name, option in OPTIONS.items()}
    default = SimulatedOptions()
    parts = [
        f"{names.get(item.name, item.name)}={getattr(options, item.name)}"
        for item in fields(options)
        if getattr(options, item.name) != getattr(default, item.name)
    ]
    return SCHEME + ("?" + "&".join(parts) if parts else "")


class SimulatedMicroscope(OpenedByContext):
    """A `Camera` and a `StagedCamera` over a simulated slide.

    panel: the blood on the slide. truth: of the last frame taken, None before the first.
    Everything but the timestamps follows from the options and the order of calls. ``sleep`` is
    what a frame that never comes waits with; tests pass their own.
    """

    def __init__(
        self,
        options: SimulatedOptions | None = None,
        *,
        panel: CBCPanel | None = None,
        parameters: SimulationParameters | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises UsageError for options that cannot be simulated.

        ``parameters`` are the smear's, stain's, optics' and sensor's; the camera's settings act
        on top of the optics' defocus and the sensor's background level, gain and white balance.
        """
        self.options = options or SimulatedOptions()
        rng = self._stream(_STREAM_PANEL)
        self.panel = panel or _panel(self.options, rng)
        base = _prepared(parameters or default_parameters(), self.options)
        self.parameters = replace(base, smear=smear_of_sample(rng, base.smear))
        self.parameters.check()
        self.truth: FieldTruth | None = None
        self._sleep = sleep
        self._open = False
        self._field = 0
        self._shots = 0
        self._faults: dict[Fault, int | None] = {}
        self._from_file: set[Fault] = set()
        self._specimen: tuple[int, Specimen] | None = None
        self._last: NDArray[np.uint8] | None = None
        self._settings = CameraSettings(
            exposure_us=REFERENCE_EXPOSURE_US,
            gain=1.0,
            red_gain=_stepped(NEUTRAL_GAINS[0], GAIN_STEP),
            blue_gain=_stepped(NEUTRAL_GAINS[1], GAIN_STEP),
            focus_um=_stepped(self.options.defocus_um, FOCUS_STEP_UM),
        )
        self._bad = _bad_fields(self.options, self._stream(_STREAM_BAD))
        if self.options.fault is not None:
            self.switch_on(self.options.fault)

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """From ``simulated:?...``; see `parse_simulated`."""
        return cls(parse_simulated(spec))

    @property
    def name(self) -> str:
        return format_simulated(self.options)

    @property
    def settings(self) -> CameraSettings:
        """What the camera reports."""
        return self._settings

    def open(self) -> None:
        self._follow_file()
        if self._fault("unplugged"):
            raise capture_error("CAMERA_NOT_FOUND", f"{self.name}: there is no such camera")
        self._open = True

    def close(self) -> None:
        self._open = False

    def apply(self, settings: CameraSettings) -> CameraSettings:
        """Set what is given and read back, in the steps of the camera's parts."""
        settings.validate()
        self._must_be_open()
        asked = settings.given()
        taken = self._settings.given()
        if "exposure_us" in asked:
            taken["exposure_us"] = float(round(asked["exposure_us"]))
        if "gain" in asked:
            taken["gain"] = _stepped(_bounded(asked["gain"], GAIN_LIMITS), GAIN_STEP)
        for name in ("red_gain", "blue_gain"):
            if name in asked:
                taken[name] = _stepped(asked[name], GAIN_STEP)
        if "focus_um" in asked:
            taken["focus_um"] = _stepped(
                _bounded(asked["focus_um"], FOCUS_LIMITS_UM), FOCUS_STEP_UM
            )
        # A real camera too keeps what it could take of a refused request.
        self._settings = CameraSettings(**taken)
        refused = refused_settings(settings, self._settings, _STEPS, tolerance=0.0)
        if refused:
            raise capture_error("CAMERA_SETTING_REFUSED", f"{self.name}: {'; '.join(refused)}")
        return self._settings

    def frame(self, deadline_s: float) -> Frame:
        """The field under the objective, as it now is: lamp, settings, faults."""
        self._follow_file()
        self._must_be_open()
        if self._fault("unplugged"):
            self._count_down("unplugged")
            self._open = False
            raise capture_error("CAMERA_UNPLUGGED", f"{self.name}: the camera was unplugged")
        exposure_us = self._settings.exposure_us or REFERENCE_EXPOSURE_US
        if self._fault("timeout") or exposure_us / 1e6 > deadline_s:
            self._count_down("timeout")
            self._sleep(max(0.0, deadline_s))
            raise capture_error("CAMERA_TIMEOUT", f"{self.name}: no frame within {deadline_s:g} s")
        pixels = self._last if self._fault("frozen") else None
        if pixels is None:
            pixels = self._taken()
        self._last = pixels
        self._count_down("frozen")
        self._count_down("dark")
        if self._fault("swapped_channels"):
            self._count_down("swapped_channels")
            pixels = np.ascontiguousarray(pixels[..., ::-1])
        metadata: dict[str, str | int | float | bool] = {
            "simulated": True,
            "field": self._field + 1,
            "um_per_px": self.options.um_per_px,
            **self._settings.given(),
        }
        return Frame(pixels, self._source(), datetime.now(UTC), metadata)

    def move_to_next_field(self) -> None:
        """Move the stage on; raises CaptureError at the slide's last field."""
        self.move_to_field(self._field + 1)

    def move_to_field(self, index: int) -> None:
        """Move the stage to a field, from 0; raises CaptureError where there is none."""
        if not 0 <= index < self.options.fields:
            raise capture_error(
                "SLIDE_ENDED",
                f"{self.name}: the slide has {self.options.fields} fields and no further one",
            )
        self._field = index

    def switch_on(self, fault: Fault, *, frames: int | None = None) -> None:
        """Switch a fault on, for the next ``frames`` frames or until `switch_off`."""
        if fault not in FAULTS:
            raise UsageError(f"no fault is called {fault!r}; known are {', '.join(FAULTS)}")
        if frames is None or frames > 0:
            self._faults[fault] = frames

    def switch_off(self, fault: Fault) -> None:
        """Switch a fault off; harmless where it is not on."""
        self._faults.pop(fault, None)

    @property
    def faults(self) -> frozenset[Fault]:
        """What is switched on now."""
        self._follow_file()
        return frozenset(self._faults)

    def bad_field(self, index: int) -> BadField | None:
        """What is deliberately wrong with a field, None for a good one."""
        return self._bad.get(index)

    def _taken(self) -> NDArray[np.uint8]:
        settings, base = self._settings, self.parameters
        bad = self.bad_field(self._field)
        exposure_us = settings.exposure_us or REFERENCE_EXPOSURE_US
        level = base.sensor.background_level * exposure_us / REFERENCE_EXPOSURE_US
        light = 1.0
        if bad == "underexposed":
            light = BAD_LIGHT
        if self._fault("dark"):
            light = 0.0
        z_um = base.optics.defocus_um + (settings.focus_um or 0.0)
        if bad == "defocused":
            z_um += BAD_DEFOCUS_UM
        parameters = replace(
            base,
            optics=replace(base.optics, defocus_um=_bounded(z_um, FOCUS_LIMITS_UM)),
            sensor=replace(
                base.sensor,
                background_level=min(50.0, level * light),
                gain=settings.gain or 1.0,
                white_balance=(settings.red_gain or 1.0, settings.blue_gain or 1.0),
            ),
        )
        self._shots += 1
        taken = photograph(
            self._placed(),
            parameters=parameters,
            rng=self._stream(_STREAM_NOISE, self._field, self._shots),
            source=self._source(),
        )
        self.truth = taken.truth
        return taken.frame.pixels

    def _placed(self) -> Specimen:
        """The place under the objective; drawn once while the stage stands."""
        if self.options.slide != "smear":
            return self._calibration_slide()
        if self._specimen is None or self._specimen[0] != self._field:
            parameters = self.parameters
            if self.bad_field(self._field) == "empty":
                empty = replace(parameters.smear, film_thickness_um=BAD_THICKNESS_UM)
                parameters = replace(parameters, smear=empty)
            drawn = draw_specimen(
                self.panel,
                rng=self._stream(_STREAM_FIELD, self._field),
                width_px=self.options.width_px,
                height_px=self.options.height_px,
                um_per_px=self.options.um_per_px,
                parameters=parameters,
                margin_px=MARGIN_PX,
            )
            self._specimen = (self._field, drawn)
        return self._specimen[1]

    def _calibration_slide(self) -> Specimen:
        """A clean slide, or a ruling that lies in another direction at each place."""
        if self._specimen is None or self._specimen[0] != self._field:
            options = self.options
            size = (options.width_px, options.height_px, options.um_per_px)
            if options.slide == "empty":
                drawn = empty_slide(*size)
            else:
                angle_deg = RULING_FIRST_DEG + RULING_TURN_DEG * self._field
                drawn = ruled_slide(*size, pitch_um=RULING_PITCH_UM, angle_deg=angle_deg)
            self._specimen = (self._field, drawn)
        return self._specimen[1]

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, *key])

    def _source(self) -> str:
        return f"{SCHEME}seed-{self.options.seed}-field-{self._field + 1:02d}"

    def _must_be_open(self) -> None:
        if not self._open:
            raise capture_error("CAMERA_NOT_FOUND", f"{self.name}: the camera is not open")

    def _fault(self, fault: Fault) -> bool:
        return fault in self._faults

    def _follow_file(self) -> None:
        """Switch on and off what the file of faults says; one that is not there says none."""
        if self.options.faults_from is None:
            return
        try:
            words = Path(self.options.faults_from).read_text(encoding="utf-8").split()
        except OSError:
            words = []
        named = {cast(Fault, _word("fault", word, self.name)) for word in words}
        for fault in named - self._from_file:
            self.switch_on(fault)
        for fault in self._from_file - named:
            self.switch_off(fault)
        self._from_file = named

    def _count_down(self, fault: Fault) -> None:
        left = self._faults.get(fault)
        if left is None:
            return
        if left <= 1:
            self.switch_off(fault)
        else:
            self._faults[fault] = left - 1


def default_parameters() -> SimulationParameters:
    """The smear, optics and sensor of the simulated microscope where nothing else is asked for."""
    return SimulationParameters(
        smear=SmearParameters(white_cell_factor=WHITE_CELL_FACTOR),
        optics=OpticsParameters(lamp_rgb=LAMP_RGB, vignette=0.10, tilt_x=0.03, tilt_y=-0.02),
        sensor=SensorParameters(background_level=REFERENCE_LEVEL),
    )


def _panel(options: SimulatedOptions, rng: np.random.Generator) -> CBCPanel:
    drawn = draw_panel(rng, hgb_g_per_l=options.hgb_g_per_l)
    if options.mcv_fl is None and options.mchc_g_per_l is None:
        return drawn
    return CBCPanel.from_indices(
        hgb_g_per_l=drawn.hgb_g_per_l,
        mcv_fl=options.mcv_fl or drawn.mcv_fl,
        mchc_g_per_l=options.mchc_g_per_l or drawn.mchc_g_per_l,
        wbc_1e9_per_l=drawn.wbc_1e9_per_l,
        plt_1e9_per_l=drawn.plt_1e9_per_l,
    )


def _prepared(base: SimulationParameters, options: SimulatedOptions) -> SimulationParameters:
    """The smear and its stain as the options have them; as they are where these say nothing."""
    smear, stain = base.smear, base.stain
    if options.film_um is not None:
        smear = replace(smear, film_thickness_um=options.film_um)
    if options.debris_per_mm2:
        smear = replace(smear, debris_per_mm2=options.debris_per_mm2)
    if options.inclusions:
        smear = replace(smear, inclusion_fraction=options.inclusions)
    if options.stain != 1.0:
        dyes = {name: getattr(stain, name) * options.stain for name in _DYES}
        stain = replace(stain, **dyes)
    return replace(base, smear=smear, stain=stain)


def _bad_fields(options: SimulatedOptions, rng: np.random.Generator) -> dict[int, BadField]:
    """Which fields are bad and how; the first is spared while others are left."""
    first = 1 if options.bad < options.fields else 0
    chosen = rng.permutation(np.arange(first, options.fields))[: options.bad]
    return {
        int(index): BAD_FIELDS[place % len(BAD_FIELDS)]
        for place, index in enumerate(sorted(chosen.tolist()))
    }


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.4)
    if near:
        return f"no option {name!r}; did you mean {near[0]}?"
    return f"no option {name!r}; known are {', '.join(_NAMES)}"


def _value(name: str, text: str, spec: str) -> int | float:
    option = OPTIONS[name]
    kind = "a whole number" if option.whole else "a number"
    bounds = f"{kind} from {option.low:g} to {option.high:.10g}"
    # int() and float() also read what nobody means here: underscores, blanks, "infinity".
    try:
        if not text.isascii() or "_" in text or text != text.strip():
            raise ValueError
        value = int(text) if option.whole else float(text)
    except ValueError:
        raise UsageError(f"{spec}: {name} must be {bounds}, not {text!r}") from None
    if not (math.isfinite(value) and option.low <= value <= option.high):
        raise UsageError(f"{spec}: {name} must be {bounds}, not {text}")
    return value


def _word(name: str, text: str, spec: str) -> str:
    known = WORDS[name]
    if text in known:
        return text
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.4)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    raise UsageError(f"{spec}: no {name} {text!r}; {meant}")


def _file(name: str, text: str, spec: str) -> str:
    if not text:
        raise UsageError(f"{spec}: {name} names a file, and none is named")
    return text


def _stepped(value: float, step: float) -> float:
    return round(value / step) * step


def _bounded(value: float, limits: tuple[float, float]) -> float:
    return min(limits[1], max(limits[0], value))
