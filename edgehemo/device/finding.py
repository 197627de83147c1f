"""What a check of this device found, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgehemo.guidance.catalogue import guidance_with
from edgehemo.guidance.codes import DeviceCode, SendingCode, WithheldCode

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. action, code: what to do, empty when nothing is wrong. values: what went
    into the places of the action, for whoever says it in another language.
    """

    name: str
    status: Status
    detail: str
    action: str = ""
    code: DeviceCode | SendingCode | WithheldCode | Literal[""] = ""
    values: Mapping[str, str] = field(default_factory=dict)


def trouble(
    name: str, status: Status, code: DeviceCode | SendingCode, detail: str, **values: object
) -> Finding:
    """A finding of something wrong, with the action its code asks for.

    values: what goes into the places of that action.
    """
    said = {key: str(value) for key, value in values.items()}
    return Finding(name, status, detail, guidance_with(code, said).action, code, said)


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings, in the order they were looked at."""

    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst of all."""
        order: tuple[Status, ...] = ("fail", "warn")
        for status in order:
            if any(finding.status == status for finding in self.findings):
                return status
        return "ok"

    def of(self, name: str) -> Finding:
        """The finding of a name; KeyError where it was not looked at."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)
