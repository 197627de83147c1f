"""What a calibration profile is, in a few phrases: for the doctor and `edgehemo calibrate show`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from edgehemo.control.history import ControlCheck
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import ProfileError, RecordsError
from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.records.controls import control_history
from edgehemo.records.store import Store

_SEALS = {
    "none": "not sealed",
    "sealed": "sealed, unchanged",
    "foreign": "sealed by a key that this device does not know",
    "broken": "EDITED by hand since it was sealed",
}


def profile_lines(
    profile: CalibrationProfile, path: Path, device: DeviceConfiguration, *, now: datetime
) -> list[str]:
    """Camera, scale, what was measured, samples and quality, expiry, last control, seal."""
    lines = [f"camera {profile.camera or 'not named'}", _scale(profile), _analyser(profile)]
    lines += _quality(profile)
    lines.append(_types(profile))
    lines.append(_expiry(profile, device, now))
    lines.append(_control(profile, path, device))
    lines.append(_SEALS[profile.seal_state])
    return lines


def _scale(profile: CalibrationProfile) -> str:
    if profile.scale is None:
        return "scale not measured"
    return f"scale {profile.scale.um_per_px:g} um/px ({profile.scale.method})"


def _analyser(profile: CalibrationProfile) -> str:
    analyser = profile.analyser
    if analyser is None:
        return "no analyser calibration: indices, no concentrations"
    said = f"{analyser.grade.upper() if analyser.grade == 'demonstration' else analyser.grade} on "
    said += f"{analyser.samples} samples of {analyser.made_at:%Y-%m-%d}"
    if analyser.pictures is not None:
        sizes = " or ".join(f"{width}x{height}" for width, height in analyser.pictures.sizes_px)
        low, high = analyser.pictures.um_per_px_low, analyser.pictures.um_per_px_high
        scales = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
        said += f", pictures of {sizes} px at {scales} um/px"
    return said


def _quality(profile: CalibrationProfile) -> list[str]:
    lines = []
    for item in profile.analyser.measurands if profile.analyser is not None else ():
        facts = MEASURAND_FACTS[item.measurand]
        lines.append(
            f"{facts.name} error {facts.with_unit(item.nested_mae)} "
            f"(saying the mean: {facts.shown(item.mean_only_mae)}), "
            f"95 % within {facts.with_unit(item.t95 * item.prediction_sd)}"
        )
    return lines


def _types(profile: CalibrationProfile) -> str:
    checked = profile.red_cell_types
    if checked is None:
        return "red-cell types not checked: no shares"
    return f"red-cell types: a person agreed with {checked.agreed} of {checked.shown}"


def _expiry(profile: CalibrationProfile, device: DeviceConfiguration, now: datetime) -> str:
    days = device.screening.calibration_expires_days
    dates = profile.expiring()
    if not dates:
        return "nothing in it expires"
    name, at = min(dates.items(), key=lambda item: item[1])
    ends = at + timedelta(days=days)
    word = "expired" if ends < now else "expires"
    return f"{name} {word} on {ends:%Y-%m-%d}"


def _control(profile: CalibrationProfile, path: Path, device: DeviceConfiguration) -> str:
    if not profile.controls:
        return "no control slide"
    try:
        records = control_history(Store.below(device.data_dir), profile, path)
        checks = [record for record in records if isinstance(record, ControlCheck)]
    except (ProfileError, RecordsError) as error:
        return str(error)
    if not checks:
        return "control slide never checked"
    last = checks[-1]
    return f"last control {last.at:%Y-%m-%d %H:%M} {'passed' if last.passed else 'failed'}"
