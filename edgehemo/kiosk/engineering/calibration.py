"""The engineer's page of calibration: each part measured step by step, looked at, then accepted."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from edgehemo.capture.protocol import CameraSettings
from edgehemo.control.history import Clearance, ControlCheck
from edgehemo.device.changing import change_device
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.due_today import forget_due
from edgehemo.device.profile_store import own_profile
from edgehemo.errors import (
    CaptureError,
    DeviceError,
    ProfileError,
)
from edgehemo.files.strict import keys_of
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.camera_look import CameraLook, Seen
from edgehemo.kiosk.engineering import measuring
from edgehemo.kiosk.engineering.control_view import check_view, failed_checks, judged_again
from edgehemo.kiosk.engineering.job_view import is_running, trouble_of, why_not_kept
from edgehemo.kiosk.engineering.levels_view import levels_view
from edgehemo.kiosk.engineering.measured_view import measured_view
from edgehemo.kiosk.engineering.measuring import Workplace, profile_to_extend
from edgehemo.kiosk.engineering.own_command import Said, has_command, run_command
from edgehemo.kiosk.engineering.own_settings import own_settings
from edgehemo.kiosk.engineering.profile_view import DUE_DAYS, Verdict
from edgehemo.kiosk.engineering.slide_runs import (
    ANY_SLIDE,
    BETTER_RUNS,
    LEAST_RUNS,
    RunsOf,
    forget_runs,
    is_slide_name,
    keep_run,
    kept_runs,
    runs_of,
)
from edgehemo.kiosk.engineering.stored_pairs import (
    PAIRS_NAME,
    PairedSample,
    paired_samples,
    write_pairs,
)
from edgehemo.kiosk.engineering.wizards import (
    BETTER_SAMPLES,
    COMMAND,
    LEAST_SAMPLES,
    NEEDS,
    PARTS,
    PITCHES_UM,
    WIZARDS,
    Part,
    goes_by_itself,
    instruction,
    pictures_of,
    source_for,
    steps_of,
    wizard_name,
)
from edgehemo.kiosk.jobs import Job
from edgehemo.kiosk.paging import turned_to
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.supervision.watched import why_failed
from edgehemo.profile.parts import FixedSettings
from edgehemo.profile.profile import CalibrationProfile, load_profile
from edgehemo.records.controls import keep_control, stored_controls
from edgehemo.records.store import Store
from edgehemo.version import __version__
from edgehemo.words.language import Words

_TAKE, _MEASURE = "take", "measure"
# What is done with the pictures: a part of the profile is measured; a control slide is judged; a
# slide gets one more run; its runs are measured together, for its targets or its repeatability.
Purpose = Literal["part", "check", "run", "together"]
# How long one picture may take to come.
_PICTURE_S = 15.0
SAMPLES_PER_PAGE = 5
# Draws of the simulated control slide.
MOST_SMEARS = 1_000_000
# Of a clearance, as its command takes it.
MAX_REASON, MAX_BY = 500, 40


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part on the first page. said: when it was measured, or that it was not."""

    part: Part
    called: str
    said: str
    verdict: Verdict


@dataclass(slots=True)
class _Run:
    """A part that is being measured. files: the pictures so far. settings: of the camera at the
    last one. before: the profile as it was.
    """

    part: Part
    place: Workplace
    before: CalibrationProfile | None
    files: tuple[str, ...] = ()
    pitch_um: float = PITCHES_UM[0]
    settings: CameraSettings | None = None
    purpose: Purpose = "part"
    slide: str = ""
    # Where on the simulated control slide a run looks: nowhere twice.
    places: int = 0


class CalibrationArea:
    """Its pages: the parts (the first), of each ``<part>``, ``<part>/take``, ``<part>/result``."""

    area: Area = "calibration"

    def __init__(self) -> None:
        self._run: _Run | None = None

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `AreaPages`."""
        if not has_command(COMMAND):
            return Shown("engineering/not_installed.html.j2")
        part, _, page = asked.path.partition("/")
        if asked.path == "":
            return self._parts(desk, asked)
        named = next((each for each in PARTS if each == part), None)
        if named is None:
            return None
        shows: Mapping[str, Callable[[Desk, Asked, Part], Shown | None]] = {
            "": self._introduction,
            "take": self._taking,
            "result": self._result,
        }
        return shows[page](desk, asked, named) if page in shows else None

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `AreaPages`."""
        part, _, what = asked.path.partition("/")
        named = next((each for each in PARTS if each == part), None)
        does: Mapping[str, Callable[[Desk, Asked, Part], Went]] = {
            "begin": self._begin,
            "take": self._take,
            "take_all": self._take_all,
            "again": self._again,
            "measure": self._measure,
            "stop": self._stop,
            "accept": self._accept,
            "leave": self._leave,
            "clear": self._clear,
            "drop_runs": self._drop_runs,
        }
        if named is None or what not in does or not has_command(COMMAND):
            return None
        return does[what](desk, asked, named)

    # -- the parts --------------------------------------------------------------------------------

    def _parts(self, desk: Desk, asked: Asked) -> Shown:
        if not is_running(desk.jobs.of(self.area)):
            self._forget(desk)
        source, device, words = desk.kiosk.look.source, desk.device, asked.words
        path = profile_to_extend(source, device)
        try:
            profile = load_profile(path) if path.exists() else None
        except ProfileError as error:
            values = {"rows": (), "path": path, "trouble": trouble_of(error, words)}
            return Shown("engineering/calibration.html.j2", values)
        now = datetime.now().astimezone()
        rows = [part_row(part, profile, device, words, now) for part in PARTS]
        in_force = _is_in_force(path, source, device)
        values = {"rows": rows, "path": path, "trouble": None, "in_force": in_force}
        return Shown("engineering/calibration.html.j2", values)

    def _introduction(self, desk: Desk, asked: Asked, part: Part) -> Shown:
        words = asked.words
        values: dict[str, Any] = {
            "part": part,
            "called": wizard_name(words, part),
            "what_to_do": steps_of(words, part),
            "pitches": [(f"{each:g}", words.number(each)) for each in PITCHES_UM],
            "lacking": [wizard_name(words, each) for each in self._lacking(desk, part)],
            "samples": None,
        }
        if part == "analyser":
            found = self._paired(desk)
            good = [each for each in found if each.left is None]
            page = turned_to(found, asked.values.get("page", ""), SAMPLES_PER_PAGE)
            values |= {
                "samples": page,
                "taking_part": len(good),
                "wanted": LEAST_SAMPLES,
                "better": BETTER_SAMPLES,
                "more": max(0, LEAST_SAMPLES - len(good)),
                "why_left": why_left(words),
            }
        if part == "control":
            return self._control(desk, asked, values)
        if part == "repeatability":
            values["runs"] = runs_of(desk.device, part, ANY_SLIDE)
            values |= {"least_runs": LEAST_RUNS[part], "better_runs": BETTER_RUNS[part]}
            return Shown("engineering/repeatability.html.j2", values)
        return Shown("engineering/wizard.html.j2", values)

    def _control(self, desk: Desk, asked: Asked, values: Mapping[str, Any]) -> Shown:
        """The control slides: those with targets, and those whose runs are being taken."""
        words = asked.words
        profile = self._profile(desk)
        with_targets = () if profile is None else tuple(each.name for each in profile.controls)
        runs = kept_runs(desk.device, "control")
        path = profile_to_extend(desk.kiosk.look.source, desk.device)
        failed = () if profile is None else failed_checks(desk.kiosk.writer, profile, path)
        ready = next((each for each in runs if not each.more), None)
        names = [*with_targets, *(each.name for each in runs if each.name not in with_targets)]
        wanted = asked.values.get("slide", "")
        more = {
            "with_targets": with_targets,
            "runs": runs,
            "ready": ready,
            "failed": failed,
            "why": "; ".join(why_failed(failed[-1], words)) if failed else "",
            "slide": wanted or (names[0] if names else ""),
            "least_runs": LEAST_RUNS["control"],
        }
        return Shown("engineering/control.html.j2", {**values, **more})

    def _profile(self, desk: Desk) -> CalibrationProfile | None:
        path = profile_to_extend(desk.kiosk.look.source, desk.device)
        return load_profile(path) if path.exists() else None

    def _lacking(self, desk: Desk, part: Part) -> list[Part]:
        """What must be measured before."""
        profile = self._profile(desk)
        return [
            each
            for each in NEEDS.get(part, ())
            if profile is None or getattr(profile, each, None) is None
        ]

    # -- pictures ---------------------------------------------------------------------------------

    def _begin(self, desk: Desk, asked: Asked, part: Part) -> Went:
        words = asked.words
        if is_running(desk.jobs.of(self.area)):
            return Went(
                "", problem=words._("Something else is still being done. Wait until it ends.")
            )
        if lacking := self._lacking(desk, part):
            named = ", ".join(wizard_name(words, each) for each in lacking)
            return Went(part, problem=words._("Measure first: {parts}", parts=named))
        place = measuring.begin(desk.kiosk.look.source, desk.device)
        before = load_profile(place.out) if place.before is not None else None
        desk.jobs.put_away(self.area)
        self._run = _Run(part, place, before)
        if part in ("control", "repeatability"):
            self._run.places = secrets.randbelow(MOST_SMEARS)
        pitch = asked.values.get("pitch_um", "")
        if pitch in {f"{each:g}" for each in PITCHES_UM}:
            self._run.pitch_um = float(pitch)
        if part == "analyser":
            return self._measure(desk, asked, part)
        if part == "control":
            return self._begin_control(desk, asked, self._run)
        if part == "repeatability":
            self._run.slide = ANY_SLIDE
            if asked.values.get("purpose") == "together":
                self._run.purpose = "together"
                return self._measure(desk, asked, part)
            self._run.purpose = "run"
        return Went(f"{part}/take")

    def _begin_control(self, desk: Desk, asked: Asked, run: _Run) -> Went:
        words = asked.words
        name = asked.values.get("slide", "").strip()
        purpose = asked.values.get("purpose", "")
        if not is_slide_name(name):
            said = words._("The slide's name has letters, digits, spaces and any of _ . -")
            return Went("control", problem=said)
        run.slide = name
        if purpose == "together":
            run.purpose = "together"
            return self._measure(desk, asked, "control")
        run.purpose = "run" if purpose == "run" else "check"
        known = run.before is not None and run.before.control(name) is not None
        if run.purpose == "check" and not known:
            said = words._("This slide has no targets yet: take runs of it first.")
            return Went(f"control?slide={quote(name)}", problem=said)
        return Went("control/take")

    def _of(self, part: Part) -> _Run | None:
        return self._run if self._run is not None and self._run.part == part else None

    def _taking(self, desk: Desk, asked: Asked, part: Part) -> Shown | None:
        run, look = self._of(part), desk.kiosk.look
        if run is None or part not in WIZARDS:
            return self._introduction(desk, asked, part)
        job = desk.jobs.of(self.area)
        taking = is_running(job, _TAKE)
        if not taking:
            source = source_for(look.source, part, run.places)
            look.show(own_settings(look.source, desk.device), source)
        trouble = None
        if job is not None and job.about == _TAKE and job.error is not None:
            trouble = trouble_of(job.error, asked.words)
        elif not taking and look.seen.problem is not None:
            code, line = look.seen.problem
            trouble = trouble_of(CaptureError(line, code=code, action=""), asked.words)
        wizard = WIZARDS[part]
        has_drive = look.seen.settings.focus_um is not None
        moves_itself = goes_by_itself(look.source, part, has_drive)
        values = {
            "part": part,
            "called": wizard_name(asked.words, part),
            "say": self._say(part, run, taking, moves_itself, asked.words),
            "taken": len(run.files),
            "wanted": wizard.pictures,
            "enough": len(run.files) >= wizard.least,
            "taking": taking,
            "trouble": trouble,
            "levels": levels_view(look.seen.levels, asked.words),
            "takes_all": moves_itself and _has_room_for_all(part, len(run.files)),
            "takes_one": _has_room_for_one(part, moves_itself, len(run.files)),
            "is_run": run.purpose == "run",
        }
        return Shown("engineering/taking.html.j2", values)

    def _say(self, part: Part, run: _Run, taking: bool, moves_itself: bool, words: Words) -> str:
        """What a person does now, and what is touched then."""
        if taking:
            return words._("The pictures are being taken. Leave the slide as it is.")
        now = instruction(words, part, len(run.files), moves_itself=moves_itself)
        if len(run.files) < WIZARDS[part].pictures:
            return now
        then = words._("Touch Keep the run.") if run.purpose == "run" else words._("Touch Measure.")
        return f"{now} {then}"

    def _take(self, desk: Desk, asked: Asked, part: Part) -> Went:
        return self._take_some(desk, part, 1)

    def _take_all(self, desk: Desk, asked: Asked, part: Part) -> Went:
        run = self._of(part)
        if run is None:
            return Went(part)
        return self._take_some(desk, part, WIZARDS[part].pictures - len(run.files))

    def _take_some(self, desk: Desk, part: Part, count: int) -> Went:
        """Take pictures beside the page. On the simulated microscope over as many smears as the
        protocol asks for.
        """
        run = self._of(part)
        if run is None or count < 1:
            return Went(f"{part}/take")
        look = desk.kiosk.look
        settings = own_settings(look.source, desk.device)
        work = partial(_taken, run=run, look=look, settings=settings, count=count)
        desk.jobs.put_away(self.area)
        desk.jobs.begin(self.area, _TAKE, work)
        return Went(f"{part}/take")

    def _again(self, desk: Desk, asked: Asked, part: Part) -> Went:
        """Begin anew with this part: its pictures are removed."""
        before = self._of(part)
        values = dict(asked.values)
        if before is not None:
            values |= {"slide": before.slide, "purpose": before.purpose}
            values |= {"pitch_um": f"{before.pitch_um:g}"}
        return self._begin(desk, replace(asked, values=values), part)

    # -- measuring --------------------------------------------------------------------------------

    def _paired(self, desk: Desk) -> list[PairedSample]:
        source = desk.kiosk.look.source
        path = profile_to_extend(source, desk.device)
        profile = load_profile(path) if path.exists() else None
        simulated = source.startswith("simulated:")
        made_at = None if profile is None or simulated else profile.created_at.isoformat()
        return paired_samples(desk.kiosk.writer, simulated=simulated, profile_made_at=made_at)

    def _measure(self, desk: Desk, asked: Asked, part: Part) -> Went:
        run = self._of(part)
        if run is None:
            return Went(part)
        if run.purpose == "run":
            return self._keep_run(desk, asked, run)
        samples: list[PairedSample] = []
        arguments = [COMMAND, "check" if run.purpose == "check" else part]
        if run.purpose == "together":
            of = _runs_for(part)
            arguments += [str(folder) for folder in runs_of(desk.device, of, run.slide).folders]
        elif part == "analyser":
            samples = [each for each in self._paired(desk) if each.left is None]
            if len(samples) < LEAST_SAMPLES:
                said = asked.words.n_(
                    "{n} sample more is needed.",
                    "{n} samples more are needed.",
                    LEAST_SAMPLES - len(samples),
                )
                return Went(part, problem=said)
            table = run.place.pictures.with_name(PAIRS_NAME)
            arguments += ["--images", str(run.place.pictures), "--pairs", str(table)]
        else:
            arguments += [str(run.place.pictures)]
        if part == "scale":
            arguments += ["--pitch-um", f"{run.pitch_um:g}"]
        if part == "control":
            arguments += ["--slide", run.slide]
        if run.purpose == "check":
            arguments += ["--profile", str(run.place.trial)]
        else:
            arguments += ["--out", str(run.place.trial), "--camera", _camera(desk)]
        work = partial(
            _measured,
            arguments=arguments,
            environment=run.place.environment,
            samples=samples,
            records=Store.below(desk.device.data_dir),
            pictures=run.place.pictures,
        )
        desk.jobs.put_away(self.area)
        desk.jobs.begin(self.area, _MEASURE, work)
        return Went(f"{part}/result")

    def _keep_run(self, desk: Desk, asked: Asked, run: _Run) -> Went:
        """One more run of a slide whose runs are measured together."""
        name, words, of, now = run.slide, asked.words, _runs_for(run.part), datetime.now()
        runs = keep_run(desk.device, of, name, run.place.pictures, now.astimezone())
        self._forget(desk)
        said = words._(
            "Run {n} of {all} is kept.",
            n=words.number(len(runs.folders)),
            all=words.number(max(LEAST_RUNS[of], len(runs.folders))),
        )
        return Went(f"{run.part}?slide={quote(name)}", said=said)

    def _drop_runs(self, desk: Desk, asked: Asked, part: Part) -> Went:
        """Begin anew with the runs of a repeatability."""
        if part != "repeatability":
            return Went(part)
        forget_runs(desk.device, part, ANY_SLIDE)
        return Went(part, said=asked.words._("The runs are removed."))

    def _clear(self, desk: Desk, asked: Asked, part: Part) -> Went:
        """Failed checks of a control slide, their cause found and mended."""
        words, reason = asked.words, asked.values.get("reason", "").strip()
        profile = self._profile(desk)
        if profile is None or part != "control":
            return Went(part)
        if not reason or len(reason) > MAX_REASON:
            return Went("control", problem=words._("Say in a few words what was wrong."))
        path = profile_to_extend(desk.kiosk.look.source, desk.device)
        cleared = Clearance(
            at=datetime.now().astimezone().replace(microsecond=0),
            software_version=__version__,
            reason=reason,
            by=asked.who.name[:MAX_BY],
        )
        keep_control(desk.kiosk.writer, profile, path, cleared, by=asked.who.name)
        return Went("control", said=words._("Noted. Check the control slide again."))

    def _stop(self, desk: Desk, asked: Asked, part: Part) -> Went:
        desk.jobs.stop(self.area)
        return Went(asked.values.get("here", "") or part)

    def _result(self, desk: Desk, asked: Asked, part: Part) -> Shown:
        run, job = self._of(part), desk.jobs.of(self.area)
        if run is None or job is None or job.about != _MEASURE:
            return self._introduction(desk, asked, part)
        view = None
        complaints: tuple[str, ...] = ()
        if isinstance(job.result, Said) and run.purpose == "check":
            assert run.before is not None, "a check needs targets"
            view = check_view(self._judged(desk, run, job.result), run.before, asked.words)
        elif isinstance(job.result, Said):
            view = measured_view(part, job.result.document, run.before, asked.words)
            complaints = tuple(job.result.complaints)
        values = {
            "part": part,
            "called": wizard_name(asked.words, part),
            "job": job,
            "view": view,
            "complaints": complaints,
            "trouble": None if job.error is None else trouble_of(job.error, asked.words),
            "has_pictures": part in WIZARDS and run.purpose != "together",
            "is_check": run.purpose == "check",
        }
        return Shown("engineering/measured.html.j2", values)

    def _judged(self, desk: Desk, run: _Run, said: Said) -> ControlCheck:
        """A check as this device's history judges it: what measured it had none."""
        assert run.before is not None, "a check needs targets"
        target = run.before.control(run.slide)
        assert target is not None, "a check needs targets"
        history = stored_controls(desk.kiosk.writer, run.before)
        return judged_again(said.document["check"], target, run.before, history)

    def _accept(self, desk: Desk, asked: Asked, part: Part) -> Went:
        """Put the trial in the profile's place, and into force where none was; keep a check."""
        run, job, words = self._of(part), desk.jobs.of(self.area), asked.words
        if run is None or job is None or not isinstance(job.result, Said):
            return Went(part, problem=words._("Measure first."))
        if run.purpose == "check":
            return self._keep_check(desk, asked, run, job.result)
        settings = None
        if part == "illumination" and run.settings is not None:
            given = run.settings.given()
            settings = FixedSettings(**{name: given.get(name) for name in keys_of(FixedSettings)})
        try:
            profile = measuring.accept(run.place, settings)
        except ProfileError as error:
            job.result, job.error = None, error
            return Went(f"{part}/result")
        details = {"calibrated": part, "revision": profile.revision, "sha256": profile.digest()}
        desk.kiosk.writer.note("profile changed", details=details, by=asked.who.name)
        desk.jobs.put_away(self.area)
        if run.purpose == "together":
            forget_runs(desk.device, _runs_for(part), run.slide)
        went = self._into_force(desk, asked, run.place.out)
        self._forget(desk)
        return went

    def _keep_check(self, desk: Desk, asked: Asked, run: _Run, said: Said) -> Went:
        """Store a check in the records; a failed one withholds results until it is cleared."""
        words, profile = asked.words, run.before
        assert profile is not None, "a check needs targets"
        check = self._judged(desk, run, said)
        keep_control(desk.kiosk.writer, profile, run.place.out, check, by=asked.who.name)
        forget_due(desk.device.data_dir)
        desk.jobs.put_away(self.area)
        self._forget(desk)
        if check.passed:
            return Went("control", said=words._("The check passed and is stored."))
        said_so = words._("The check failed and is stored. Results are withheld.")
        return Went("control", problem=said_so)

    def _into_force(self, desk: Desk, asked: Asked, path: Path) -> Went:
        words = asked.words
        if desk.kiosk.look.source.startswith("simulated:") or own_profile(desk.device) is not None:
            return Went("", said=words._("Kept in the profile."))
        try:
            device = change_device({"paths": {"profile": str(path)}})
        except DeviceError as error:
            return Went("", problem=why_not_kept(error, words))
        details = {"paths": {"profile": str(path)}}
        desk.kiosk.writer.note("configuration changed", details=details, by=asked.who.name)
        desk.take_up(device)
        return Went("", said=words._("Kept in the profile, which is in force from now on."))

    def _leave(self, desk: Desk, asked: Asked, part: Part) -> Went:
        """Give it up: pictures and trial are removed."""
        if is_running(desk.jobs.of(self.area)):
            desk.jobs.stop(self.area)
        else:
            desk.jobs.put_away(self.area)
            self._forget(desk)
        return Went("")

    def _forget(self, desk: Desk) -> None:
        self._run = None
        measuring.forget(desk.device)


def _taken(job: Job, *, run: _Run, look: CameraLook, settings: CameraSettings, count: int) -> int:
    """Take pictures, smear by smear; how many. Raises CaptureError where the camera fails."""
    wizard = WIZARDS[run.part]
    simulated = look.source.startswith("simulated:")
    per_smear = -(-wizard.pictures // wizard.smears) if simulated else count
    done = 0
    while done < count:
        job.at(done / count)
        smear = run.places + len(run.files) // per_smear if simulated else 0
        has_drive = look.seen.settings.focus_um is not None
        pictures = pictures_of(run.part, has_drive, min(per_smear, count - done))
        # A focus stack is of one place; everything else of several.
        look.take(
            run.place.pictures,
            pictures,
            settings,
            source=source_for(look.source, run.part, smear),
            move=not wizard.stack,
        )
        seen = _waited(job, look, len(pictures))
        run.files = (*run.files, *seen.taken)
        run.settings = seen.settings
        done += len(pictures)
    return done


def _waited(job: Job, look: CameraLook, count: int) -> Seen:
    """The pictures that were asked for. CaptureError where they do not come."""
    seen = look.wait_taken(_PICTURE_S * count)
    job.at(job.share)
    if seen.problem is not None:
        code, line = seen.problem
        raise CaptureError(line, code=code, action="")
    if len(seen.taken) < count:
        raise CaptureError("no picture came in time", code="CAMERA_TIMEOUT", action="")
    return seen


def _measured(
    job: Job,
    *,
    arguments: list[str],
    environment: Mapping[str, str],
    samples: Sequence[PairedSample],
    records: Store,
    pictures: Path,
) -> Said:
    """Run the command; of stored samples their pictures are written out first."""
    job.at(None, "measuring")
    if samples:
        with records.reader() as reader:
            write_pairs(reader, samples, pictures)
    return run_command(job, arguments, environment)


def _runs_for(part: Part) -> RunsOf:
    """What the runs of a slide are taken for."""
    return "repeatability" if part == "repeatability" else "control"


def _has_room_for_all(part: Part, taken: int) -> bool:
    """Whether all pictures can still be taken in one go: a stack has no gap."""
    wizard = WIZARDS[part]
    return not taken if wizard.stack else taken < wizard.pictures


def _has_room_for_one(part: Part, moves_itself: bool, taken: int) -> bool:
    """Whether one more picture is offered; a stack that the drive took is as it is."""
    return not moves_itself or bool(taken and not WIZARDS[part].stack)


def _camera(desk: Desk) -> str:
    """What the profile calls the camera: its own name where the device configuration has one."""
    return desk.device.camera.name or desk.kiosk.look.source


def _is_in_force(path: Path, source: str, device: DeviceConfiguration) -> bool:
    return not source.startswith("simulated:") and own_profile(device) == path


def part_row(
    part: Part,
    profile: CalibrationProfile | None,
    device: DeviceConfiguration,
    words: Words,
    now: datetime,
) -> PartRow:
    """How a part of the profile stands. now: timezone-aware."""
    _ = words._
    called = wizard_name(words, part)
    if part == "control":
        count = 0 if profile is None else len(profile.controls)
        said = words.n_("{n} slide", "{n} slides", count) if count else _("no slide")
        return PartRow(part, called, said, "good" if count else "soon")
    if part == "repeatability":
        if profile is None or profile.repeatability is None:
            return PartRow(part, called, _("not measured"), "soon")
        measured_at = profile.repeatability.measured_at.astimezone()
        said = _("measured on {date}", date=words.date(measured_at))
        return PartRow(part, called, said, "good")
    at = None if profile is None else profile.expiring().get(part)
    if at is None:
        typed = part == "scale" and profile is not None and profile.scale is not None
        said = _("typed in") if typed else _("not measured")
        return PartRow(part, called, said, "soon")
    ends = at + timedelta(days=device.screening.calibration_expires_days)
    said = _("holds until {date}", date=words.date(ends.astimezone()))
    if ends < now:
        return PartRow(part, called, _("expired on {date}", date=words.date(ends)), "fails")
    due = ends - now < timedelta(days=DUE_DAYS)
    return PartRow(part, called, said, "soon" if due else "good")


def why_left(words: Words) -> dict[str, str]:
    """Why a sample takes no part in a fit."""
    _ = words._
    return {
        "other_profile": _("of another profile"),
        "no_pictures": _("no pictures are kept"),
        "no_value": _("no haemoglobin value"),
    }
