"""Fleets of SIMULATED kiosks with faults that are known, written into a storage within seconds.

No picture stands behind any number: levels, spreads and shares are drawn from the table here, as
kiosks on benches of their own differ. What is written is what kiosks send, taken as it is taken
from them, at times of the past. All of it says that it is simulated, and the same seed gives the
same fleet.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from edgehemo.interop.laboratory import DeviceState
from edgehemo.records.audit import canonical
from edgehemo_laboratory.chain import head_of, next_entry
from edgehemo_laboratory.clock import seconds_of, text_of
from edgehemo_laboratory.enrolment.kiosks import Kiosk, kiosk_named
from edgehemo_laboratory.intake.contents import contents_of
from edgehemo_laboratory.intake.missing import missing_of
from edgehemo_laboratory.storage.interface import Arrived, Statements, Storage, StoredVersion, Taken

SOFTWARE = "0.1.0"
BUNDLE = hashlib.sha256(b"edgehemo simulated fleet").hexdigest()
FIELDS = 8
_AT_ONCE = 50
# Of ten results so many are corrected, of a hundred so many withdrawn.
CORRECTED, WITHDRAWN = 0.03, 0.01
# One kiosk in three has an analyser near by for one sample in five.
_PAIRED_KIOSKS, _PAIRED = 3, 0.2


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a quantity is drawn: the fleet's level, and standard deviations between kiosks, between
    days of one and between results of a day; as shares of the level, or in its unit.
    """

    level: float
    between: float
    daily: float
    within: float
    relative: bool = True


# From what real fields and the device's own monitoring showed, rounded.
QUANTITIES: Mapping[str, Drawn] = {
    "exposure": Drawn(190.0, 0.04, 0.010, 0.015),
    "evenness": Drawn(0.12, 0.02, 0.004, 0.010, relative=False),
    "focus": Drawn(3.4, 0.05, 0.02, 0.06),
    "stain_density": Drawn(0.18, 0.05, 0.025, 0.08),
    "stain_colour": Drawn(0.50, 0.04, 0.02, 0.05),
    "crowding": Drawn(0.35, 0.08, 0.04, 0.20),
    "envelope": Drawn(1.0, 0.06, 0.03, 0.15),
    "hgb": Drawn(118.0, 3.0, 1.5, 18.0, relative=False),
}
# Shares: the fleet's, and how much more kiosks differ than chance lets them (0 to 1).
WITHHELD, WITHHELD_SPREAD = 0.08, 0.01
REFUSED, REFUSED_SPREAD = 0.12, 0.01
TYPES: Mapping[str, float] = {
    "normal": 0.70, "uncertain": 0.10, "hypochromia": 0.06, "microcyte": 0.05, "ovalocyte": 0.04,
    "target_cell": 0.03, "teardrop": 0.02,
}  # fmt: skip
CELLS = 400
TYPES_SPREAD = 0.004

What = Literal[
    "lamp", "focus", "stain", "hgb", "refused", "withheld", "types", "silent", "missing",
    "no backup", "control failed", "refused items",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong. who: a kiosk's name or a site's. size: share or amount by which it is off,
    as its kind says. since: day of the fleet from which on, from 0.
    """

    what: What
    who: str
    size: float = 0.0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """One to be drawn. results: a working day and kiosk, on average."""

    kiosks: int
    sites: tuple[str, ...]
    days: int
    results: float
    seed: int = 1
    faults: tuple[Fault, ...] = ()
    identified: bool = True

    def name(self, number: int) -> str:
        """What its kiosks are called, from 0."""
        return f"simulated-{number + 1:03d}"

    def site(self, number: int) -> str:
        """Where they stand."""
        return self.sites[number % len(self.sites)]

    def faults_of(self, number: int, day: int) -> Mapping[What, float]:
        """What is wrong with a kiosk on a day."""
        them = (self.name(number), self.site(number))
        return {
            each.what: each.size for each in self.faults if each.who in them and each.since <= day
        }


# What the faults of some kinds move, and into which direction.
_MOVED: Mapping[What, tuple[str, float]] = {
    "lamp": ("exposure", -1.0), "focus": ("focus", -1.0), "stain": ("stain_density", -1.0),
    "hgb": ("hgb", -1.0),
}  # fmt: skip


def example(kiosks: int = 24, *, days: int = 45, results: float = 6.0, seed: int = 1) -> Fleet:
    """A fleet with one kiosk of each fault."""
    fleet = Fleet(kiosks, ("north", "south", "hills", "coast"), days, results, seed)
    name = fleet.name
    faults: list[Fault] = [
        Fault("lamp", name(3), 0.15, days - 14), Fault("focus", name(6), 0.25, 0),
        Fault("stain", name(9), 0.30, days - 20), Fault("withheld", name(12), 0.25, 0),
        Fault("types", name(14), 0.25, 0), Fault("silent", name(16), since=days - 3),
        Fault("missing", name(1)), Fault("no backup", name(2)),
        Fault("control failed", name(5)), Fault("refused items", name(7)),
        Fault("refused", "hills", 0.20, 0),
    ]  # fmt: skip
    return Fleet(kiosks, fleet.sites, days, results, seed, tuple(faults))


async def fill(
    storage: Storage,
    fleet: Fleet,
    now: datetime,
    *,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Write a fleet, whose last day is that of ``now``; how many results it has."""
    at = text_of(now)
    total = 0
    for number in range(fleet.kiosks):
        await storage.do(
            "INSERT INTO kiosk (name, site, made_at, enrolled_at, identified) "
            "VALUES ($1, $2, $3, $3, $4) ON CONFLICT DO NOTHING",
            fleet.name(number), fleet.site(number), at, int(fleet.identified),
        )  # fmt: skip
        total += await _Kiosk(fleet, number, now).write(storage)
        advance()
    return total


class _Kiosk:
    """One kiosk's results, drawn day by day."""

    def __init__(self, fleet: Fleet, number: int, now: datetime) -> None:
        self._fleet, self._number, self._now = fleet, number, now
        self._name = fleet.name(number)
        self._chance = random.Random(f"{fleet.seed} {number}")
        chance = self._chance
        self._levels = {
            name: _moved(chance, each, each.between) for name, each in QUANTITIES.items()
        }
        self._withheld = _share(chance, WITHHELD, WITHHELD_SPREAD)
        self._refused = _share(chance, REFUSED, REFUSED_SPREAD)
        self._types = _types(chance)
        self._store = hashlib.sha256(f"{fleet.seed} {number}".encode()).hexdigest()[:32]
        self._sequence = 0
        self._paired: list[tuple[str, float]] = []

    async def write(self, storage: Storage) -> int:
        kiosk = await kiosk_named(storage, self._name)
        head = await head_of(storage, kiosk.chain)
        results = 0
        last = self._now
        waiting: list[StoredVersion] = []

        async def send(until: int) -> None:
            nonlocal head
            while len(waiting) > until:
                some, waiting[:] = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
                head = await self._take(storage, kiosk, head, last, some)

        for day in range(self._fleet.days):
            evening = self._now - timedelta(days=self._fleet.days - 1 - day)
            faults = self._fleet.faults_of(self._number, day)
            # Sundays are free; a silent kiosk sends nothing any more.
            if evening.weekday() == 6 or "silent" in faults:
                continue
            last = evening
            made = self._day(day, evening, faults)
            results += len(made)
            waiting += [version for versions in made for version in versions]
            # Results without their day count for that on which they come.
            await send(_AT_ONCE if self._fleet.identified else 0)
        await send(0)
        await self._end(storage, kiosk.number, last)
        return results

    async def _take(
        self,
        storage: Storage,
        kiosk: Kiosk,
        head: tuple[int, str] | None,
        evening: datetime,
        versions: Sequence[StoredVersion],
    ) -> tuple[int, str]:
        arrived = []
        for each in versions:
            self._sequence += 1
            arrived.append(Arrived(self._sequence, each.identity))
        details = {
            "store": self._store,
            "stored": [each.identity for each in versions],
            "refused": [],
        }
        entry = next_entry(
            kiosk.chain, head, "results received", self._store, details, by=self._name, at=evening
        )
        await storage.take(
            Taken(
                kiosk=kiosk.number, store=self._store, device=self._name, software_version=SOFTWARE,
                sent_at=text_of(evening), at=text_of(evening), at_s=seconds_of(evening),
                chain=kiosk.chain, entry=entry, arrived=arrived, versions=versions,
            )
        )  # fmt: skip
        return entry.number, entry.hash

    async def _end(self, storage: Storage, kiosk: int, last: datetime) -> None:
        """What the kiosk says with its last visit."""
        faults = self._fleet.faults_of(self._number, self._fleet.days)
        heard = last if "silent" in faults else self._now
        noted = self._sequence + (3 if "missing" in faults else 0)
        await missing_of(storage, self._store, noted=noted)
        chance, failed = self._chance, "control failed" in faults
        state = DeviceState(
            results=self._sequence,
            backup_age_s=None if "no backup" in faults else int(3600 * chance.uniform(1, 30)),
            backed_up=None if "no backup" in faults else self._sequence,
            control="failed" if failed else "passed",
            control_age_s=int(3600 * chance.uniform(1, 20)),
            control_deviations={"focus": round(chance.gauss(4.2 if failed else 0.0, 0.7), 2)},
            blocked="CONTROL_FAILED" if failed else None,
            free_mb=round(chance.uniform(8000, 50_000), 1),
            profile=True,
        )

        async def work(change: Statements) -> None:
            await change.do(
                "UPDATE kiosk SET state = $1, state_at_s = $2, heard_at_s = $2 WHERE number = $3",
                state.model_dump_json(), seconds_of(heard), kiosk,
            )  # fmt: skip
            if "refused items" in faults:
                await change.do(
                    "INSERT INTO arrival (store, sequence, identity, outcome, words, at_s) "
                    "VALUES ($1, $2, $3, 'refused', $4, $5) ON CONFLICT DO NOTHING",
                    self._store, self._sequence + 1, "0" * 64,
                    "SIMULATED: it comes with names and numbers", seconds_of(last),
                )  # fmt: skip
            for number, (sample, value) in enumerate(self._paired, start=1):
                await change.do(
                    "INSERT INTO paired (store, number, sample, measurand, value, analyser, at, "
                    "came_at_s) VALUES ($1, $2, $3, 'hgb_g_per_l', $4, 'SIMULATED analyser', $5, "
                    "$6) ON CONFLICT DO NOTHING",
                    self._store, number, sample, value, text_of(last), seconds_of(last),
                )  # fmt: skip

        await storage.change(work)

    def _day(
        self, day: int, evening: datetime, faults: Mapping[What, float]
    ) -> list[list[StoredVersion]]:
        """The versions of each result of a day."""
        chance = self._chance
        level = {
            name: _around(chance, self._levels[name], each, each.daily)
            for name, each in QUANTITIES.items()
        }
        for what, (name, sign) in _MOVED.items():
            if what in faults:
                by = faults[what] if QUANTITIES[name].relative else faults[what] / level[name]
                level[name] *= 1 + sign * by
        count = _poisson(chance, self._fleet.results)
        begun = evening.replace(hour=8, minute=0, second=0, microsecond=0)
        return [
            self._result(day, number, begun + timedelta(minutes=8 * number), level, faults)
            for number in range(count)
        ]

    def _result(
        self, day: int, number: int, at: datetime, level: Mapping[str, float],
        faults: Mapping[What, float],
    ) -> list[StoredVersion]:  # fmt: skip
        chance = self._chance
        values = {
            name: _around(chance, level[name], each, each.within)
            for name, each in QUANTITIES.items()
        }
        withheld = chance.random() < self._withheld + faults.get("withheld", 0.0)
        chance_refused = min(0.95, self._refused + faults.get("refused", 0.0))
        refused = sum(chance.random() < chance_refused for _ in range(FIELDS))
        sample = f"SIM-{day:03d}-{number:02d}"
        said = _said(
            store=self._store, result_id=f"{day:04d}-{number:04d}-{self._store[:4]}-simu",
            sample=sample, at=at, values=values, withheld=withheld, refused=refused,
            types=_cells(chance, self._types, faults.get("types", 0.0)),
            identified=self._fleet.identified, device=self._name,
        )  # fmt: skip
        paired = self._number % _PAIRED_KIOSKS == 0 and chance.random() < _PAIRED
        if paired and not withheld and self._fleet.identified:
            self._paired.append((sample, round(values["hgb"] + chance.gauss(2.0, 7.0), 1)))
        changes = ["signed"]
        lot = chance.random()
        if lot < WITHDRAWN:
            changes.append("withdrawn")
        elif lot < WITHDRAWN + CORRECTED:
            changes.append("corrected")
        return [_version(said, changes[: end + 1], at) for end in range(len(changes))]


def _version(said: dict[str, Any], changes: Sequence[str], at: datetime) -> StoredVersion:
    """A result after some changes, as it is stored."""
    last = changes[-1]
    state = {"withdrawn": "withdrawn", "corrected": "corrected"}.get(last, "signed")
    dated = said["made_at"]
    versions = [
        {
            "version": number, "state": "unsigned" if number == 1 else "signed", "change": change,
            "sample": said["sample"], "at": dated, "by": _BY, "amendments": {}, "reason": "",
            "clock": "set", "audit": number,
        }
        for number, change in enumerate(("recorded", *changes), start=1)
    ]  # fmt: skip
    versions[-1]["state"] = state
    whole = {**said, "version": len(versions), "state": state, "versions": versions}
    body = canonical(whole).encode()
    digest = hashlib.sha256(body).hexdigest()
    return contents_of(body, identity=digest, sha256=digest).stored()


_BY = "P-000000000000"
_NOT_GIVEN: Mapping[str, None] = dict.fromkeys(
    ("hct_l_per_l", "rbc_1e12_per_l", "mcv_fl", "mch_pg", "mchc_g_per_l")
)
_REASONS = dict.fromkeys(_NOT_GIVEN, "not calibrated: SIMULATED")
_WITHHELD = {
    "code": "NO_FIELD_ACCEPTED", "reason": "SIMULATED: no field was accepted",
    "action": "take more fields",
}  # fmt: skip


def _said(
    *, store: str, result_id: str, sample: str, at: datetime, values: Mapping[str, float],
    withheld: bool, refused: int, types: Mapping[str, int], identified: bool, device: str,
) -> dict[str, Any]:  # fmt: skip
    """A result as a kiosk sends it: few of its keys, all that a laboratory looks at."""
    made_at = text_of(at) if identified else f"{at:%Y-%m}-01T00:00:00+00:00"
    told = sample if identified else f"S-{hashlib.sha256(sample.encode()).hexdigest()[:12]}"
    hgb = None
    if not withheld:
        value = round(values["hgb"], 1)
        hgb = {"value": value, "low": round(value - 14, 1), "high": round(value + 14, 1)}
    checks = [
        {"name": name, "value": round(values[name], 4), "verdict": "pass", "code": ""}
        for name in QUANTITIES
        if name != "hgb"
    ]
    failed = {**checks[0], "verdict": "fail", "code": "OUT_OF_FOCUS"}
    images = [
        {"image": f"{number + 1:03d}",
         "checks": [failed, *checks[1:]] if number < refused else checks,
         "accepted": number >= refused}
        for number in range(2)
    ]  # fmt: skip
    images[-1] = {**images[-1], "cell_types": {"rbc": dict(types)}}
    return {
        "schema": "edgehemo.sent-result/1",
        "store": store,
        "identified": identified,
        "id": result_id,
        "outcome": "withheld" if withheld else "reported",
        "sample": told,
        "site": None,
        "operator": _BY,
        "device": device if identified else "D-000000000000",
        "made_at": made_at,
        "clock": "set",
        "simulated": True,
        "software_version": SOFTWARE,
        "bundle_sha256": BUNDLE,
        "profile_sha256": None,
        "person": {"age_years": 30.0, "altitude_m": 0.0, "sex": "female"},
        "record": {
            "sample": {
                "images": FIELDS, "accepted": FIELDS - refused, "refused": refused,
                "hgb_g_per_l": hgb, **_NOT_GIVEN, "calibration": "calibrated", "findings": [],
                "reasons": _REASONS, "reason_codes": dict.fromkeys(_NOT_GIVEN, "NOT_CALIBRATED"),
                "counts": {"rbc": {"value": float(sum(types.values()))}},
                "indices": {"hgb_index": round(values["stain_density"] / 3, 4)},
            },
            "labels": {"sample": told, "operator": _BY, "site": None},
            "provenance": {"created_at": made_at},
            "images": images,
            "withheld": _WITHHELD if withheld else None,
            "anaemia": None if hgb is None else _anaemia(hgb["value"]),
        },
    }  # fmt: skip


def _anaemia(hgb: float) -> dict[str, Any]:
    grade = _grade(hgb)
    return {"grade": grade, "possible": [grade], "limit_g_per_l": 120.0}


def _grade(hgb: float) -> str:
    """Of a woman who is not pregnant (WHO 2024)."""
    return "none" if hgb >= 120 else "mild" if hgb >= 110 else "moderate" if hgb >= 80 else "severe"


def _moved(chance: random.Random, drawn: Drawn, sd: float) -> float:
    return _around(chance, drawn.level, drawn, sd)


def _around(chance: random.Random, level: float, drawn: Drawn, sd: float) -> float:
    by = chance.gauss(0.0, sd)
    return max(1e-3, level * (1 + by) if drawn.relative else level + by)


def _share(chance: random.Random, mean: float, spread: float) -> float:
    """Of one kiosk, by the beta distribution of the fleet."""
    strength = 1 / spread - 1
    return chance.betavariate(mean * strength, (1 - mean) * strength)


def _types(chance: random.Random) -> dict[str, float]:
    strength = 1 / TYPES_SPREAD - 1
    drawn = {name: chance.gammavariate(share * strength, 1.0) for name, share in TYPES.items()}
    total = sum(drawn.values())
    return {name: value / total for name, value in drawn.items()}


def _cells(chance: random.Random, shares: Mapping[str, float], off: float) -> dict[str, int]:
    """Cells of a sample. off: so much of the normal ones is called uncertain."""
    shifted = dict(shares)
    moved = min(off, shifted["normal"])
    shifted["normal"] -= moved
    shifted["uncertain"] += moved
    found = {}
    for name, share in shifted.items():
        mean = CELLS * share
        found[name] = max(0, round(chance.gauss(mean, math.sqrt(mean))))
    return found


def _poisson(chance: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), 1.0, -1
    while product > limit:
        product *= chance.random()
        count += 1
    return count
