"""The server's side of the process that captures and analyses: starts it, gives it orders, stores
what it read, and notices when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable
from datetime import datetime

from edgehemo.device.clock import note_result
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.equipment import open_bundle
from edgehemo.errors import EdgeHemoError, RecordsError, RecordsFullError
from edgehemo.interop.outbox import noting
from edgehemo.kiosk import effects, events
from edgehemo.kiosk.effects import Effect
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.faults import FAULTS, FaultCode
from edgehemo.kiosk.gallery import Gallery, practice_gallery
from edgehemo.kiosk.live_picture import jpeg
from edgehemo.kiosk.messages import (
    Awake,
    CaptureOrder,
    CheckOrder,
    Failed,
    Finished,
    FinishOrder,
    HasEnough,
    KnowsTruth,
    LookFailed,
    LookOrder,
    Order,
    Probed,
    ProbeOrder,
    ReadField,
    Ready,
    Report,
    SawLook,
    SawPicture,
    StopOrder,
    TookPicture,
    TruthOrder,
    WasChecked,
)
from edgehemo.kiosk.practice_slides import SLIDES
from edgehemo.kiosk.process_link import ProcessLink
from edgehemo.kiosk.profile_of import profile_path
from edgehemo.kiosk.selfcheck import control_line, in_order, stored_checks
from edgehemo.kiosk.state import KioskState, Sample
from edgehemo.kiosk.steering import judge_by_checks, judge_by_fault
from edgehemo.profile.profile import CalibrationProfile, load_profile
from edgehemo.records.artefacts import keep_bundle, keep_profile
from edgehemo.records.circumstances import Circumstances
from edgehemo.records.recording import Recording
from edgehemo.records.results import Outcome, number_of, result_of
from edgehemo.records.reviews import amendments_from
from edgehemo.records.taking import begin, readings_of, taking_of
from edgehemo.records.versions import Override, change
from edgehemo.report.asked_cells import must_be_seen
from edgehemo.report.result import ScreeningResult
from edgehemo.screening.field import FieldReading
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.sample import UnreadableImage

log = logging.getLogger(__name__)

# How good the JPEG of a practice's fields is, from which cells are cut.
PRACTICE_QUALITY = 90
# How long a sample that begins waits for the equipment to be known; a page that waits longer is
# told that the process is silent.
KNOWN_WITHIN_S = 60.0
# A sign of life is told of so often.
ALIVE_EVERY_S = 3.0
# A camera that failed is looked at again so often.
PROBE_EVERY_S = 3.0


class WorkerProcess:
    """The process, for one kiosk. source: its camera."""

    def __init__(self, kiosk: Kiosk, device: DeviceConfiguration, source: str) -> None:
        self.kiosk, self.device, self.source = kiosk, device, source
        self._images: dict[int, list[FieldReading | UnreadableImage]] = {}
        self._pictures: dict[int, dict[int, bytes]] = {}
        self._simulated = source.startswith("simulated:")
        self._circumstances: Circumstances | None = None
        self._known = asyncio.Event()
        # The sample that waits for it: a second order to begin the same is none.
        self._awaited: int | None = None
        self._link: ProcessLink | None = None
        self._closing = False
        kiosk.look.source, kiosk.look.send = source, self._order
        self._run = 0
        # The fault that is over once another process has begun.
        self._mended_by_starting: FaultCode | None = None

    # -- the process ------------------------------------------------------------------------------

    def _started(self) -> ProcessLink:
        """The link to the process, which is started where there is none."""
        if self._link is None:
            loop = asyncio.get_running_loop()

            def hear(link: ProcessLink, report: Report) -> None:
                # The loop is closed where the server ends at the same time.
                if not self._closing:
                    loop.call_soon_threadsafe(self._heard, link, report)

            def ended(link: ProcessLink, code: int | None) -> None:
                if not self._closing:
                    loop.call_soon_threadsafe(self._ended, link, code)

            self._link = ProcessLink(self.source, hear, ended)
        return self._link

    def _heard(self, link: ProcessLink, report: Report) -> None:
        """What a process said that was given up since does not count: another began anew."""
        if link is self._link:
            self._alive()
            self._hear(report)

    def _ended(self, link: ProcessLink, code: int | None) -> None:
        if link is not self._link:
            return
        log.error("the process that captures and analyses ended (%s)", code)
        self._link = None
        # The system's own end of a process that takes too much is signal 9.
        self._tell_of_the_end(memory=code == -9)

    def _tell_of_the_end(self, *, memory: bool) -> None:
        self.kiosk.do(self._judged("OUT_OF_MEMORY" if memory else "WORKER_CRASHED"))
        self.kiosk.do(self.kiosk.tell_if_possible(events.WorkerEnded(memory)))

    def _order(self, order: Order) -> None:
        if not isinstance(order, LookOrder):
            self.kiosk.look.forget()
        if self._closing:
            return
        try:
            link = self._started()
        except OSError as error:
            log.error("no process that captures and analyses could be started: %s", error)
            self._tell_of_the_end(memory=error.errno == errno.ENOMEM)
        else:
            link.order(order)

    @property
    def pid(self) -> int | None:
        """Of the process; None where there is none."""
        return None if self._link is None else self._link.pid

    def close(self) -> None:
        """End the process."""
        self._closing = True
        # Whoever waits for it waits no more.
        self._known.set()
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def take_up(self, device: DeviceConfiguration) -> None:
        """Go by a device configuration that was changed; the process reads it at the next check."""
        self.device = device

    def use_camera(self, source: str) -> None:
        """Go on with another camera: what is known of the one before counts no more, and another
        process takes the place of the one that holds it.
        """
        self.source, self._simulated = source, source.startswith("simulated:")
        self._circumstances = None
        self.kiosk.look.forget()
        self.kiosk.look.source = source
        if self._link is not None:
            self.kiosk.do(self._restarted())

    def restart(self) -> None:
        """End a process that does not answer and start another. OSError where none starts."""
        link, self._link = self._link, None
        if link is not None:
            link.kill()
        self._started()

    # -- orders -----------------------------------------------------------------------------------

    def begin(self, effect: Effect, state: KioskState) -> None:
        """Have an effect done."""
        sample = next((each for each in state.samples if each.ref == effect.ref), None)
        if isinstance(effect, effects.StopCapture):
            self._order(StopOrder())
        elif isinstance(effect, effects.RestartWorker):
            self.kiosk.do(self._restarted())
        elif sample is None:
            return
        elif isinstance(effect, effects.RunSelfCheck):
            self._order(CheckOrder(sample.ref, self._camera(sample)))
        elif isinstance(effect, effects.Capture):
            self.kiosk.do(self._capture_when_known(sample.ref))
        elif isinstance(effect, effects.Analyse):
            self.kiosk.do(self._guarded(self._analyse, sample))
        elif isinstance(effect, effects.SignResult):
            self.kiosk.do(self._guarded(self._sign, sample, effect))

    async def _restarted(self) -> None:
        fault = self.kiosk.state.fault
        self._mended_by_starting = fault.code if fault is not None and fault.trying else None
        try:
            self.restart()
        except OSError as error:
            log.error("no process that captures and analyses could be started: %s", error)
            self._tell_of_the_end(memory=error.errno == errno.ENOMEM)

    async def _guarded(self, work: Callable[..., object], *arguments: object) -> None:
        """Do something with the records in its thread; its error is a fault on the page."""
        try:
            event = await self.kiosk.stored(lambda: work(*arguments))
        except RecordsFullError:
            await self.kiosk.tell_if_possible(events.FaultSeen("RECORDS_FULL"))
        except EdgeHemoError as error:
            log.error("%s", error)
            await self.kiosk.tell_if_possible(events.FaultSeen("RECORDS_REFUSED"))
        else:
            for each in event if isinstance(event, tuple) else ():
                await self.kiosk.tell_if_possible(each)

    async def _capture_when_known(self, ref: int) -> None:
        """A sample that the records do not know is begun under circumstances that the process says:
        after a restart of the server in the midst of that, it must be waited for.
        """
        sample = self._at_capture(ref)
        if sample is None:
            return
        new = sample.taking is None and not sample.practice
        if new and self._circumstances is None:
            if self._awaited == ref:
                return
            self._awaited = ref
            try:
                await self._known_in_time()
            finally:
                self._awaited = None
            sample = self._at_capture(ref)
        if sample is not None and not self._closing:
            await self._guarded(self._capture, sample)

    def _at_capture(self, ref: int) -> Sample | None:
        sample = self.kiosk.state.sample
        fits = sample is not None and sample.ref == ref and sample.step == "capture"
        return sample if fits else None

    async def _known_in_time(self) -> None:
        """Start the process where there is none, and wait until it says its circumstances."""
        self._known.clear()
        try:
            self._started()
        except OSError as error:
            log.error("no process that captures and analyses could be started: %s", error)
            self._tell_of_the_end(memory=error.errno == errno.ENOMEM)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), KNOWN_WITHIN_S)

    def _capture(self, sample: Sample) -> tuple[events.Event, ...]:
        """Begin the sample where the records do not know it, and have its fields taken."""
        self.kiosk.forget_fields()
        told: tuple[events.Event, ...] = ()
        if sample.practice:
            images = self._images.setdefault(sample.ref, [])
        elif sample.taking is None:
            taking = self._begun(sample)
            images, told = [], (events.SampleBegun(sample.ref, taking),)
        else:
            images = readings_of(self.kiosk.writer, sample.taking)
        self._run += 1
        order = CaptureOrder(
            sample.ref, self._run, self._camera(sample), sample.answers.person(), tuple(images)
        )
        self.kiosk.from_thread(lambda: self._order(order))
        return told

    def _camera(self, sample: Sample) -> str:
        return self.source if sample.slide is None else SLIDES[sample.slide].source

    def _begun(self, sample: Sample) -> str:
        writer = self.kiosk.writer
        if self._circumstances is None:
            raise RecordsError("the equipment is not known yet: run the self-check again")
        keep_bundle(writer, open_bundle(None, self.device))
        if (profile := self._profile()) is not None:
            keep_profile(writer, profile, self._circumstances.profile_name or "profile.json")
        taking = begin(
            writer,
            owner="kiosk",
            sample=sample.number,
            sample_from=sample.number_from or "typed",
            circumstances=self._circumstances,
            site=self.device.kiosk.site,
            operator=sample.owner,
            person=sample.answers.person(),
        )
        return taking.id

    def _profile(self) -> CalibrationProfile | None:
        path = profile_path(self.source, self.device)
        return None if path is None else load_profile(path)

    def _analyse(self, sample: Sample) -> tuple[events.Event, ...]:
        if sample.practice:
            images = self._images.get(sample.ref, [])
        elif sample.taking is None:
            raise RecordsError("the records do not know this sample")
        else:
            found = self._result_there(sample.taking)
            if found is not None:
                return (self._analysed(sample.ref, found, self.kiosk.gallery(sample)),)
            images = readings_of(self.kiosk.writer, sample.taking)
        order = FinishOrder(
            sample.ref,
            self._camera(sample),
            sample.answers.person(),
            tuple(images),
            self._simulated or sample.practice,
        )
        self.kiosk.from_thread(lambda: self._order(order))
        return ()

    def _result_there(self, identifier: str) -> Outcome | None:
        """What came of a sample whose result was stored before the power went."""
        try:
            return result_of(self.kiosk.writer, identifier).outcome
        except RecordsError:
            return None

    def _sign(self, sample: Sample, effect: effects.SignResult) -> tuple[events.Event, ...]:
        if not sample.practice:
            assert sample.taking is not None
            number = number_of(self.kiosk.writer, sample.taking)
            amendments = amendments_from(self.kiosk.writer, number)
            if effect.grade is not None:
                override = Override(grade=effect.grade)
                amendments = amendments.model_copy(update={"override": override})
            change(
                self.kiosk.writer, sample.taking, "signed",
                by=effect.by, reason=effect.reason, amendments=amendments,
                hooks=noting(self.device.receivers),
            )  # fmt: skip
        return (events.Signed(sample.ref),)

    # -- reports ----------------------------------------------------------------------------------

    def _hear(self, report: Report) -> None:
        if isinstance(report, Awake):
            # Until now the page says that another process is started.
            code, self._mended_by_starting = self._mended_by_starting, None
            if code is not None:
                self.kiosk.do(self.kiosk.tell_if_possible(events.FaultCleared(code)))
        elif isinstance(report, Ready):
            # Practice is read with another profile, and is not stored.
            if report.source == self.source:
                self._circumstances = report.circumstances
                self._known.set()
        elif isinstance(report, SawPicture):
            self.kiosk.show_view(report.jpeg, report.bar, report.advice)
        elif isinstance(report, SawLook | TookPicture | LookFailed):
            if self.kiosk.look.hear(report):
                self.kiosk.bump()
            if isinstance(report, SawLook):
                self.kiosk.show_view(report.jpeg, report.bar, "")
        elif isinstance(report, WasChecked):
            self.kiosk.do(self._guarded(self._checked, report))
        elif isinstance(report, ReadField):
            self.kiosk.do(self._guarded(self._keep_field, report))
        elif isinstance(report, HasEnough):
            # After the fields that came before it, through the same thread.
            enough = (events.EnoughFields(report.ref),)
            self.kiosk.do(self._guarded(lambda: enough))
        elif isinstance(report, KnowsTruth):
            self.kiosk.keep_drawn(report.ref, report.drawn)
        elif isinstance(report, Finished):
            self.kiosk.do(self._guarded(self._keep_result, report))
        elif isinstance(report, Failed):
            self.kiosk.do(self._failed(report.code))
        elif isinstance(report, Probed):
            self.kiosk.do(self._probed(report))

    async def _failed(self, code: FaultCode) -> None:
        """Show it, and look now and then whether it is mended."""
        await self._judged(code)
        if await self.kiosk.tell_if_possible(events.FaultSeen(code)) and FAULTS[code].clears:
            await self._probe_later(code)

    async def _probe_later(self, code: FaultCode) -> None:
        await asyncio.sleep(PROBE_EVERY_S)
        fault = self.kiosk.state.fault
        if fault is not None and fault.code == code and not self._closing:
            self._order(ProbeOrder(code, self.source))

    async def _probed(self, report: Probed) -> None:
        if report.mended:
            await self.kiosk.tell_if_possible(events.FaultCleared(report.code))
        else:
            await self._probe_later(report.code)

    def _alive(self) -> None:
        """Whatever it says is a sign of life; one every few seconds is enough."""
        sample = self.kiosk.state.sample
        if sample is not None and self.kiosk.clock() - sample.progress.at_s > ALIVE_EVERY_S:
            self.kiosk.do(self.kiosk.tell_if_possible(events.WorkerAlive(sample.ref)))

    async def _judged(self, code: FaultCode) -> None:
        """A bundle that is on trial is left for what fails with it."""
        await self._guarded(judge_by_fault, self.device, self.kiosk.writer, code)

    def _checked(self, report: WasChecked) -> tuple[events.Event, ...]:
        judge_by_checks(self.device, self.kiosk.writer, report.checks)
        now = datetime.now().astimezone()
        own = stored_checks(self.kiosk.writer, self.device, now)
        sample = self.kiosk.state.sample
        if sample is not None and sample.practice:
            # It is read with a profile that has no control slide, and nothing of it is stored.
            own = [each for each in own if each.name != "backup"]
        else:
            with contextlib.suppress(EdgeHemoError):
                own.append(control_line(self.kiosk.writer, self._profile()))
        return (events.SelfChecked(in_order([*report.checks, *own])),)

    def _keep_field(self, report: ReadField) -> tuple[events.Event, ...]:
        sample = next((s for s in self.kiosk.state.samples if s.ref == report.ref), None)
        if sample is None or sample.step != "capture" or report.run != self._run:
            return ()
        if sample.practice:
            self._images.setdefault(sample.ref, []).append(report.reading)
            if report.frame is not None:
                picture = jpeg(
                    report.frame.pixels, max(report.frame.pixels.shape), PRACTICE_QUALITY
                )
                self._pictures.setdefault(sample.ref, {})[report.position] = picture
        elif sample.taking is not None:
            self._recording(sample.taking).add(report.position, report.reading, report.frame)
        reading = report.reading
        accepted, code = False, "FIELD_UNREADABLE"
        if isinstance(reading, FieldReading):
            accepted = reading.accepted
            code = "" if accepted else reading.quality.failed[0].code
        self.kiosk.show_field(report.position, accepted, code, report.small)
        return (events.FieldRead(report.ref, report.accepted, report.refused, report.red_cells),)

    def _recording(self, taking: str) -> Recording:
        writer = self.kiosk.writer
        profile = self._profile()
        found = taking_of(writer, taking)
        made_at = None if profile is None else profile.created_at
        return Recording(writer, found, self.device.name, made_at, found.operator or "kiosk")

    def _keep_result(self, report: Finished) -> tuple[events.Event, ...]:
        sample = next((s for s in self.kiosk.state.samples if s.ref == report.ref), None)
        if sample is None or sample.step != "analysis":
            return ()
        if sample.practice:
            labels = SampleLabels(sample.number, sample.owner, None)
            output = ScreeningResult(report.reading, report.provenance, labels=labels).output
            pictures = self._pictures.pop(sample.ref, {})
            self._images.pop(sample.ref, None)
            gallery = practice_gallery(output.model_dump(), pictures)
            self.kiosk.keep_practice(sample.ref, gallery)
            if gallery.cells:
                truth = TruthOrder(sample.ref, self._camera(sample), tuple(gallery.cells))
                self.kiosk.from_thread(lambda: self._order(truth))
            return (self._analysed(sample.ref, output.outcome, gallery),)
        assert sample.taking is not None
        self._recording(sample.taking).finish(report.reading, report.provenance)
        if report.reading.withheld is None and not report.provenance.simulated:
            note_result(self.device.data_dir, report.provenance.created_at)
        outcome = self._result_there(sample.taking)
        if outcome is None:
            raise RecordsError("nothing of this sample could be read: take its fields again")
        return (self._analysed(sample.ref, outcome, self.kiosk.gallery(sample)),)

    def _analysed(self, ref: int, outcome: Outcome, gallery: Gallery) -> events.Analysed:
        return events.Analysed(ref, outcome, len(gallery.cells), must_be_seen(gallery.cells))
