"""The calibration profile: what was measured of one microscope, loaded, validated, refused.

A profile is one JSON file. `edgehemo calibrate` writes and extends it; the device only reads it.
Every part is optional: what was not measured is estimated from the field, or withheld.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edgehemo.errors import ProfileError
from edgehemo.files.atomic import dump_json, write_bytes_atomically, write_text_atomically
from edgehemo.files.strict import Moment, Problem, Record, RecordError, Text
from edgehemo.guidance.withheld import NotGiven, not_given
from edgehemo.profile.analyser import AnalyserCalibration
from edgehemo.profile.parts import (
    ControlSlide,
    FocusReference,
    IlluminationCalibration,
    Measured,
    RedCellTypesCheck,
    Repeatability,
    ScaleCalibration,
    StainReference,
    each_once,
)
from edgehemo.profile.seal import Seal, SealState, seal_state, sealed_content

PROFILE_SCHEMA: Literal["edgehemo.profile/1"] = "edgehemo.profile/1"
PREVIOUS_SUFFIX = ".previous"
# A profile is some 100 kB; anything far larger is another file.
MAX_PROFILE_BYTES = 16 * 1024 * 1024
# Keys that profiles of before do not have: where they are null, the digest is as it was.
_ADDED_LATER = frozenset({"pictures", "seal", "fields_wanted", "red_cell_types"})


class CalibrationProfile(Record, frozen=True, kw_only=True):
    """One microscope, camera and objective, and what was measured of them.

    revision: counts the times the profile was extended. controls: its control slides; with one, a
    result needs a control check that passed and has not expired (`edgehemo.control.history`).
    seal: of everything else, by the machine that calibrated; see `edgehemo.profile.seal`.
    """

    schema: Literal["edgehemo.profile/1"] = PROFILE_SCHEMA
    microscope: str = ""
    camera: str = ""
    objective: str = ""
    created_at: Moment
    revision: Annotated[int, Meta(ge=1)] = 1
    software_version: Text
    scale: ScaleCalibration | None = None
    illumination: IlluminationCalibration | None = None
    stain: StainReference | None = None
    focus: FocusReference | None = None
    analyser: AnalyserCalibration | None = None
    repeatability: Repeatability | None = None
    red_cell_types: RedCellTypesCheck | None = None
    controls: tuple[ControlSlide, ...] = ()
    seal: Seal | None = None

    def __post_init__(self) -> None:
        if not each_once(slide.name for slide in self.controls):
            raise RecordError([Problem("controls", "a control slide occurs twice")])

    def flat_field_array(self) -> NDArray[np.float32] | None:
        """The measured flat field, float32 (rows, columns, 3) RGB counts, None without one."""
        return self.illumination.array() if self.illumination is not None else None

    def digest(self) -> str:
        """SHA-256 of the profile's content but its seal, whatever the file's layout."""
        unsealed = self.model_copy(update={"seal": None})
        content = _without_new_blanks(unsealed.checked().model_dump())
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def sealed(self) -> CalibrationProfile:
        """The profile with a seal by this machine's key; without one where no key can be kept."""
        return self.model_copy(update={"seal": sealed_content(self._sealed_content())})

    @property
    def seal_state(self) -> SealState:
        """Whether somebody changed the profile since it was sealed."""
        return seal_state(self._sealed_content(), self.seal)

    def _sealed_content(self) -> bytes:
        return f"edgehemo.profile-seal/1 {self.digest()}".encode("ascii")

    def dates(self) -> Iterator[datetime]:
        """Every date in it, none of which can lie in the future."""
        yield self.created_at
        for part in (
            self.scale,
            self.illumination,
            self.stain,
            self.focus,
            self.red_cell_types,
        ):
            if part is not None and part.measured_at is not None:
                yield part.measured_at
        if self.analyser is not None:
            yield self.analyser.made_at
        if self.repeatability is not None:
            yield self.repeatability.measured_at
        yield from (slide.established_at for slide in self.controls)

    def control(self, name: str) -> ControlSlide | None:
        """The control slide of a name, None where there is none."""
        return next((slide for slide in self.controls if slide.name == name), None)

    def expired(self, now: datetime, days: int) -> tuple[str, ...]:
        """The measured parts older than ``days`` at ``now`` (timezone-aware), by name."""
        return tuple(name for name, at in self._measured() if now - at > timedelta(days=days))

    def expiring(self) -> dict[str, datetime]:
        """When each part that ages was measured, by name."""
        return dict(self._measured())

    def _measured(self) -> Iterator[tuple[str, datetime]]:
        """Name and date of every part that ages; what was typed in does not."""
        parts: dict[str, Measured | None] = {
            "illumination": self.illumination,
            "stain": self.stain,
            "focus": self.focus,
        }
        if self.scale is not None and self.scale.method != "given":
            parts = {"scale": self.scale, **parts}
        for name, part in parts.items():
            if part is not None:
                yield name, part.measured_at or self.created_at
        if self.analyser is not None:
            yield "analyser", self.analyser.made_at

    def analyser_mismatch(self) -> NotGiven | None:
        """Why the analyser calibration does not hold with the rest of the profile, else None."""
        analyser = self.analyser
        if analyser is None:
            return None
        flat_field = self.illumination.digest() if self.illumination is not None else None
        if flat_field != analyser.flat_field_sha256:
            return not_given("FLAT_FIELD_CHANGED")
        scale = self.scale.um_per_px if self.scale is not None else None
        made_with = analyser.um_per_px
        if (scale is None) != (made_with is None) or (
            scale is not None
            and made_with is not None
            and not math.isclose(scale, made_with, rel_tol=1e-6)
        ):
            return not_given("SCALE_CHANGED")
        return None


def new_profile(
    created_at: datetime,
    *,
    software_version: str,
    microscope: str = "",
    camera: str = "",
    objective: str = "",
) -> CalibrationProfile:
    """An empty profile; ``created_at`` must know its time zone."""
    return CalibrationProfile(
        created_at=created_at,
        software_version=software_version,
        microscope=microscope,
        camera=camera,
        objective=objective,
    )


def load_profile(path: Path | str) -> CalibrationProfile:
    """Read and validate a profile.

    Raises ProfileError, one line that lists all problems at once, and names the last good
    profile where one lies beside it.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise ProfileError(f"{path}: too large for a calibration profile; is it another file?")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileError(
            f"{path}: no such profile; make one with `edgehemo calibrate`{_hint(path)}"
        ) from None
    except UnicodeDecodeError:
        raise ProfileError(
            f"{path}: not a calibration profile (not UTF-8 text){_hint(path)}"
        ) from None
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _parsed(text, path)


def save_profile(profile: CalibrationProfile, path: Path | str) -> None:
    """Write a profile atomically; a good one that stood there is kept as ``<name>.previous``.

    A damaged one never replaces the last good one. Raises ProfileError where it cannot be
    written, or would not be read again.
    """
    path = Path(path)
    try:
        text = dump_json(_without_new_blanks(profile.checked().model_dump()))
    except RecordError as error:
        raise ProfileError(f"{path}: not written, it would not be valid: {error}") from None
    try:
        if path.exists():
            try:
                load_profile(path)
            except ProfileError:
                pass
            else:
                write_bytes_atomically(previous_path(path), path.read_bytes())
        write_text_atomically(path, text)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written: {error.strerror or error}") from None


def previous_path(path: Path) -> Path:
    """Where the last good profile is kept."""
    return path.with_name(path.name + PREVIOUS_SUFFIX)


def _without_new_blanks(content: Any) -> Any:
    """A profile's values without the keys that came later and say nothing in it."""
    if isinstance(content, dict):
        return {
            key: _without_new_blanks(value)
            for key, value in content.items()
            if value is not None or key not in _ADDED_LATER
        }
    return [_without_new_blanks(item) for item in content] if isinstance(content, list) else content


def _parsed(text: str, path: Path) -> CalibrationProfile:
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        detail = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ProfileError(f"{path}: not valid JSON ({detail}){_hint(path)}") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: not a calibration profile (not a JSON object){_hint(path)}")
    schema = content.get("schema")
    if schema != PROFILE_SCHEMA:
        if isinstance(schema, str) and schema.startswith("edgehemo.profile/"):
            raise ProfileError(
                f"{path}: profile version {schema!r} is not known to this software "
                f"(it reads {PROFILE_SCHEMA!r}); update edgehemo or calibrate again{_hint(path)}"
            )
        raise ProfileError(
            f"{path}: not a calibration profile: schema is {str(schema)[:40]!r}, "
            f"not {PROFILE_SCHEMA!r}{_hint(path)}"
        )
    try:
        return CalibrationProfile.model_validate(content)
    except RecordError as error:
        raise ProfileError(f"{path}: invalid profile: {error}{_hint(path)}") from None


def _hint(path: Path) -> str:
    previous = previous_path(path)
    return f"; the last good one is {previous}" if previous.is_file() else ""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")
