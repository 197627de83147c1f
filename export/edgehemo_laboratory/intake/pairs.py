"""What analysers measured of samples that kiosks have results of, as kiosks send it."""

from __future__ import annotations

import math

from edgehemo.errors import UsageError
from edgehemo.interop.laboratory import Paired, PairedValue
from edgehemo.measurands import PLAUSIBLE
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.kiosks import Kiosk
from edgehemo_laboratory.intake.names import is_month, is_pseudonym
from edgehemo_laboratory.intake.taking import NotItsRecordsError
from edgehemo_laboratory.storage.interface import Statements, Storage


async def keep_paired(storage: Storage, kiosk: Kiosk, said: Paired) -> int:
    """Keep analyser values; up to which number they are here after the commit.

    Of records that nothing came of yet none is kept: the kiosk comes again. Raises UsageError for
    a value that may not come, NotItsRecordsError where the records are another kiosk's.
    """
    for each in said.values:
        _judge(each, kiosk)

    async def work(change: Statements) -> int:
        owner = await change.rows("SELECT kiosk FROM records WHERE store = $1", said.store)
        if not owner:
            return 0
        if owner[0][0] != kiosk.number:
            raise NotItsRecordsError("these records came from another kiosk before")
        upto = await _upto(change, said.store)
        new = [each for each in said.values if each.number > upto]
        for each in new:
            await change.do(
                "INSERT INTO paired (store, number, sample, measurand, value, analyser, at, "
                "came_at_s) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                said.store, each.number, each.sample, each.measurand, each.value, each.analyser,
                each.at, seconds_of(now()),
            )  # fmt: skip
        if new:
            details = {"first": new[0].number, "last": new[-1].number, "values": len(new)}
            await note(
                change, "analyser values received", said.store, details, by=kiosk.name,
                chain=kiosk.chain,
            )  # fmt: skip
        return await _upto(change, said.store)

    return await storage.change(work)


async def _upto(statements: Statements, store: str) -> int:
    ((number,),) = await statements.rows(
        "SELECT coalesce(max(number), 0) FROM paired WHERE store = $1", store
    )
    return int(number)


def _judge(value: PairedValue, kiosk: Kiosk) -> None:
    """UsageError for a value that no analyser gives, or that says too much of whose it is."""
    low, high = PLAUSIBLE[value.measurand]
    if not math.isfinite(value.value) or not low <= value.value <= high:
        raise UsageError(f"{value.measurand} {value.value:g} is not possible")
    if kiosk.identified:
        return
    if value.analyser is not None or not is_month(value.at) or not is_pseudonym(value.sample):
        raise UsageError(
            f"this laboratory takes no names from {kiosk.name}: set identified = false for this "
            "receiver, or have the laboratory allow names"
        )
