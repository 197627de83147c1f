"""Messages of nobody's blood: a result, a withheld one, and a check of a control slide."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from edgehemo.control.history import ControlCheck
from edgehemo.files.atomic import dump_json
from edgehemo.interop.hl7 import oru_message
from edgehemo.interop.hl7_control import oru_control
from edgehemo.interop.lab_result import SCREENING_ONLY, LabResult, Quantity
from edgehemo.interop.openelis.profile import openelis_profile
from edgehemo.measurands import BLOOD_FACTS

_AT = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
_VALUES = {
    "hgb_g_per_l": (98.0, 83.0, 113.0), "hct_l_per_l": (0.31, 0.27, 0.35),
    "rbc_1e12_per_l": (3.9, 3.4, 4.4), "mcv_fl": (79.5, 68.0, 92.0), "mch_pg": (25.1, 21.0, 29.0),
    "mchc_g_per_l": (316.0, 262.0, 372.0),
}  # fmt: skip

RESULT = LabResult(
    id="0000-test-0000-0001",
    version=2,
    standing="final",
    sample="TEST-1",
    site="TEST",
    operator="test",
    device="example",
    store="0" * 32,
    made_at=_AT.isoformat(),
    changed_at=_AT.isoformat(),
    clock_set=True,
    simulated=False,
    software="0.1.0",
    withheld="",
    quantities=tuple(Quantity(key, *_VALUES[key], "", "") for key in BLOOD_FACTS),
    grade="Moderate anaemia",
    by_person=False,
    findings=(),
    signed_by="test",
    comment=None,
    why_changed="",
    notes=(SCREENING_ONLY,),
    todo=("Confirm with a laboratory measurement.",),
)
_WHY = "None of the 8 fields could be trusted; failed checks: focus (8)."
WITHHELD = replace(
    RESULT,
    id="0000-test-0000-0002",
    sample="TEST-2",
    withheld=_WHY,
    quantities=tuple(
        Quantity(key, None, None, None, _WHY, "NO_FIELD_ACCEPTED") for key in BLOOD_FACTS
    ),
    grade="",
    todo=("Turn the fine focus until the outlines of the cells are crisp.",),
)
CHECK = ControlCheck(
    at=_AT,
    software_version="0.1.0",
    slide="CONTROL-A",
    established_at=_AT,
    profile_sha256="0" * 64,
    fields=12,
    refused=0,
    values={"hgb_g_per_l": 121.0, "field_od_green": 0.0712},
    deviations={"hgb_g_per_l": 0.4, "field_od_green": -0.2},
    passed=True,
)


def files() -> dict[str, bytes]:
    """The files of this folder: name -> content."""
    return {
        "profile.json": dump_json(openelis_profile()).encode("utf-8"),
        "result.hl7": oru_message(RESULT, "2.5.1"),
        "withheld.hl7": oru_message(WITHHELD, "2.5.1"),
        "control.hl7": oru_control(CHECK, "example", "2.5.1"),
    }
