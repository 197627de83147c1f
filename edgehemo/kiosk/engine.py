"""The kiosk at work: holds the state, stores it, has its effects done and tells who looks.

One event at a time. The state is on the disk before anybody sees it, and what an event changes in
the records is in the same transaction: after a power cut both are there or neither.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from edgehemo.cells.cell import NOT_A_CELL, UNCERTAIN
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import EdgeHemoError, RecordsError, RecordsFullError, SignInError, place_of
from edgehemo.kiosk import effects, events
from edgehemo.kiosk.camera_look import CameraLook
from edgehemo.kiosk.deadlines import due
from edgehemo.kiosk.effects import Effect
from edgehemo.kiosk.events import Event
from edgehemo.kiosk.flow import EventRefusedError, Step, step, why_refused
from edgehemo.kiosk.gallery import Gallery, stored_gallery
from edgehemo.kiosk.kept_state import state_to_go_on_from
from edgehemo.kiosk.practice import DrawnCell, Practised
from edgehemo.kiosk.state import KioskState, Sample, stored
from edgehemo.kiosk.viewers import Viewers
from edgehemo.records.kiosk_state import keep_kiosk_state
from edgehemo.records.reviews import review
from edgehemo.records.store import Writer
from edgehemo.records.taking import draw_number, takings
from edgehemo.records.users import sign_in, sign_out
from edgehemo.records.versions import VersionHook, change

log = logging.getLogger(__name__)

# Fields that are shown beside the live picture.
SHOWN_FIELDS = 4
# How long what is under way may take once the kiosk ends.
END_S = 2.0
# Signs of life change nothing that a power cut may not lose.
_NOT_STORED = (events.WorkerAlive,)


class Work(Protocol):
    """What captures and analyses, apart from the server. Every call returns at once; what becomes
    of it comes back as events.
    """

    def begin(self, effect: Effect, state: KioskState) -> None: ...

    def take_up(self, device: DeviceConfiguration) -> None: ...

    def use_camera(self, source: str) -> None: ...

    def close(self) -> None: ...


class ShownField(NamedTuple):
    """A field that was read, as the page shows it. number: of its small picture. code: of the
    reason why it was refused, empty where it was accepted.
    """

    number: int
    position: int
    accepted: bool
    code: str


@dataclass(slots=True)
class LiveView:
    """The last live picture. jpeg: its file, empty before the first of a sample. bar: 0 to 1.
    advice: code of what to do. number: of the picture, rising.
    """

    number: int = 0
    jpeg: bytes = b""
    bar: float = 0.0
    advice: str = ""


@dataclass(slots=True)
class Changes:
    """What is told to one connection: that something changed, and never a queue of it."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)


def _said(state: KioskState) -> float:
    """How much of the analysis is done."""
    return 0.0 if state.sample is None else state.sample.progress.analysed


class Kiosk:
    """One kiosk; used from one event loop. work: None where nothing can capture. hooks: called with
    every version that is made.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        clock: Callable[[], float] = time.time,
        work: Work | None = None,
        hooks: tuple[VersionHook, ...] = (),
    ) -> None:
        self.writer = writer
        self._hooks = hooks
        self.work = work
        self.clock = clock
        self.view = LiveView()
        self.look = CameraLook(self.from_thread)
        # The fields that the page shows beside the live picture, and the small pictures of them.
        self.shown_fields: list[ShownField] = []
        self.small_pictures: dict[int, bytes] = {}
        # No two pictures have one number, not even after another start: a browser shows what it had
        # at an address once for as long as it stays on the page, and the page stays for months.
        self._picture_numbers = itertools.count(secrets.randbits(40) << 10)
        # The galleries of practice samples and what was done with them, by their ref, which are
        # nowhere else; and the gallery of a stored result that was asked for last.
        self._practice_galleries: dict[int, Gallery] = {}
        self._practised: dict[int, Practised] = {}
        self._gallery: tuple[str, Gallery] | None = None
        self.version = 0
        self._viewers = Viewers()
        self._waiting: dict[int, Changes] = {}
        self._connections = 0
        # One thread writes, so that a slow disk holds up no picture and events keep their order.
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kiosk-records")
        self._one_at_a_time = asyncio.Lock()
        self._deadlines: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._pictured = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self.state, self._begun_anew = state_to_go_on_from(writer)

    async def start(self) -> None:
        """Go on from where the kiosk was; begin to watch the deadlines."""
        self._loop = asyncio.get_running_loop()
        known = {each.id for each in takings(self.writer) if each.owner == "kiosk"}
        lost = tuple(
            sample.ref
            for sample in self.state.samples
            if sample.practice
            or (sample.step == "capture" and sample.taking and sample.taking not in known)
        )
        await self.tell(events.Restarted(lost))
        if self.writer.set_aside is not None:
            await self.tell_if_possible(events.FaultSeen("RECORDS_SET_ASIDE"))
        elif self._begun_anew:
            await self.tell_if_possible(events.FaultSeen("KIOSK_BEGUN_ANEW"))
        self._deadlines = asyncio.create_task(self._watch_deadlines())

    async def stop(self) -> None:
        """Let go of everything; the state is stored already."""
        if self._deadlines is not None:
            self._deadlines.cancel()
        self.release()
        if self.work is not None:
            self.work.close()
        if self._tasks:
            # What waits for a stick or a camera would wait for ever.
            _, late = await asyncio.wait(self._tasks, timeout=END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._writing.shutdown()

    # -- events -----------------------------------------------------------------------------------

    async def tell(self, event: Event) -> None:
        """Have an event in the state. EventRefusedError where it does not fit; RecordsError where
        the state could not be stored: then nothing was changed.
        """
        async with self._one_at_a_time:
            done = step(self.state, event, self.clock())
            if not isinstance(event, _NOT_STORED):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._writing, self._keep, done)
            heard, self.state = self.state, done.state
            # A sign of life that says nothing else has no page load anew.
            changed = not isinstance(event, _NOT_STORED) or _said(heard) != _said(self.state)
            self.version += changed
        self._moved.set()
        if changed:
            self.changed()
        for effect in done.effects:
            self._begin(effect)

    async def tell_if_possible(self, event: Event) -> bool:
        """The same of what the device noticed: one that came too late is let go."""
        try:
            await self.tell(event)
        except EventRefusedError as error:
            log.debug("%s", error)
            return False
        except RecordsError as error:
            log.error("%s", error)
            self.show_not_stored(error)
            return False
        return True

    def show_not_stored(self, error: RecordsError) -> bool:
        """Show the fault of the storing itself, which cannot be stored; whether it is shown."""
        full = isinstance(error, RecordsFullError)
        event = events.FaultSeen("RECORDS_FULL" if full else "RECORDS_REFUSED")
        if why_refused(self.state, event) is not None:
            return False
        self.state = step(self.state, event, self.clock()).state
        self.version += 1
        self.changed()
        return True

    def _keep(self, done: Step) -> None:
        """Store a state, and what its effects change in the records, in one transaction."""
        with self.writer.transaction():
            for effect in done.effects:
                self._store(effect)
            keep_kiosk_state(self.writer, stored(done.state))

    def _store(self, effect: Effect) -> None:
        if isinstance(effect, effects.NoteSignOut):
            sign_out(self.writer, effect.name, effect.why)
        elif isinstance(effect, effects.KeepReview) and effect.taking is not None:
            self._keep_review(effect, effect.taking)
        elif isinstance(effect, effects.KeepReview) and effect.ref is not None:
            known = self.practised(effect.ref)
            words = {**known.words, effect.item: effect.type}
            self._practised[effect.ref] = replace(known, words=words)
        elif isinstance(effect, effects.GiveUp) and effect.taking is not None:
            reason = f"{effect.reason}: {effect.words}" if effect.words else effect.reason
            if effect.has_result:
                change(
                    self.writer, effect.taking, "withdrawn",
                    by=effect.by, reason=reason, hooks=self._hooks,
                )  # fmt: skip
            else:
                self.writer.abandon_taking(effect.taking, reason, by=effect.by)

    def _keep_review(self, effect: effects.KeepReview, taking: str) -> None:
        """A confirmation says the model's own name again, which a cell without one lacks too."""
        cell = self._stored_gallery(taking).cells[effect.item]
        said = cell.type if effect.type is None else effect.type
        unsure = effect.type == UNCERTAIN or (effect.type is None and not cell.codes)
        review(
            self.writer,
            taking,
            field=cell.field,
            cell=cell.cell,
            type=None if unsure else said,
            is_cell=effect.type != NOT_A_CELL,
            by=effect.by,
        )

    def gallery(self, sample: Sample) -> Gallery:
        """The result of a sample and the cells of it that ask for a person. RecordsError where it
        cannot be read.
        """
        if sample.practice:
            if sample.ref not in self._practice_galleries:
                raise RecordsError("nothing was read in this practice, or it is not known any more")
            return self._practice_galleries[sample.ref]
        if sample.taking is None:
            raise RecordsError("the records do not know this sample")
        return self._stored_gallery(sample.taking)

    def _stored_gallery(self, taking: str) -> Gallery:
        kept = self._gallery
        if kept is None or kept[0] != taking:
            kept = self._gallery = (taking, stored_gallery(self.writer, taking))
        return kept[1]

    def keep_practice(self, ref: int, gallery: Gallery) -> None:
        """Keep what came of a practice until it is over."""
        refs = {sample.ref for sample in self.state.samples}
        kept = {**self._practice_galleries, ref: gallery}
        self._practice_galleries = {number: each for number, each in kept.items() if number in refs}
        self._practised = {n: each for n, each in self._practised.items() if n in refs}

    def practised(self, ref: int) -> Practised:
        """What else is known of a practice."""
        return self._practised.get(ref, Practised())

    def keep_drawn(self, ref: int, drawn: Mapping[int, DrawnCell | None]) -> None:
        """Keep what the asked cells of a practice are."""
        self._practised[ref] = replace(self.practised(ref), drawn=drawn)
        self.bump()

    def _begin(self, effect: Effect) -> None:
        if isinstance(effect, effects.DrawANumber) and effect.ref is not None:
            self.do(self._draw(effect.ref))
        elif self.work is not None:
            self.work.begin(effect, self.state)

    async def _draw(self, ref: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            number = await loop.run_in_executor(self._writing, draw_number, self.writer)
        except RecordsError as error:
            log.error("%s", error)
            self.show_not_stored(error)
            return
        await self.tell_if_possible(events.NumberDrawn(ref, number))

    async def stored(self, work: Callable[[], object]) -> object:
        """Do something with the records in the thread that writes, in the order of the asking."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, work)

    def stored_now(self, work: Callable[[], object]) -> object:
        """The same for a thread of its own, which waits for it. Never from the event loop."""
        return self._writing.submit(work).result()

    def from_thread(self, call: Callable[[], object]) -> None:
        """Have something called by the event loop, from the thread that writes."""
        assert self._loop is not None, "the kiosk was started"
        self._loop.call_soon_threadsafe(call)

    def do(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Have something done beside; its end is waited for when the kiosk stops."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sign_in(self, name: str, pin: str, viewer: str) -> None:
        """Try a PIN; what came of it is in the state. A PIN takes the time it takes: not in the
        thread that writes fields.
        """
        try:
            user = await asyncio.to_thread(
                sign_in, self.writer, name, pin, seconds=lambda: int(self.clock())
            )
        except SignInError as error:
            await self.tell_if_possible(events.PinRefused(name, float(error.wait_s)))
            return
        await self.tell(events.SignIn(user.name, user.role, viewer))

    # -- deadlines --------------------------------------------------------------------------------

    async def _watch_deadlines(self) -> None:
        while True:
            self._moved.clear()
            found = due(self.state)
            left = None if found is None else max(0.0, found[0] - self.clock())
            try:
                # A clock that is set while we wait is noticed within a quarter of a minute.
                await asyncio.wait_for(self._moved.wait(), 15.0 if left is None else min(left, 15))
                continue
            except TimeoutError:
                pass
            if found is not None and self.clock() >= found[0]:
                try:
                    await self.tell_if_possible(found[1])
                except EdgeHemoError as error:
                    log.error("a deadline was not kept: %s at %s", error.code, place_of(error))

    # -- who looks --------------------------------------------------------------------------------

    @contextmanager
    def looking(self, viewer: str) -> Iterator[Changes | None]:
        """Be told of changes for as long as the context lasts; None where too many look."""
        self._connections += 1
        number = self._connections
        joined = self._viewers.joined(number, viewer)
        if joined is None:
            yield None
            return
        for gone in set(self._viewers.connections) - set(joined.connections):
            self._waiting.pop(gone).wake.set()
        self._viewers = joined
        changes = self._waiting[number] = Changes()
        try:
            yield changes
        finally:
            self._viewers = self._viewers.left(number)
            self._waiting.pop(number, None)

    def still_looks(self, changes: Changes) -> bool:
        """Whether a connection has not given way to another."""
        return any(each is changes for each in self._waiting.values())

    @property
    def lookers(self) -> int:
        """Open connections."""
        return len(self._waiting)

    def bump(self) -> None:
        """Have the pages made anew for something that is not in the state."""
        self.version += 1
        self.changed()

    def changed(self) -> None:
        """Tell everybody that there is something new."""
        for each in self._waiting.values():
            each.wake.set()

    def show_view(self, jpeg: bytes, bar: float, advice: str) -> None:
        """The newest live picture."""
        self.view = LiveView(self.view.number + 1, jpeg, bar, advice)
        # Whoever waits has this one; the next is for the next picture, so that none is missed.
        pictured, self._pictured = self._pictured, asyncio.Event()
        pictured.set()
        self.changed()

    def show_field(self, position: int, accepted: bool, code: str, jpeg: bytes) -> None:
        """Show a field that was read among the last ones."""
        number = next(self._picture_numbers)
        field = ShownField(number, position, accepted, code)
        self.shown_fields = [*self.shown_fields, field][-SHOWN_FIELDS:]
        pictures = {**self.small_pictures, number: jpeg}
        self.small_pictures = {each.number: pictures[each.number] for each in self.shown_fields}

    def forget_fields(self) -> None:
        """Another sample begins; nobody is shown a picture of the one before."""
        self.shown_fields, self.small_pictures = [], {}
        self.view = LiveView(self.view.number)

    async def next_view(self, after: int, timeout_s: float) -> LiveView | None:
        """The newest live picture, which is not yet shown; None where none comes in time.

        after: the number of the last one that was shown.
        """
        if self.view.jpeg and self.view.number > after:
            return self.view
        try:
            await asyncio.wait_for(self._pictured.wait(), timeout_s)
        except TimeoutError:
            return None
        return self.view if self.view.jpeg else None

    def release(self) -> None:
        """End the connections that are told of changes, so that the server can end."""
        for waiting in self._waiting.values():
            waiting.wake.set()
        self._waiting.clear()
        self._viewers = Viewers()
        self._pictured.set()
