"""Goes through the check-list, from wherever the last power cut left it, to the report."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgehemo.errors import EdgeHemoError
from edgehemo_firmware.acceptance.asking import NotPossibleError, Person
from edgehemo_firmware.acceptance.checks import CHECKS, CUTS, Check, Found
from edgehemo_firmware.acceptance.counting import count_on, counted
from edgehemo_firmware.acceptance.instruments import Instruments
from edgehemo_firmware.acceptance.record import Armed, Figure, Outcome, Report, Run, keep

# So many numbers are on the disk before the plug may go, and each time so many more.
NUMBERS_FIRST = 20


@dataclass
class Acceptance:
    """One acceptance. folder: where it keeps itself. root: whether root makes it. clock: of dates.
    only: names of the checks wanted; None for all.
    """

    run: Run
    here: Instruments
    person: Person
    folder: Path
    root: bool
    clock: Callable[[], datetime]
    only: Collection[str] | None = None

    @property
    def kept(self) -> Path:
        return self.folder / "run.json"

    def go(self) -> Report:
        """Make every check that has no outcome yet; the report, signed and kept. A check that ends
        with a restart does not come back: the next call goes on from there.
        """
        self._keep()
        if self.run.armed is not None:
            self._after_restart(self.run.armed)
        for number, check in enumerate(CHECKS, 1):
            if self.run.outcome(check.name) is None and self._wanted(check):
                self.person.say(f"{number} of {len(CHECKS)}: {check.title} ({check.minutes} min; "
                                f"needs {check.needs})")  # fmt: skip
                self._note(check, self._made(check))
        return self._report()

    def _wanted(self, check: Check) -> bool:
        return self.only is None or check.name in self.only

    def _made(self, check: Check) -> Found:
        if check.root and not self.root:
            return Found("not_possible", "only root may: run it with sudo")
        try:
            if check.name == "crash":
                return self._crash()
            if check.name == "cuts":
                return self._cuts()
            assert check.make is not None
            return check.make(self.here, self.person, self.folder)
        except NotPossibleError as error:
            return Found("not_possible", str(error))
        except (EdgeHemoError, OSError) as error:
            return Found("fail", str(error))

    # -- what ends with a restart -----------------------------------------------------------------

    def _crash(self) -> Found:
        after_s = self.here.hardware_watchdog_s()
        question = (
            f"The kernel will be stopped; the board must start again by itself after about "
            f"{after_s:.0f} s. Do not touch it, then run this command again. Go on?"
        )
        if not self.person.yes(question):
            return Found("left_out", "not wanted")
        self._arm("crash", 0)
        self.here.crash()
        raise NotPossibleError("the kernel went on")

    def _cuts(self) -> Found:
        path = self.here.counter()
        if counted(path).last == 0 and not self.person.ready(
            "Numbers will be written. Pull the plug while they run, plug it in again, and run "
            f"this command again: {CUTS} times"
        ):
            return Found("left_out", "not wanted")
        self.person.say(f"cut {len(self.run.cuts) + 1} of {CUTS}: pull the plug now, at any moment")
        for number in count_on(path):
            if number % NUMBERS_FIRST == 0:
                self._arm("cuts", number)
            self.person.say(f"\r{number}")
        raise NotPossibleError("the numbers ended")

    def _after_restart(self, armed: Armed) -> None:
        """What a restart that was wanted left behind."""
        if armed.boot == self.here.boot():
            # It was broken off by hand: the check is made again.
            self._update(armed=None)
            return
        if armed.check == "crash":
            alone = self.person.yes("Did the board start again without your help?")
            found = Found("pass" if alone else "fail", "" if alone else "it needed help")
            self._update(armed=None)
            self._note(_named("crash"), found)
            return
        now = counted(self.here.counter())
        damage = self.here.damage()
        row: dict[str, Figure] = {
            "cut": len(self.run.cuts) + 1,
            "known_number": armed.number,
            "number_after": now.last,
            "lost": max(0, armed.number - now.last),
            "broken_lines": now.broken,
            **damage,
        }
        try:
            row["ready_s"] = round(self.here.service_ready_s(), 1)
        except NotPossibleError:
            row["ready_s"] = None
        self._update(armed=None, cuts=(*self.run.cuts, row))
        self.person.say(f"cut {row['cut']}: number {now.last} is there, {row['lost']} lost, "
                        f"{now.broken} broken, faults {sum(damage.values())}")  # fmt: skip
        if len(self.run.cuts) >= CUTS:
            self._note(_named("cuts"), self._of_cuts())

    def _of_cuts(self) -> Found:
        rows = self.run.cuts
        harm = sum(
            1
            for row in rows
            if any(value for name, value in row.items() if name in HARM or name.endswith("_faults"))
        )
        why = "" if not harm else f"{harm} of {len(rows)} cuts did harm"
        return Found("fail" if harm else "pass", why, {"cuts": len(rows), "harmed": harm}, rows)

    # -- keeping ----------------------------------------------------------------------------------

    def _arm(self, check: str, number: int) -> None:
        self._update(armed=Armed(check=check, boot=self.here.boot(), number=number))

    def _note(self, check: Check, found: Found) -> None:
        outcome = Outcome(
            check=check.name,
            state=found.state,
            at=self.clock(),
            why=found.why,
            figures=dict(found.figures or {}),
            rows=tuple(dict(row) for row in found.rows),
        )
        self.run = self.run.with_outcome(outcome)
        self._keep()
        said = outcome.state.replace("_", " ")
        self.person.say(f"  {said}{': ' + outcome.why if outcome.why else ''}")

    def _update(self, **changes: object) -> None:
        self.run = self.run.model_copy(update=changes)
        self._keep()

    def _keep(self) -> None:
        keep(self.run, self.kept)

    def _report(self) -> Report:
        report = Report(
            begun_at=self.run.begun_at,
            made_at=self.clock(),
            by=self.run.by,
            place=self.run.place,
            machine=dict(self.here.described()),
            software=dict(self.here.software()),
            outcomes=self.run.outcomes,
        ).signed()
        keep(report, self.folder / "report.json")
        return report


# Of a cut's row: what must be nothing.
HARM = ("lost", "broken_lines")


def _named(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)
