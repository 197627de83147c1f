"""The device configuration: what this device is, and how it is set up.

One TOML file of the schema ``edgehemo.device/1``; unknown keys are refused, because a mistyped
one would silently leave the default in force. First profiles lie in the package
``edgehemo_firmware``. Invalid values name all problems at once, each with its key.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from edgehemo.capture.protocol import SETTING_RANGES, CameraSettings
from edgehemo.capture.sources import CAMERA_SCHEMES, camera_spec
from edgehemo.errors import DeviceError, UsageError

DEVICE_SCHEMA: Literal["edgehemo.device/1"] = "edgehemo.device/1"
ENVIRONMENT_VARIABLE = "EDGEHEMO_DEVICE"
SYSTEM_PATH = Path("/etc/edgehemo/device.toml")
FALLBACK_PROFILE = "workstation"
# A device file is a page of text; more is not one.
MAX_FILE_BYTES = 100_000

Runtime = Literal["onnx", "openvino", "tflite"]
Precision = Literal["int8", "fp16", "fp32"]
Board = Literal["workstation", "raspberry_pi_4", "raspberry_pi_5"]
Language = Literal["en"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, strict=True)


class InferenceSection(_Section):
    """runtime and precision: which artefact of the bundle runs. threads: of the runtime.

    ``edgehemo bench`` chooses them on the board itself and writes them here.
    """

    runtime: Runtime = "onnx"
    precision: Precision = "int8"
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    memory_limit_mb: Annotated[int, Field(ge=256, le=262_144)] = 1024


class PathsSection(_Section):
    """data: records and reports, ``~`` and environment variables allowed, None = the user's data
    folder. bundle: None = the shipped one. profile: the calibration profile, None = none."""

    data: str | None = None
    bundle: str | None = None
    profile: str | None = None


class CameraSection(_Section):
    """source: what `edgehemo screen` takes (``uvc:/dev/video0``); None on a device without one.
    name: what its calibration profile calls it, where that is not what the camera calls itself.

    The settings are those of `CameraSettings`; None leaves the camera's own.
    """

    source: str | None = None
    name: Annotated[str | None, Field(min_length=1, max_length=80)] = None
    exposure_us: float | None = None
    gain: float | None = None
    red_gain: float | None = None
    blue_gain: Annotated[float | None, Field(validate_default=True)] = None
    white_balance_k: float | None = None
    focus_um: float | None = None

    @field_validator("source")
    @classmethod
    def _names_a_camera(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            named = camera_spec(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if named is None:
            raise ValueError(
                f"{value!r} is no camera; cameras are named {', '.join(CAMERA_SCHEMES.values())}"
            )
        return value

    @field_validator(*SETTING_RANGES)
    @classmethod
    def _in_range(cls, value: float | None, info: ValidationInfo) -> float | None:
        low, high = SETTING_RANGES[str(info.field_name)]
        if value is not None and not low <= value <= high:
            raise ValueError(f"{value:.10g} must lie in {low:.10g} to {high:.10g}")
        return value

    @field_validator("blue_gain")
    @classmethod
    def _gains_together(cls, value: float | None, info: ValidationInfo) -> float | None:
        if "red_gain" in info.data and (info.data["red_gain"] is None) != (value is None):
            raise ValueError("red_gain and blue_gain must be given together")
        return value

    def settings(self) -> CameraSettings:
        """The settings as a camera takes them."""
        return CameraSettings(**{name: getattr(self, name) for name in CameraSettings.names()})


class ScreeningSection(_Section):
    """fields_wanted: accepted fields of one sample. counting_error: instead of them, go on until
    the red count's relative 95 % error has fallen to this; None goes by the fields.
    calibration_expires_days: older parts of the profile have expired and results are withheld.
    control_expires_hours: likewise the last check of a control slide, where the profile has one; a
    day and the morning after."""

    fields_wanted: Annotated[int, Field(ge=1, le=200)] = 12
    counting_error: Annotated[float | None, Field(gt=0, lt=1)] = None
    calibration_expires_days: Annotated[int, Field(ge=1, le=3650)] = 90
    control_expires_hours: Annotated[int, Field(ge=1, le=24 * 366)] = 30


class KioskSection(_Section):
    """language: of the page and the report. port: on 127.0.0.1."""

    language: Language = "en"
    port: Annotated[int, Field(ge=1024, le=65_535)] = 8321


class DeviceConfiguration(_Section):
    """A whole device configuration; every key but ``schema``, ``name`` and ``board`` has a
    default."""

    schema_: Annotated[Literal["edgehemo.device/1"], Field(alias="schema")]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][\w .-]*$")]
    board: Board
    inference: Annotated[InferenceSection, Field(default_factory=InferenceSection)]
    paths: Annotated[PathsSection, Field(default_factory=PathsSection)]
    camera: Annotated[CameraSection, Field(default_factory=CameraSection)]
    screening: Annotated[ScreeningSection, Field(default_factory=ScreeningSection)]
    kiosk: Annotated[KioskSection, Field(default_factory=KioskSection)]

    @property
    def data_dir(self) -> Path:
        """Where records and reports lie; not made here."""
        if self.paths.data is None:
            import platformdirs

            return Path(platformdirs.user_data_dir("edgehemo", appauthor=False))
        return Path(os.path.expandvars(self.paths.data)).expanduser()

    @classmethod
    def parse(cls, text: str, origin: str) -> Self:
        """From TOML text; ``origin`` names it in messages. Raises DeviceError."""
        try:
            raw = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise DeviceError(f"{origin}: is no valid TOML ({error})") from None
        known = raw.get("schema")
        if isinstance(known, str) and known != DEVICE_SCHEMA:
            raise DeviceError(
                f"{origin}: is of schema {known!r}, this software reads {DEVICE_SCHEMA!r}"
            )
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
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
    if isinstance(path, str) and path in list_profiles():
        return load_profile(path)
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


def user_path() -> Path:
    """Where the user's own device configuration lies."""
    import platformdirs

    return Path(platformdirs.user_config_dir("edgehemo", appauthor=False)) / "device.toml"


def list_profiles() -> list[str]:
    """Names of the device profiles that are shipped."""
    return sorted(
        item.name.removesuffix(".toml")
        for item in importlib.resources.files("edgehemo_firmware").joinpath("devices").iterdir()
        if item.name.endswith(".toml")
    )


def load_profile(name: str) -> DeviceConfiguration:
    """A shipped device profile. Raises DeviceError, with the nearest name, for an unknown one."""
    known = list_profiles()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise DeviceError(f"no device profile is called {name!r}; {hint}")
    resource = importlib.resources.files("edgehemo_firmware").joinpath("devices", f"{name}.toml")
    return DeviceConfiguration.parse(resource.read_text("utf-8"), f"profile {name}")


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
        raise DeviceError(f"{file}: is no valid file name") from None
    if data is None:
        raise DeviceError(
            f"{file}: is larger than {MAX_FILE_BYTES // 1000} kB; it is no device configuration"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DeviceError(f"{file}: is no text in UTF-8") from None


def _all_problems(error: ValidationError, origin: str) -> str:
    """One line a problem: the key as it stands in the file, what is wrong, the nearest key."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            message = "is no known key" + _nearest_key(problem["loc"])
        elif problem["type"] == "missing":
            message = "is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            given = problem["input"]
            if isinstance(given, str | int | float) and str(given) not in message:
                message += f", not {given!r}"
        lines.append(f"{origin}: {place}: {message}")
    return "\n".join(lines)


def _nearest_key(place: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = DeviceConfiguration
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        section = None if field is None else field.annotation
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return ""
        model = section
    names = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(place[-1]), names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(names)}"
