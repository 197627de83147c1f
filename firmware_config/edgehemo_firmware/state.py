"""What is installed on a device and how it stands: files against the list, versions, units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgehemo.errors import DeviceError, UpdateError
from edgehemo.files.strict import Record, Text
from edgehemo_firmware import layout
from edgehemo_firmware.installed import Entry, Installed
from edgehemo_firmware.program_version import running_version
from edgehemo_firmware.removing import removal
from edgehemo_firmware.target import Target
from edgehemo_firmware.update.layout import Place
from edgehemo_firmware.update.telling import version_lines

DriftKind = Literal["changed", "missing", "unfinished"]
# Of a unit, as the service manager calls them.
_PROPERTIES = ("ActiveState", "SubState", "Result", "NRestarts", "StatusText")


class Drift(Record, frozen=True, kw_only=True):
    """Something that is not as it was written. path: which. kind: changed by hand, missing, or of
    an installation that had no end.
    """

    path: Text
    kind: DriftKind


class UnitState(Record, frozen=True, kw_only=True):
    """A unit of ours on the running system. active, sub, result: as systemd calls them. restarts:
    how often it was begun again. says: its own words.
    """

    name: Text
    active: str
    sub: str = ""
    result: str = ""
    restarts: str = ""
    says: str = ""


class StatusOutput(Record, frozen=True, kw_only=True):
    """`edgehemo device status --json`. installed_by: version of the installer; None where nothing
    is installed. version: that runs. versions: of those that came from media, a line each, and why
    the last one was left. parts: the device is made of. files: written. drift: what is
    not as it was written. units: of the running system, empty for another root.
    """

    schema: Literal["edgehemo.device-status/1"] = "edgehemo.device-status/1"
    installed_by: str | None = None
    version: str | None = None
    versions: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    read_only: bool = False
    data_label: str | None = None
    files: int = 0
    drift: tuple[Drift, ...] = ()
    units: tuple[UnitState, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What was found."""

    output: StatusOutput

    @property
    def in_order(self) -> bool:
        """Whether everything is as it was written and no unit failed."""
        output = self.output
        failed = any(unit.active == "failed" for unit in output.units)
        return output.installed_by is not None and not output.drift and not failed

    def lines(self) -> Iterator[str]:
        """For people."""
        output = self.output
        if output.installed_by is None:
            yield "nothing is installed here; `edgehemo device install` does it"
            return
        yield f"installed by version {output.installed_by} of {', '.join(output.parts)}"
        yield f"runs version {output.version or 'none: the link to the program leads nowhere'}"
        for line in output.versions:
            yield f"  {line}"
        system = "read-only" if output.read_only else "writable"
        data = output.data_label or "on the system's own partition"
        yield f"the system is {system}; data partition: {data}"
        yield f"{output.files} files, {len(output.drift)} not as they were written"
        for drift in output.drift:
            yield f"  {drift.kind}: {drift.path}"
        for unit in output.units:
            said = f": {unit.says}" if unit.says else ""
            more = f", begun again {unit.restarts} times" if unit.restarts not in ("", "0") else ""
            why = f" ({unit.result})" if unit.result not in ("", "success") else ""
            yield f"  {unit.name}: {unit.active} {unit.sub}{why}{more}{said}"


def status_of(target: Target, installed: Installed | None) -> Status:
    """Look; nothing is changed."""
    if installed is None:
        return Status(StatusOutput(version=running_version(target)))
    choices = installed.choices
    return Status(
        StatusOutput(
            installed_by=installed.version,
            version=running_version(target),
            versions=_versions(target),
            parts=choices.parts,
            read_only=choices.read_only,
            data_label=choices.data_label,
            files=len(installed.entries),
            drift=tuple(_drift(target, installed)),
            units=tuple(_units(target, installed.entries)) if target.managed else (),
        )
    )


def _versions(target: Target) -> tuple[str, ...]:
    try:
        return tuple(version_lines(Place(target.root)))
    except UpdateError as error:
        return (str(error),)


def _drift(target: Target, installed: Installed) -> Iterator[Drift]:
    found = removal(target, installed, data=False)
    for entry in found.changed:
        yield Drift(path=entry.path, kind="changed")
    for entry in found.gone:
        yield Drift(path=entry.path, kind="missing")
    for entry in installed.entries:
        if entry.before:
            yield Drift(path=entry.path, kind="unfinished")


def _units(target: Target, entries: tuple[Entry, ...]) -> Iterator[UnitState]:
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if folder != layout.UNITS or entry.kind != "file":
            continue
        try:
            said = target.run(["systemctl", "show", name, f"--property={','.join(_PROPERTIES)}"])
        except DeviceError:
            continue
        facts = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        yield UnitState(
            name=name,
            active=facts.get("ActiveState", "unknown"),
            sub=facts.get("SubState", ""),
            result=facts.get("Result", ""),
            restarts=facts.get("NRestarts", ""),
            says=facts.get("StatusText", ""),
        )
