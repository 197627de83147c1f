"""The areas that have their pages: one table, in the order of the start page."""

from __future__ import annotations

from collections.abc import Mapping

from edgehemo.kiosk.area import AreaPages
from edgehemo.kiosk.engineering.artefacts import ArtefactsArea
from edgehemo.kiosk.engineering.calibration import CalibrationArea
from edgehemo.kiosk.engineering.doctor import DoctorArea
from edgehemo.kiosk.engineering.equipment import EquipmentArea
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.supervision.backup import BackupArea
from edgehemo.kiosk.supervision.monitoring import MonitoringArea
from edgehemo.kiosk.supervision.people import PeopleArea
from edgehemo.kiosk.supervision.results import ResultsArea
from edgehemo.kiosk.supervision.updates import UpdatesArea

_PAGES: tuple[AreaPages, ...] = (
    ResultsArea(),
    MonitoringArea(),
    PeopleArea(),
    BackupArea(),
    UpdatesArea(),
    EquipmentArea(),
    CalibrationArea(),
    ArtefactsArea(),
    DoctorArea(),
)


def areas_with_pages() -> Mapping[Area, AreaPages]:
    """By name."""
    return {each.area: each for each in _PAGES}
