"""The camera's settings as a page turns them: how far a touch goes, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgehemo.capture.protocol import SETTING_RANGES, CameraSettings
from edgehemo.words.language import Words


@dataclass(frozen=True, slots=True)
class Step:
    """How a touch changes a setting: by a factor, or where it has none by an amount, in the
    setting's unit. decimals: how it is shown.
    """

    factor: float | None
    amount: float
    decimals: int
    unit: str


# One row a setting that the page turns, in the order it shows them. A USB camera counts its gain in
# whole steps, so the least change of a gain is what one of them may be.
STEPS: Mapping[str, Step] = {
    "exposure_us": Step(1.1, 100.0, 0, "µs"),
    "gain": Step(1.1, 0.1, 2, "×"),
    "red_gain": Step(1.05, 0.02, 2, "×"),
    "blue_gain": Step(1.05, 0.02, 2, "×"),
    "white_balance_k": Step(None, 100.0, 0, "K"),
    "focus_um": Step(None, 0.5, 1, "µm"),
}
# From this value on a gain is a USB camera's own, in whole steps.
_WHOLE_GAIN_FROM = 16.0


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting of a camera. kept: whether it is no trial."""

    name: str
    called: str
    value: str
    unit: str
    low: str
    high: str
    kept: bool
    at_low: bool
    at_high: bool


def setting_name(words: Words, name: str) -> str:
    """What a setting is called."""
    _ = words._
    return {
        "exposure_us": _("Exposure"),
        "gain": _("Gain"),
        "red_gain": _("Red"),
        "blue_gain": _("Blue"),
        "white_balance_k": _("White balance"),
        "focus_um": _("Focus drive"),
    }[name]


def setting_rows(now: CameraSettings, tried: CameraSettings, words: Words) -> list[SettingRow]:
    """The settings that the camera has. now: as it says. tried: what is not kept yet."""
    given, trial = now.given(), tried.given()
    rows = []
    for name, step in STEPS.items():
        if name not in given:
            continue
        value = given[name]
        low, high = SETTING_RANGES[name]
        rows.append(
            SettingRow(
                name,
                setting_name(words, name),
                words.number(value, step.decimals),
                step.unit,
                words.number(low, step.decimals),
                words.number(high, step.decimals),
                name not in trial,
                value <= low,
                value >= high,
            )
        )
    return rows


def stepped(name: str, value: float, up: bool) -> float:
    """A setting one touch further, within its range."""
    step = STEPS[name]
    low, high = SETTING_RANGES[name]
    amount = step.amount
    if step.factor is not None:
        # A factor, and never less than the least change.
        amount = max(amount, value * (step.factor - 1.0))
    if name == "gain" and value >= _WHOLE_GAIN_FROM:
        amount = max(1.0, round(amount))
    wanted = value + amount if up else value - amount
    return round(min(high, max(low, wanted)), step.decimals)


def typed_number(text: str) -> float | None:
    """A number as people type it, with a point or a comma; None where it is none."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def with_partner(settings: CameraSettings, now: CameraSettings) -> CameraSettings:
    """The settings, the gains of red and blue together, as a camera takes them. now: what it
    has.
    """
    if (settings.red_gain is None) == (settings.blue_gain is None):
        return settings
    other = CameraSettings(red_gain=now.red_gain, blue_gain=now.blue_gain)
    return other.overlaid(settings)
