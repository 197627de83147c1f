"""What the kiosk goes on from when it starts: the state it kept, or what the records know.

A state that cannot be read (a damaged one, or that of another version) stops nothing: it is set
aside, and the samples that the records hold unfinished wait on the start page at their fields.
"""

from __future__ import annotations

import logging

from edgehemo.errors import RecordsError
from edgehemo.kiosk.state import MAX_SAMPLES, Answers, KioskState, Progress, Sample, restored
from edgehemo.records.kiosk_state import kept_kiosk_state, set_aside_kiosk_state
from edgehemo.records.store import Writer
from edgehemo.records.taking import Taking, readings_of, takings
from edgehemo.screening.field import FieldReading

log = logging.getLogger(__name__)


def state_to_go_on_from(writer: Writer) -> tuple[KioskState, bool]:
    """The state, and whether the one that was kept had to be set aside. RecordsError where the
    records themselves cannot be read or written.
    """
    kept = kept_kiosk_state(writer)
    if kept is None:
        return KioskState(), False
    try:
        return restored(kept), False
    except RecordsError as error:
        set_aside_kiosk_state(writer, kept)
        log.error("%s; it was set aside beside the records and the kiosk begins anew", error)
        return state_from_records(writer), True


def state_from_records(writer: Writer) -> KioskState:
    """As far as the records know it: nobody is signed in, and the newest unfinished samples of the
    kiosk wait.
    """
    own = [each for each in takings(writer) if each.owner == "kiosk"][-MAX_SAMPLES:]
    samples = tuple(_sample(writer, ref, taking) for ref, taking in enumerate(own, start=1))
    return KioskState(samples=samples, next_ref=len(samples) + 1)


def _sample(writer: Writer, ref: int, taking: Taking) -> Sample:
    person = taking.person
    answers = Answers()
    if person is not None:
        answers = Answers(
            age_years=person.age_years,
            sex=person.sex,
            pregnant=person.pregnancy_trimester or (0 if person.sex == "female" else None),
            smokes=person.smoker,
            altitude_m=person.altitude_m,
        )
    return Sample(
        ref=ref,
        owner=taking.operator or "kiosk",
        step="capture",
        number=taking.sample,
        number_from=taking.sample_from,
        answers=answers,
        taking=taking.id,
        progress=_progress(writer, taking),
    )


def _progress(writer: Writer, taking: Taking) -> Progress:
    images = readings_of(writer, taking.id)
    accepted = [each for each in images if isinstance(each, FieldReading) and each.accepted]
    red = sum(each.cells.interior_counts["rbc"].value for each in accepted if each.cells)
    return Progress(
        accepted=len(accepted), refused=len(images) - len(accepted), red_cells=round(red)
    )
