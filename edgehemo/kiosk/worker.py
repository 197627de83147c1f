"""The process that takes and reads the pictures: own memory, own crash, own end.

It does one order after another, and between two live pictures looks for the next one. Nothing is
stored here: what was read goes to the server, which writes it and then shows it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from edgehemo.capture import FRAME_DEADLINE_S, LiveCapture, distinct_frames, open_source
from edgehemo.capture.autocapture import View
from edgehemo.capture.guard import GuardedCamera
from edgehemo.device.configuration import load_device
from edgehemo.device.equipment import Equipment, open_equipment
from edgehemo.device.readiness import refuse_another_camera, refuse_simulated_profile
from edgehemo.errors import (
    BundleError,
    CaptureError,
    EdgeHemoError,
    NotEnoughMemoryError,
    ProfileError,
)
from edgehemo.images.frame import Frame
from edgehemo.kiosk.faults import FAULT_CODES, FaultCode
from edgehemo.kiosk.live_picture import (
    LIVE_QUALITY,
    LIVE_SIDE_PX,
    PICTURES_PER_S,
    SMALL_QUALITY,
    SMALL_SIDE_PX,
    Pace,
    jpeg,
)
from edgehemo.kiosk.looking import Looking
from edgehemo.kiosk.messages import (
    Awake,
    CaptureOrder,
    CheckOrder,
    Failed,
    Finished,
    FinishOrder,
    HasEnough,
    KnowsTruth,
    LookOrder,
    Order,
    Probed,
    ProbeOrder,
    ReadField,
    Ready,
    Report,
    SawPicture,
    StopOrder,
    TruthOrder,
    WasChecked,
)
from edgehemo.kiosk.practice import drawn_cells
from edgehemo.kiosk.profile_of import profile_path
from edgehemo.kiosk.reading_beside import ReadingBeside
from edgehemo.kiosk.state import Checked
from edgehemo.records.circumstances import Circumstances
from edgehemo.screening.field import FieldReading
from edgehemo.screening.provenance import provenance_of
from edgehemo.screening.sample import Screening
from edgehemo.screening.stopping import StopRule, camera_rule

if TYPE_CHECKING:
    from edgehemo.anaemia.who_grade import Person
    from edgehemo.screening.sample import UnreadableImage

# Of the pictures that could be taken one in so many is judged: five a second, where each may cost
# the small processor as much as all else of the live picture.
JUDGE_EVERY = 3
# Where a hand moves the slide, so many fields may wait to be read while it goes on; more would be
# of a smear that had enough long ago. A stage waits for each.
MAX_UNREAD, MAX_UNREAD_BY_STAGE = 2, 1
# A picture whose brightest hundredth stays below this share of full scale is darker than a bright
# field that was set well, and lighter than one without a lamp.
LOW_LIGHT_SHARE = 0.35


class _OtherOrder(Exception):  # noqa: N818  not an error: something else is to be done
    """Another order waits."""


def run(connection: Connection, source: str) -> None:
    """Do orders until the server says that there are no more, or is gone. source: the camera."""
    # The server ends this process; a Ctrl-C at the terminal is meant for the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _Worker(connection, source).work()


class _Worker:
    def __init__(self, connection: Connection, source: str) -> None:
        self.connection, self.source = connection, source
        self._equipment: Equipment | None = None
        self._opened_for = ""
        # What came while a look went on, to be done next.
        self._held: tuple[Order | None, ...] = ()
        self._saying = threading.Lock()
        # Cameras that gave a picture.
        self._seen: set[str] = set()

    def work(self) -> None:
        """Tell under what circumstances samples are taken, then do what comes."""
        self.say(Awake())
        try:
            self.say(Ready(self.source, self._circumstances(self.source)))
        except EdgeHemoError as error:
            # Told where a sample waits for it; the self-check says more.
            self.say(Failed(None, self._fault(error, self.source)))
        while True:
            held, self._held = self._held, ()
            order: Order | None = held[0] if held else self.connection.recv()
            if order is None:
                return
            try:
                self._do(order)
            except _OtherOrder:
                continue
            except EdgeHemoError as error:
                source = getattr(order, "source", self.source)
                self.say(Failed(getattr(order, "ref", None), self._fault(error, source)))
            except MemoryError:
                self.say(Failed(getattr(order, "ref", None), "OUT_OF_MEMORY"))

    def say(self, report: Report) -> None:
        """Tell the server; from the thread that reads too."""
        with self._saying:
            self.connection.send(report)

    def _do(self, order: Order) -> None:
        if isinstance(order, CheckOrder):
            self.say(WasChecked(order.ref, tuple(self._checks(order.source))))
        elif isinstance(order, CaptureOrder):
            self._capture(order)
        elif isinstance(order, FinishOrder):
            self._finish(order)
        elif isinstance(order, ProbeOrder):
            self.say(Probed(order.code, self._gives_pictures(order.source)))
        elif isinstance(order, TruthOrder):
            self.say(KnowsTruth(order.ref, drawn_cells(order.source, order.asked)))
        elif isinstance(order, LookOrder):
            picture = partial(jpeg, side_px=LIVE_SIDE_PX, quality=LIVE_QUALITY)
            self._held = Looking(self.connection, self.say, picture).look(order)
        else:
            assert isinstance(order, StopOrder)

    # -- equipment --------------------------------------------------------------------------------

    def _opened(self, source: str) -> Equipment:
        """The equipment for a camera; opened anew for each self-check, kept between."""
        if self._equipment is None or self._opened_for != source:
            self._equipment = open_equipment(None, profile_path(source, load_device(None)))
            self._opened_for = source
        return self._equipment

    def _circumstances(self, source: str) -> Circumstances:
        equipment = self._opened(source)
        device = equipment.device
        return Circumstances(
            um_per_px=None,
            rule=self._rule(equipment),
            blocked=equipment.blocked,
            notes=equipment.notes,
            runtime=device.inference.runtime,
            precision=device.inference.precision,
            threads=device.inference.threads,
            profile_name=equipment.profile_name,
            networks=equipment.networks_wanted(),
        )

    def _rule(self, equipment: Equipment) -> StopRule:
        wanted = equipment.device.screening
        return camera_rule(
            None,
            None,
            device_fields=wanted.fields_wanted,
            device_counting_error=wanted.counting_error,
        )

    def _screening(
        self,
        source: str,
        person: Person | None,
        images: tuple[FieldReading | UnreadableImage, ...],
    ) -> Screening:
        equipment = self._opened(source)
        return Screening(
            equipment.reader(networks=equipment.networks_wanted()),
            person=person,
            bundle_sha256=equipment.bundle.digest,
            rule=self._rule(equipment),
            blocked=equipment.blocked,
            notes=equipment.notes,
            images=list(images),
        )

    # -- orders -----------------------------------------------------------------------------------

    def _checks(self, source: str) -> Iterator[Checked]:
        self._equipment = None
        try:
            equipment = self._opened(source)
            # Of the models that are opened later too: not in the middle of a sample.
            equipment.bundle.check_files()
            refuse_simulated_profile(equipment.profile, equipment.profile_name, [source])
            refuse_another_camera(
                equipment.profile, equipment.profile_name, [source], equipment.device
            )
            self.say(Ready(source, self._circumstances(source)))
        except BundleError:
            yield Checked(name="bundle", verdict="fails", code="BUNDLE_REFUSED", blocks=True)
            return
        except EdgeHemoError:
            yield Checked(name="profile", verdict="fails", code="PROFILE_REFUSED", blocks=True)
            return
        name = f"{equipment.bundle.manifest.name} {equipment.bundle.manifest.serial}"
        yield Checked(name="bundle", verdict="good", fact=name)
        yield from self._of_profile(equipment)
        yield from self._of_camera(equipment, source)

    def _of_profile(self, equipment: Equipment) -> Iterator[Checked]:
        blocked = equipment.blocked
        if equipment.profile is None:
            yield Checked(name="profile", verdict="soon", code="CALIBRATION_NONE")
        elif blocked is not None:
            about = "control" if blocked.code.startswith("CONTROL") else "profile"
            if blocked.code == "CLOCK_UNSET":
                about = "clock"
            # Fields may be taken and looked at; every result is withheld until it is mended.
            yield Checked(name=about, verdict="fails", code=blocked.code, blocks=True)
        else:
            yield Checked(name="profile", verdict="good", fact=equipment.profile_name or "")

    def _of_camera(self, equipment: Equipment, source: str) -> Iterator[Checked]:
        try:
            with open_source(source) as camera:
                camera.apply(equipment.camera_settings())
                frame = camera.frame(10.0)
        except EdgeHemoError as error:
            code = self._fault(error, source)
            about = "lamp" if code == "CAMERA_DARK" else "camera"
            if about == "lamp":
                self._seen.add(source)
                yield Checked(name="camera", verdict="good")
                code = "LAMP_OFF"
            yield Checked(name=about, verdict="fails", code=code, blocks=True)
            return
        self._seen.add(source)
        yield Checked(name="camera", verdict="good", fact=f"{frame.width}×{frame.height}")
        level = float(np.percentile(frame.pixels[::8, ::8], 99)) / 255
        low = level < LOW_LIGHT_SHARE
        yield Checked(
            name="lamp",
            verdict="soon" if low else "good",
            code="CAMERA_DARK" if low else None,
            fact=f"{level * 100:.0f} %",
        )

    def _fault(self, error: EdgeHemoError, source: str) -> FaultCode:
        """What an error is at the kiosk. A camera that gave pictures before was pulled: that a hand
        can mend, where one that never was there asks for whoever looks after the device.
        """
        code = _fault_of(error)
        gone = code == "CAMERA_NOT_FOUND" and source in self._seen
        return "CAMERA_UNPLUGGED" if gone else code

    def _gives_pictures(self, source: str) -> bool:
        try:
            with open_source(source) as camera:
                camera.apply(self._opened(source).camera_settings())
                camera.frame(10.0)
        except EdgeHemoError:
            return False
        return True

    def _capture(self, order: CaptureOrder) -> None:
        """Take fields and have them read, while the live picture goes on."""
        equipment = self._opened(order.source)
        screening = self._screening(order.source, order.person, order.images)
        if screening.stop_reason is not None:
            self.say(HasEnough(order.ref))
            return
        pace = Pace(PICTURES_PER_S, self._look)
        live = LiveCapture(
            judge=equipment.judge(None, partial(screening.scale_of, min_fields=1)),
            judge_every=JUDGE_EVERY,
            on_view=partial(self._show, order.ref, pace),
        )
        limit = (screening.rule.examined_fields or 1) - len(order.images)
        with (
            open_source(order.source) as camera,
            ReadingBeside(partial(self._read, order, screening)) as beside,
        ):
            camera.apply(equipment.camera_settings())
            self._skip_taken(camera, len(order.images))
            most = MAX_UNREAD_BY_STAGE if camera.has_stage else MAX_UNREAD
            for frame in distinct_frames(camera, max(1, limit), live=live):
                beside.take(frame)
                self._until(order.ref, pace, camera, frame, lambda: beside.unread < most)
                if beside.enough:
                    break
            self._until(order.ref, pace, camera, None, lambda: beside.unread == 0)
        self.say(HasEnough(order.ref))

    def _until(
        self,
        ref: int,
        pace: Pace,
        camera: GuardedCamera,
        frame: Frame | None,
        done: Callable[[], bool],
    ) -> None:
        """Show the place that was taken until something is done. frame: the first to show."""
        view = View(1.0, "FIELD_TAKEN")
        if frame is not None and camera.has_stage:
            self._show(ref, pace, view, frame)
        while not done():
            self._show(ref, pace, view, camera.frame(FRAME_DEADLINE_S))

    def _skip_taken(self, camera: GuardedCamera, taken: int) -> None:
        """A stage that moves by itself begins at the first place again."""
        if camera.has_stage:
            for _ in range(taken):
                self._look()
                camera.move_to_next_field()

    def _show(self, ref: int, pace: Pace, view: View, frame: Frame) -> None:
        """Send a live picture in its time; leave where another order waits."""
        self._look()
        picture = jpeg(frame.pixels, LIVE_SIDE_PX, LIVE_QUALITY)
        self.say(SawPicture(ref, picture, view.bar, view.advice))
        pace.keep()

    def _look(self, wait_s: float = 0.0) -> None:
        if self.connection.poll(wait_s):
            raise _OtherOrder

    def _read(self, order: CaptureOrder, screening: Screening, frame: Frame) -> bool:
        """Read a field, in the thread that reads; whether more are wanted."""
        reading = screening.consider(frame)
        fields = [item for item in screening.images if isinstance(item, FieldReading)]
        accepted = [item for item in fields if item.accepted]
        red = sum(
            item.cells.interior_counts["rbc"].value for item in accepted if item.cells is not None
        )
        self.say(
            ReadField(
                order.ref,
                order.run,
                len(screening.images) - 1,
                reading,
                frame,
                jpeg(frame.pixels, SMALL_SIDE_PX, SMALL_QUALITY),
                len(accepted),
                len(screening.images) - len(accepted),
                round(red),
            )
        )
        return screening.stop_reason is None

    def _finish(self, order: FinishOrder) -> None:
        equipment = self._opened(order.source)
        reading = self._screening(order.source, order.person, order.images).finish()
        provenance = provenance_of(
            equipment.bundle,
            equipment.profile,
            equipment.profile_name,
            um_per_px=None,
            simulated=order.simulated,
            now=datetime.now().astimezone(),
        )
        self.say(Finished(order.ref, reading, provenance))


def _fault_of(error: EdgeHemoError) -> FaultCode:
    """What an error is at the kiosk."""
    code: Any = error.code
    if code in FAULT_CODES:
        known: FaultCode = code
        return known
    if isinstance(error, CaptureError):
        return "CAPTURE_FAILED"
    if isinstance(error, BundleError):
        return "BUNDLE_REFUSED"
    if isinstance(error, ProfileError):
        return "PROFILE_REFUSED"
    if isinstance(error, NotEnoughMemoryError):
        return "OUT_OF_MEMORY"
    return "CAPTURE_FAILED"
