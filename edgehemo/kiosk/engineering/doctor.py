"""The engineer's page of the device itself: what is wrong with it, how fast it is, its log."""

from __future__ import annotations

from edgehemo.device.changing import change_device
from edgehemo.device.doctor import examine
from edgehemo.device.finding import DoctorReport
from edgehemo.device.kiosk_log import last_lines, log_path
from edgehemo.device.toml_editing import Value
from edgehemo.errors import DeviceError, KioskBusyError
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.engineering.device_facts import device_facts
from edgehemo.kiosk.engineering.doctor_view import benched, looked_at
from edgehemo.kiosk.engineering.job_view import is_running, trouble_of, why_not_kept
from edgehemo.kiosk.engineering.own_command import Said, run_command
from edgehemo.kiosk.jobs import Job
from edgehemo.kiosk.paging import turned_to
from edgehemo.kiosk.screens import Area

_LOOK, _BENCH = "doctor", "bench"
# What fits on the smallest screen: findings and lines of the log.
FINDINGS_PER_PAGE, LINES_PER_PAGE = 5, 6
# A line of the log is cut after so many characters: two lines of the page.
LINE_CHARACTERS = 150


class DoctorArea:
    """Its pages: what was found (the first), ``bench``, ``log``, ``device``."""

    area: Area = "doctor"

    def __init__(self) -> None:
        self._report: DoctorReport | None = None

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `AreaPages`."""
        if asked.path == "":
            return self._findings(desk, asked)
        if asked.path == "bench":
            return self._bench(desk, asked)
        if asked.path == "log":
            lines = last_lines(log_path(desk.device))
            page = turned_to(lines, asked.values.get("page", ""), LINES_PER_PAGE)
            return Shown("engineering/log.html.j2", {"page": page, "characters": LINE_CHARACTERS})
        if asked.path == "device":
            facts = device_facts(desk.device, asked.words, desk.address)
            return Shown("engineering/device.html.j2", {"facts_of_device": facts})
        return None

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `AreaPages`."""
        if asked.path == "look":
            desk.jobs.begin(self.area, _LOOK, _examined)
            self._report = None
            return Went()
        if asked.path == "bench/begin":
            desk.jobs.begin(self.area, _BENCH, _timed)
            return Went("bench")
        if asked.path == "bench/stop":
            desk.jobs.stop(self.area)
            return Went("bench")
        if asked.path == "bench/take":
            return self._take(desk, asked)
        return None

    def _findings(self, desk: Desk, asked: Asked) -> Shown:
        """What was found; it is looked for where that was not done yet."""
        job = desk.jobs.of(self.area)
        if job is not None and job.about == _LOOK and job.ended:
            if isinstance(job.result, DoctorReport):
                self._report = job.result
            desk.jobs.put_away(self.area)
        if self._report is None:
            busy = False
            if not is_running(job, _LOOK):
                try:
                    desk.jobs.begin(self.area, _LOOK, _examined)
                except KioskBusyError:
                    busy = True
            return Shown("engineering/doctor.html.j2", {"page": None, "one": None, "busy": busy})
        found = looked_at(self._report, asked.words)
        page = turned_to(found, asked.values.get("page", ""), FINDINGS_PER_PAGE)
        named = asked.values.get("look", "")
        one = next((each for each in page.items if each.name == named), page.items[0])
        counts = {
            verdict: sum(each.verdict == verdict for each in found)
            for verdict in ("fails", "soon", "good")
        }
        values = {"page": page, "one": one, "counts": counts, "busy": False}
        return Shown("engineering/doctor.html.j2", values)

    def _bench(self, desk: Desk, asked: Asked) -> Shown:
        job = desk.jobs.of(self.area)
        if job is None or job.about != _BENCH:
            return Shown("engineering/bench.html.j2", {"job": None, "view": None, "trouble": None})
        trouble = None if job.error is None else trouble_of(job.error, asked.words)
        view = None
        if isinstance(job.result, Said):
            view = benched(job.result.document, desk.device.inference)
        values = {"job": job, "view": view, "trouble": trouble}
        return Shown("engineering/bench.html.j2", values)

    def _take(self, desk: Desk, asked: Asked) -> Went:
        """Have the device run what was fastest, as the command does."""
        job = desk.jobs.of(self.area)
        best = None
        if job is not None and isinstance(job.result, Said):
            best = benched(job.result.document, desk.device.inference).recommended
        if best is None:
            return Went("bench", problem=asked.words._("Measure first."))
        values: dict[str, Value] = {
            "runtime": best.runtime,
            "precision": best.precision,
            "threads": best.threads,
        }
        try:
            device = change_device({"inference": values})
        except DeviceError as error:
            return Went("bench", problem=why_not_kept(error, asked.words))
        desk.kiosk.writer.note(
            "configuration changed", details={"inference": values}, by=asked.who.name
        )
        desk.take_up(device)
        return Went("bench", said=asked.words._("Taken over. The next self-check uses it."))


def _examined(job: Job) -> DoctorReport:
    return examine()


def _timed(job: Job) -> Said:
    return run_command(job, ["bench", "--no-write", "-v"])
