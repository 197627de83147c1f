"""What `edgehemo doctor --json` writes."""

from __future__ import annotations

from typing import Literal

from edgehemo.device.finding import DoctorReport, Finding, Status
from edgehemo.files.strict import Record
from edgehemo.version import __version__


class DoctorOutput(Record, frozen=True, kw_only=True):
    """What was looked at on this device and what is wrong; status: the worst of all."""

    schema: Literal["edgehemo.doctor/1"] = "edgehemo.doctor/1"
    software_version: str
    status: Status
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, report: DoctorReport) -> DoctorOutput:
        return cls(software_version=__version__, status=report.status, findings=report.findings)
