"""Settings that a laboratory may set on its kiosks: one table, and nothing else.

Nothing in it weakens what a result stands on or who learns of it: where a setting has a stricter
side, it can be set to that side alone. What comes is checked as the device checks its own file.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import field

from edgehemo.capture import LIVE_FIELDS
from edgehemo.device.changing import change_device, change_receiver
from edgehemo.device.configuration import DeviceConfiguration, ScreeningSection
from edgehemo.device.receivers import Receiver
from edgehemo.device.toml_editing import Value
from edgehemo.errors import DeviceError, PublicationError
from edgehemo.files.strict import Record, RecordError
from edgehemo.records.policy import RecordsSection

SETTINGS_SCHEMA: Literal["edgehemo.sent-settings/1"] = "edgehemo.sent-settings/1"
# How the receiver is called, in settings, that they came from: whatever it is called on a kiosk.
RECEIVER = "receiver"
Fits = Callable[[Value], bool]


@dataclass(frozen=True, slots=True)
class Settable:
    """One setting. about: what it is, for lists. fits: whether a value is on its strict side. must:
    what that side is, in words; empty where there is none.
    """

    about: str
    fits: Fits = lambda _: True
    must: str = ""


def _least(least: float) -> Fits:
    return lambda value: isinstance(value, int | float) and value >= least


def _most(most: float) -> Fits:
    return lambda value: isinstance(value, int | float) and value <= most


def _off(value: Value) -> bool:
    return value is False


_SCREENING, _RECORDS = ScreeningSection(), RecordsSection()

# Section and key of the device configuration; the section `RECEIVER` is the laboratory's own.
SETTABLE: Mapping[tuple[str, str], Settable] = {
    ("kiosk", "language"): Settable("language of pages and reports"),
    ("kiosk", "unit"): Settable("unit of haemoglobin"),
    ("kiosk", "altitude_m"): Settable("altitude of the site's people"),
    ("kiosk", "site"): Settable("code of the site"),
    ("kiosk", "theme"): Settable("light or dark pages"),
    ("kiosk", "paper"): Settable("paper of reports"),
    ("screening", "fields_wanted"): Settable(
        "accepted fields of a sample", _least(LIVE_FIELDS), f"{LIVE_FIELDS} or more"
    ),
    ("screening", "calibration_expires_days"): Settable(
        "age at which a calibration has expired",
        _most(_SCREENING.calibration_expires_days),
        f"{_SCREENING.calibration_expires_days} or less",
    ),
    ("screening", "control_expires_hours"): Settable(
        "age at which a control has expired",
        _most(_SCREENING.control_expires_hours),
        f"{_SCREENING.control_expires_hours} or less",
    ),
    ("records", "backup_every_hours"): Settable(
        "age at which a backup is asked for",
        _most(_RECORDS.backup_every_hours),
        f"{_RECORDS.backup_every_hours} or less",
    ),
    ("records", "warn_below_mb"): Settable(
        "free space below which the kiosk warns",
        _least(_RECORDS.warn_below_mb),
        f"{_RECORDS.warn_below_mb} or more",
    ),
    (RECEIVER, "withheld"): Settable(
        "what a sample without a result sends",
        lambda value: value == "report",
        "report, so that the laboratory sees what was withheld",
    ),
    (RECEIVER, "identified"): Settable("whether results come with names", _off, "false"),
    (RECEIVER, "pictures"): Settable("whether pictures come", _off, "false"),
    (RECEIVER, "simulated"): Settable("whether simulated results come", _off, "false"),
    (RECEIVER, "timeout_s"): Settable("how long an answer is waited for"),
}
# What stands for the receiver where settings are checked without a device.
_STANDS_IN = {"name": "laboratory", "kind": "laboratory", "address": "https://laboratory.example"}


class SentSettings(Record, frozen=True, kw_only=True):
    """Section -> key -> value, of `SETTABLE`."""

    schema: Literal["edgehemo.sent-settings/1"] = "edgehemo.sent-settings/1"
    values: dict[str, dict[str, str | int | float | bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if problems := problems_of(self.values):
            raise ValueError("; ".join(problems))


def problems_of(values: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """What is wrong with settings wherever they go, a phrase each."""
    if not any(values.values()):
        return ["nothing is set"]
    found = []
    for section, keys in values.items():
        for key, value in keys.items():
            rule = SETTABLE.get((section, key))
            if rule is None:
                found.append(f"{section}.{key} is not set from the laboratory")
            elif not rule.fits(value):
                found.append(f"{section}.{key} can only be {rule.must}")
    if found:
        return found
    try:
        Receiver.model_validate({**_STANDS_IN, **values.get(RECEIVER, {})})
        known = {name: dict(keys) for name, keys in values.items() if name != RECEIVER}
        DeviceConfiguration.model_validate(
            {"schema": "edgehemo.device/1", "name": "any", "board": "workstation", **known}
        )
    except RecordError as error:
        return [str(error)]
    return []


def settings_of_toml(text: str, origin: str) -> SentSettings:
    """Settings as a person writes them: sections and keys as in a device configuration, and
    ``[receiver]`` for the laboratory's. PublicationError with all that is wrong.
    """
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PublicationError(f"{origin}: is not valid TOML ({error})") from None
    return _checked({"values": values}, origin)


def settings_of(content: bytes, origin: str) -> SentSettings:
    """Settings of a package; PublicationError for anything that is none."""
    try:
        return _checked(msgspec.json.decode(content), origin)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PublicationError(f"{origin}: is damaged ({error})") from None


def _checked(value: object, origin: str) -> SentSettings:
    try:
        return SentSettings.model_validate(value)
    except RecordError as error:
        raise PublicationError(f"{origin}: {error}") from None


def in_force(device: DeviceConfiguration, receiver: str) -> dict[str, dict[str, Value]]:
    """What stands on a device under the keys of `SETTABLE`. receiver: the laboratory's name."""
    whole = device.model_dump()
    whole[RECEIVER] = next((each for each in whole["receivers"] if each["name"] == receiver), {})
    found: dict[str, dict[str, Value]] = {}
    for section, key in SETTABLE:
        if key in whole[section]:
            found.setdefault(section, {})[key] = whole[section][key]
    return found


def digest_of(device: DeviceConfiguration, receiver: str) -> str:
    """SHA-256 of what stands there: the same on two kiosks that are set alike. The site's own
    code, altitude and language are among it.
    """
    text = json.dumps(in_force(device, receiver), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def apply(
    values: Mapping[str, Mapping[str, Value]], device: DeviceConfiguration, receiver: str
) -> tuple[DeviceConfiguration, dict[str, dict[str, Value]]]:
    """Set them on this device: the configuration as it then is, and the values of before.

    PublicationError where the device's own file may not be written or does not take them; what was
    set already is then set back.
    """
    before_all = in_force(device, receiver)
    before = {
        section: {key: before_all.get(section, {}).get(key) for key in keys}
        for section, keys in values.items()
    }
    done: list[str] = []
    try:
        own = {name: keys for name, keys in values.items() if name != RECEIVER}
        if own:
            device = change_device(own)
            done = list(own)
        if values.get(RECEIVER):
            device = change_receiver(receiver, values[RECEIVER])
    except DeviceError as error:
        if done:
            change_device({name: before[name] for name in done})
        raise PublicationError(f"the settings cannot be set here: {error}") from None
    return device, before
