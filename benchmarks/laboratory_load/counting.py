"""What is there in the end, beside what each kiosk knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from laboratory_load.kiosks import Kiosk
from tests.support.laboratory_process import Laboratory

_TWICE = (
    "SELECT count(*) FROM (SELECT store, result_id, version FROM version "
    "GROUP BY store, result_id, version HAVING count(*) > 1) AS twice"
)


def counted(lab: Laboratory, kiosks: Sequence[Kiosk]) -> dict[str, Any]:
    """Everything is looked for: each version, and which of them each result shows."""
    there = {row[0] for row in lab.rows("SELECT identity FROM version")}
    acknowledged = {name for kiosk in kiosks for name in kiosk.acknowledged}
    noted = {name for kiosk in kiosks for name in kiosk.noted}
    ((twice,),) = lab.rows(_TWICE)
    shown = {
        (store, result): version
        for store, result, version in lab.rows("SELECT store, result_id, version FROM result")
    }
    last = {
        (kiosk.store, result): version
        for kiosk in kiosks
        for result, version in kiosk.newest.items()
    }
    entries = json.loads(lab.says("kiosks", "--json", "-"))["kiosks"]
    records = [one for entry in entries for one in entry["records"]]
    return {
        "versions_noted": len(noted),
        "versions_acknowledged": len(acknowledged),
        "acknowledged_and_lost": len(acknowledged - there),
        "stored_twice": twice,
        "not_arrived": len(noted - there),
        "stored_and_never_noted": len(there - noted),
        "results": len(last),
        "results_shown_wrong": sum(shown.get(key) != version for key, version in last.items()),
        "numbers_missing": sum(
            until - first + 1 for one in records for first, until in one["missing"]
        ),
        "numbers_doubled": sum(one["doubled"] for one in records),
        "well": "all is well" in lab.says("verify"),
    }
