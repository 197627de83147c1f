"""What a laboratory is set up as: a folder, and ``laboratory.toml`` in it.

Without the file everything has a default: SQLite and pictures in the folder, this machine's name.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edgehemo.device.receivers import Receiver, is_loopback
from edgehemo.files.folders import user_folder
from edgehemo.files.strict import Problem, Record, RecordError
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.errors import LaboratoryError

ENVIRONMENT_VARIABLE = "EDGEHEMO_LABORATORY"
FILE = "laboratory.toml"
PORT = 8443
# Where Prometheus may ask: this machine alone.
METRICS = "127.0.0.1:9464"
_AT = re.compile(r"(?P<host>\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):(?P<port>\d{1,5})")
_MAX_FILE_BYTES = 100_000
_NAME = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:]+)\Z"


class HealthSettings(Record, frozen=True, kw_only=True):
    """broker: address of the MQTT broker that kiosks tell their health. certificate: a file with
    the certificate that it must show, or that of its authority; without it the system's authorities
    are trusted. credentials: a file with user and password that only its owner may read.
    """

    broker: Annotated[str, Meta(min_length=1, max_length=500)]
    certificate: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    credentials: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None

    def __post_init__(self) -> None:
        try:
            self.as_receiver()
        except RecordError as error:
            raise RecordError(
                [
                    problem._replace(place=problem.place.replace("address", "broker"))
                    for problem in error.problems
                ]
            ) from None

    def as_receiver(self) -> Receiver:
        """As a kiosk would configure the same broker: its files are looked at in the same way."""
        return Receiver(
            name="health",
            kind="mqtt",
            address=self.broker,
            certificate=self.certificate,
            credentials=self.credentials,
        )


class LaboratorySettings(Record, frozen=True, kw_only=True):
    """names: host names and addresses that kiosks and browsers call this server by; empty for this
    machine's. listen: address that it listens at. port: likewise. storage: postgresql://... or a
    file; None for a file in the laboratory's folder. pictures: a folder, s3://bucket/prefix, or
    none; None for a folder in the laboratory's. health: the broker that kiosks tell their health;
    None for no broker. metrics: address and port at which Prometheus may ask, or none.
    metrics_token: a file, which only its owner may read, with the token that it must show; beyond
    this machine there is no asking without, nor without TLS.
    """

    schema: Literal["edgehemo.laboratory/1"]
    names: tuple[Annotated[str, Meta(pattern=_NAME)], ...] = ()
    listen: Annotated[str, Meta(min_length=1, max_length=100)] = "0.0.0.0"
    port: Annotated[int, Meta(ge=0, le=65_535)] = PORT
    storage: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    pictures: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    health: HealthSettings | None = None
    metrics: Annotated[str, Meta(min_length=1, max_length=300)] = METRICS
    metrics_token: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None

    def __post_init__(self) -> None:
        at = self.metrics_at
        if self.metrics != "none" and at is None:
            raise RecordError(
                [Problem("metrics", f"is no address with a port: write {METRICS}, or none")]
            )
        if at is not None and not is_loopback(at[0]) and self.metrics_token is None:
            raise RecordError(
                [Problem("metrics", "beyond this machine needs metrics_token", given=self.metrics)]
            )

    @property
    def metrics_at(self) -> tuple[str, int] | None:
        """Address and port at which Prometheus may ask; None where it may not."""
        found = _AT.fullmatch(self.metrics)
        if found is None or int(found["port"]) > 65_535:
            return None
        return found["host"].strip("[]"), int(found["port"])


@dataclass(frozen=True, slots=True)
class Setup:
    """A laboratory's folder and settings."""

    folder: Path
    settings: LaboratorySettings

    @property
    def storage(self) -> str:
        """Where its storage is, as `open_storage` takes it."""
        return self.settings.storage or str(self.folder / "laboratory.sqlite3")

    @property
    def pictures(self) -> str | None:
        """Where its pictures are, as `open_pictures` takes it; None where it keeps none."""
        if self.settings.pictures == "none":
            return None
        return self.settings.pictures or str(self.folder / "pictures")

    @property
    def names(self) -> tuple[str, ...]:
        """What this server is called."""
        return self.settings.names or own_names()

    @property
    def certificates(self) -> Certificates:
        """Its certificates; made where there are none yet."""
        found = Certificates(self.folder / "certificates")
        found.make(self.names)
        return found


def own_names() -> tuple[str, ...]:
    """What this machine is called by itself, and on itself."""
    called = socket.gethostname().lower()
    return tuple(dict.fromkeys((called, "localhost", "127.0.0.1", "::1")))


def default_folder() -> Path:
    """The folder that EDGEHEMO_LABORATORY names, else one of the user's."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named) if named else user_folder("data") / "laboratory"


def setup_of(folder: Path | None = None) -> Setup:
    """The laboratory in a folder. LaboratoryError for settings that are wrong, all at once."""
    place = default_folder() if folder is None else folder
    file = place / FILE
    if not file.exists():
        return Setup(place, LaboratorySettings(schema="edgehemo.laboratory/1"))
    try:
        data = file.read_bytes()
        if len(data) > _MAX_FILE_BYTES:
            raise LaboratoryError(f"{file}: is too large for what it should be")
        return Setup(place, LaboratorySettings.model_validate(tomllib.loads(data.decode())))
    except RecordError as error:
        raise LaboratoryError(f"{file}: {error}") from None
    except (OSError, ValueError) as error:
        raise LaboratoryError(f"{file}: is not valid TOML ({error})") from None
