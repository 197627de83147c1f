"""How a kiosk is, in words and with what they mean; pure. What is not known is said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgehemo.interop.laboratory import ControlStanding
from edgehemo_laboratory.clock import length_of
from edgehemo_laboratory.output import KioskEntry
from edgehemo_laboratory.seeing.judging import Judged

# How the stylesheet shows it.
Level = Literal["pass", "warn", "fail", "soft"]

HOUR_S, DAY_S = 3600, 86_400
# A kiosk visits every ten minutes: after an hour something keeps it away, after a day somebody has
# to look.
SILENT_WARN_S, SILENT_FAIL_S = HOUR_S, DAY_S
# Backups are made daily where a stick is in its place; what is older would lose so much.
BACKUP_WARN_S, BACKUP_FAIL_S = 3 * DAY_S, 14 * DAY_S
_NOT_SAID = "not known: it has not said yet"


@dataclass(frozen=True, slots=True)
class Told:
    """Words, and how much they ask for. meaning: what follows from them, empty where nothing."""

    level: Level
    words: str
    meaning: str = ""


def silence(entry: KioskEntry) -> Told:
    """How long a kiosk is silent, by the receiver's clock."""
    if entry.silent_s is None:
        return Told("soft", "never heard", "its pairing code was not used yet")
    words = length_of(entry.silent_s)
    if entry.standing == "revoked":
        return Told("soft", words)
    if entry.silent_s >= SILENT_FAIL_S:
        return Told(
            "fail", words, "look at its power and network; results wait there and come later"
        )
    if entry.silent_s >= SILENT_WARN_S:
        return Told("warn", words, "it is switched off, or has no network")
    return Told("pass", words)


def backup(entry: KioskEntry) -> Told:
    """How old its last good backup is: as old as it said, and as long ago as that was."""
    state, since_s = entry.state, entry.state_age_s
    if state is None or since_s is None:
        return Told("soft", _NOT_SAID)
    if not state.results:
        return Told("soft", "nothing stored there yet")
    if state.backup_age_s is None:
        return Told("fail", "never", "a broken card would lose all its records: put a stick in")
    age_s = state.backup_age_s + since_s
    missing = state.results - (state.backed_up or 0)
    words = f"{length_of(age_s)} ago"
    meaning = f"{missing} results are not in it" if missing > 0 else ""
    if age_s >= BACKUP_FAIL_S:
        return Told("fail", words, meaning or "put its backup stick in")
    return Told("warn" if age_s >= BACKUP_WARN_S else "pass", words, meaning)


_CONTROL: Mapping[ControlStanding, tuple[Level, str, str]] = {
    "passed": ("pass", "passed", ""),
    "due": ("warn", "due", "it gives no results before its control slide was checked"),
    "missing": (
        "warn",
        "never checked",
        "it gives no results before its control slide was checked",
    ),
    "failed": ("fail", "failed", "it gives no results before the cause was found and cleared"),
    "unreadable": ("fail", "cannot be believed", "its history is damaged, or its clock is wrong"),
    "none": (
        "soft",
        "no control slide",
        "its profile asks for none: a change goes unnoticed there",
    ),
}


def control(entry: KioskEntry) -> Told:
    """How its control slides stand."""
    state, since_s = entry.state, entry.state_age_s
    if state is None or since_s is None:
        return Told("soft", _NOT_SAID)
    if not state.profile:
        return Told("soft", "no calibration profile", "it counts cells and gives no haemoglobin")
    level, words, meaning = _CONTROL[state.control]
    if state.control_age_s is not None:
        words += f", {length_of(state.control_age_s + since_s)} ago"
    return Told(level, words, meaning)


def beside_fleet(name: str, judged: Judged) -> Told:
    """How a kiosk is beside the fleet, and beside itself before."""
    found = judged.of(name)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return Told("warn", f"{found[0].label}{more}", found[0].words)
    if not judged.levels.get(name):
        return Told("soft", "not known", "too few days with results, or too few kiosks")
    return Told("pass", "as the others")


def asks_for_a_look(entry: KioskEntry, judged: Judged | None = None) -> bool:
    """Whether something of a kiosk in service asks for a person. judged: the fleet."""
    if entry.standing != "in service":
        return False
    if judged is not None and judged.of(entry.name):
        return True
    told = (silence(entry), backup(entry), control(entry))
    if entry.live is not None and entry.live.worth_a_look:
        return True
    return any(each.level in ("warn", "fail") for each in told) or any(
        each.missing or each.refused or each.doubled for each in entry.records
    )
