"""The device configuration: what this device is, and how it is set up.

One TOML file of the schema ``edgehemo.device/1``; unknown keys are refused, because a mistyped
one would silently leave the default in force. What serves where there is no file, and profiles to
begin with, are found by `edgehemo.device.named_profiles`. Invalid values name all problems at
once, each with its key; what must agree between keys is told once each is right by itself.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Self, TypedDict

import msgspec
from msgspec import Meta, field

from edgehemo.bundle.manifest import (
    DEFAULT_FORMAT,
    DEFAULT_PRECISION,
    ArtefactFormat,
    Precision,
)
from edgehemo.capture import LIVE_FIELDS
from edgehemo.capture.protocol import SETTING_RANGES, CameraSettings
from edgehemo.capture.sources import CAMERA_SCHEMES, camera_spec
from edgehemo.device.named_profiles import FALLBACK_PROFILE, profile_names, profile_text
from edgehemo.device.receivers import MAX_RECEIVERS, Receiver, doubled_names
from edgehemo.device.toml_editing import Value, with_values
from edgehemo.errors import DeviceError, UsageError
from edgehemo.files.folders import SYSTEM_FOLDER, user_folder
from edgehemo.files.strict import Record, RecordError, keys_of
from edgehemo.records.policy import RecordsSection
from edgehemo.report.paper import Paper
from edgehemo.words.language import LANGUAGES_FOLDER, Language, Unit, Words

DEVICE_SCHEMA: Literal["edgehemo.device/1"] = "edgehemo.device/1"
ENVIRONMENT_VARIABLE = "EDGEHEMO_DEVICE"
SYSTEM_PATH = SYSTEM_FOLDER / "device.toml"
# A device file is a page of text; more is not one.
MAX_FILE_BYTES = 100_000

# Where people live whose haemoglobin can be adjusted; the last is not among them.
ALTITUDE_RANGE_M = (-450, 5000)

Board = Literal["workstation", "raspberry_pi_4", "raspberry_pi_5", "raspberry_pi_zero_2_w"]
Theme = Literal["light", "dark"]


def _wrong_camera_name(value: str) -> list[str]:
    try:
        named = camera_spec(value)
    except UsageError as error:
        return [str(error)]
    if named is None:
        known = ", ".join(CAMERA_SCHEMES.values())
        return [f"source: {value!r} is not a camera; cameras are named {known}"]
    return []


def _setting(name: str) -> Meta:
    """The range of a camera's setting."""
    low, high = SETTING_RANGES[name]
    return Meta(ge=low, le=high)


class ModelOpening(TypedDict):
    """How a model is opened: the keywords of everything that opens one."""

    threads: int
    runtime: ArtefactFormat
    precision: Precision


class InferenceSection(Record, frozen=True, kw_only=True):
    """runtime and precision: which artefact of the bundle runs. threads: CPU threads of the
    runtime. memory_limit_mb: what edgehemo may take of this board's memory, in MB.

    ``edgehemo bench`` chooses them on the board itself and writes them here.
    """

    runtime: ArtefactFormat = DEFAULT_FORMAT
    precision: Precision = DEFAULT_PRECISION
    threads: Annotated[int, Meta(ge=1, le=64)] = 2
    memory_limit_mb: Annotated[int, Meta(ge=256, le=262_144)] = 1024

    def opening(self) -> ModelOpening:
        """What every model is opened with."""
        return {"threads": self.threads, "runtime": self.runtime, "precision": self.precision}


class PathsSection(Record, frozen=True, kw_only=True):
    """data: records and reports, ``~`` and environment variables allowed, None = the user's data
    folder. bundle: None = the shipped one. profile: the calibration profile, None = none.
    """

    data: str | None = None
    bundle: str | None = None
    profile: str | None = None


class CameraSection(Record, frozen=True, kw_only=True):
    """source: what `edgehemo screen` takes (``uvc:/dev/video0``); None on a device without one.
    name: what its calibration profile calls it, where that is not what the camera calls itself.

    The settings are those of `CameraSettings`; None leaves the camera's own.
    """

    source: str | None = None
    name: Annotated[str, Meta(min_length=1, max_length=80)] | None = None
    exposure_us: Annotated[float, _setting("exposure_us")] | None = None
    gain: Annotated[float, _setting("gain")] | None = None
    red_gain: Annotated[float, _setting("red_gain")] | None = None
    blue_gain: Annotated[float, _setting("blue_gain")] | None = None
    white_balance_k: Annotated[float, _setting("white_balance_k")] | None = None
    focus_um: Annotated[float, _setting("focus_um")] | None = None

    def __post_init__(self) -> None:
        wrong = [] if self.source is None else _wrong_camera_name(self.source)
        if (self.red_gain is None) != (self.blue_gain is None):
            wrong.append("red_gain and blue_gain must be given together")
        if wrong:
            raise ValueError("; ".join(wrong))

    def settings(self) -> CameraSettings:
        """The settings as a camera takes them."""
        return CameraSettings(**{name: getattr(self, name) for name in CameraSettings.names()})


class ScreeningSection(Record, frozen=True, kw_only=True):
    """fields_wanted: accepted fields of one sample. counting_error: instead of them, go on until
    the red count's relative 95 % error has fallen to this; None goes by the fields.
    calibration_expires_days: older parts of the profile have expired and results are withheld.
    control_expires_hours: likewise the last check of a control slide, where the profile has one; a
    day and the morning after. anaemia_screen: run the anaemia screen on every accepted field, which
    costs more time than its cells do.
    """

    fields_wanted: Annotated[int, Meta(ge=1, le=200)] = LIVE_FIELDS
    counting_error: Annotated[float, Meta(gt=0, lt=1)] | None = None
    calibration_expires_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    control_expires_hours: Annotated[int, Meta(ge=1, le=24 * 366)] = 30
    anaemia_screen: bool = False


# An address with its port, such as ``192.168.1.20:8443`` or ``[::]:8443``; a name as a browser
# sends it, in small letters.
_LISTEN = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-fA-F:.]+\]):[1-9][0-9]{1,4}\Z"
_HOST_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z"
FileName = Annotated[str, Meta(min_length=1, max_length=1000)]


class KioskSection(Record, frozen=True, kw_only=True):
    """language: of the page and the report. port: on 127.0.0.1. site: where it stands, a code and
    no address; it is on every result. unit: of haemoglobin. altitude_m: of the people of this site,
    metres above the sea. px_per_mm: how many pixels a millimetre of the screen has: 5.6 of 7 inches
    with 800x480, 5.9 of 10.1 inches with 1280x800. theme: light for bright rooms. stick: a folder
    that stands for the USB stick, on a workstation; ``~`` and environment variables allowed, None =
    the sticks that are plugged in. printer: of reports, as CUPS calls it, None = CUPS's own
    default. paper: of reports: two or more sheets with their pictures, one sheet, or a roll of 80
    mm.

    listen: address and port at which the page is served beyond this device, by TLS; None, and it is
    not. tls_certificate, tls_key: files in PEM, which it asks for. token: a file with the word that
    each browser is asked for once, likewise. names: what browsers call this device there.
    """

    language: Language = "en"
    port: Annotated[int, Meta(ge=1024, le=65_535)] = 8321
    site: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w .-]{0,63}\Z")] | None = None
    unit: Unit = "g/L"
    altitude_m: Annotated[float, Meta(ge=ALTITUDE_RANGE_M[0], lt=ALTITUDE_RANGE_M[1])] = 0.0
    px_per_mm: Annotated[float, Meta(ge=2, le=30)] = 5.6
    theme: Theme = "light"
    stick: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    printer: Annotated[str, Meta(pattern=r"^[^\s/#-][^\s/#]{0,126}\Z")] | None = None
    paper: Paper = "a4"
    listen: Annotated[str, Meta(pattern=_LISTEN)] | None = None
    names: tuple[Annotated[str, Meta(pattern=_HOST_NAME)], ...] = ()
    tls_certificate: FileName | None = None
    tls_key: FileName | None = None
    token: FileName | None = None


class DeviceConfiguration(Record, frozen=True, kw_only=True):
    """A whole device configuration; every key but ``schema``, ``name`` and ``board`` has a
    default.
    """

    schema: Literal["edgehemo.device/1"]
    name: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9][\w .-]*\Z")]
    board: Board
    inference: InferenceSection = field(default_factory=InferenceSection)
    paths: PathsSection = field(default_factory=PathsSection)
    camera: CameraSection = field(default_factory=CameraSection)
    screening: ScreeningSection = field(default_factory=ScreeningSection)
    kiosk: KioskSection = field(default_factory=KioskSection)
    records: RecordsSection = field(default_factory=RecordsSection)
    receivers: Annotated[tuple[Receiver, ...], Meta(max_length=MAX_RECEIVERS)] = ()

    def __post_init__(self) -> None:
        if doubled := list(doubled_names(self.receivers)):
            raise RecordError(doubled)

    @property
    def data_dir(self) -> Path:
        """Where records and reports lie; not made here."""
        if self.paths.data is None:
            return user_folder("data")
        return Path(os.path.expandvars(self.paths.data)).expanduser()

    @property
    def words(self) -> Words:
        """Language and unit of this device's reports, with the words that were installed here."""
        if (self.data_dir / LANGUAGES_FOLDER).is_dir():
            # Where none were installed nobody waits for what checks them.
            from edgehemo.device.installed_languages import LanguageStore  # noqa: PLC0415

            LanguageStore(self.data_dir).use()
        return Words(self.kiosk.language, self.kiosk.unit)

    @classmethod
    def parse(cls, text: str, origin: str) -> Self:
        """From TOML text; ``origin`` names it in messages. Raises DeviceError."""
        try:
            raw = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise DeviceError(f"{origin}: is not valid TOML ({error})") from None
        known = raw.get("schema")
        if isinstance(known, str) and known != DEVICE_SCHEMA:
            raise DeviceError(
                f"{origin}: is of schema {known!r}, this software reads {DEVICE_SCHEMA!r}"
            )
        try:
            return cls.model_validate(raw)
        except RecordError as error:
            raise DeviceError(_all_problems(error, origin)) from None


def load_device(path: Path | str | None = None) -> DeviceConfiguration:
    """The device configuration of a file, or of this device.

    Without ``path`` the first of these that exists: the file that EDGEHEMO_DEVICE names,
    /etc/edgehemo/device.toml, the user's configuration folder, and the workstation profile.
    A name that `list_profiles` gives stands for that profile. Raises DeviceError with one line a
    problem, all at once.
    """
    if path is None:
        found = configured_path()
        return load_profile(FALLBACK_PROFILE) if found is None else load_device(found)
    if path == FALLBACK_PROFILE or (isinstance(path, str) and path in list_profiles()):
        return load_profile(str(path))
    file = Path(path)
    return DeviceConfiguration.parse(_read(file), str(file))


def configured_path() -> Path | None:
    """The file that configures this device, None where the fallback profile does.

    EDGEHEMO_DEVICE counts even where its file is missing: that is an error to be told, not to be
    passed over.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named)
    for candidate in (SYSTEM_PATH, user_path()):
        if candidate.exists():
            return candidate
    return None


@contextmanager
def configured_by(file: Path) -> Iterator[None]:
    """Have another file configure this device, in this process and those that it starts."""
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    os.environ[ENVIRONMENT_VARIABLE] = str(file)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(ENVIRONMENT_VARIABLE, None)
        else:
            os.environ[ENVIRONMENT_VARIABLE] = before


def user_path() -> Path:
    """Where the user's own device configuration lies."""
    return user_folder("config") / "device.toml"


def list_profiles() -> list[str]:
    """Names of the device profiles that this package and those beside it offer."""
    return profile_names()


def load_profile(name: str) -> DeviceConfiguration:
    """A named device profile. Raises DeviceError, with the nearest name, for an unknown one."""
    return DeviceConfiguration.parse(profile_text(name), f"profile {name}")


def _read(file: Path) -> str:
    try:
        if not file.is_file():
            raise DeviceError(
                f"{file}: there is no such device configuration; profiles are "
                f"{', '.join(list_profiles())}"
            )
        data = file.read_bytes() if file.stat().st_size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise DeviceError(f"{file}: cannot be opened ({error.strerror or error})") from None
    except ValueError:
        raise DeviceError(f"{file}: is not a valid file name") from None
    if data is None:
        raise DeviceError(
            f"{file}: is larger than {MAX_FILE_BYTES // 1000} kB, too large for a device "
            "configuration"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DeviceError(f"{file}: is not UTF-8 text") from None


def _all_problems(error: RecordError, origin: str) -> str:
    """One line a problem: the key as it stands in the file, what is wrong, the nearest key."""
    lines = []
    for problem in error.problems:
        message = problem.message
        if problem.unknown:
            message += _nearest_key(problem.place)
        elif isinstance(problem.given, str | int | float) and str(problem.given) not in message:
            message += f", not {problem.given!r}"
        lines.append(f"{origin}: {problem.place}: {message}")
    return "\n".join(lines)


def _nearest_key(place: str) -> str:
    section, _, key = place.rpartition(".")
    kinds = {item.encode_name: item.type for item in msgspec.structs.fields(DeviceConfiguration)}
    if section.startswith("receivers["):
        names = keys_of(Receiver)
    else:
        names = keys_of(kinds[section] if section else DeviceConfiguration)
    near = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(names)}"


def with_inference(
    text: str, *, runtime: ArtefactFormat, precision: Precision, threads: int
) -> str:
    """A device configuration's TOML with its [inference] set; all else, comments too, stays."""
    values: dict[str, Value] = {"runtime": runtime, "precision": precision, "threads": threads}
    return with_values(text, {"inference": values})
