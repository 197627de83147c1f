"""What `edgehemo doctor` found and `edgehemo bench` measured, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from edgehemo.device.configuration import InferenceSection
from edgehemo.device.finding import DoctorReport, Finding, Status
from edgehemo.guidance.catalogue import guidance_with
from edgehemo.guidance.codes import Code
from edgehemo.kiosk.told_sentences import in_words
from edgehemo.words.language import Words

# What is worst stands first.
_ORDER: Mapping[Status, int] = {"fail": 0, "warn": 1, "ok": 2}
# As the checks of the self-check are called.
_VERDICTS: Mapping[Status, Literal["fails", "soon", "good"]] = {
    "fail": "fails",
    "warn": "soon",
    "ok": "good",
}


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that was looked at. name: as the program calls it, which its address says. title,
    meaning, action: where something is wrong, in the person's language. detail: in it
    too where it is a known sentence; is_english: where it is not.
    """

    name: str
    called: str
    verdict: Literal["fails", "soon", "good"]
    title: str
    meaning: str
    action: str
    detail: str
    is_english: bool
    code: str


def looked_at(report: DoctorReport, words: Words) -> list[Looked]:
    """Everything, what is wrong first."""
    found = sorted(report.findings, key=lambda each: _ORDER[each.status])
    return [_looked(each, words) for each in found]


def _looked(finding: Finding, words: Words) -> Looked:
    title = meaning = action = ""
    detail = in_words(words, finding.detail)
    if finding.code:
        code = cast("Code", finding.code)
        told = guidance_with(code, finding.values, words.language)
        title, meaning, action = told.title, told.meaning, told.action
        if "{" in action:
            # A code of a withheld result brings its action, already filled in, in English.
            action = finding.action
    return Looked(
        finding.name,
        called(finding.name, words),
        _VERDICTS[finding.status],
        title,
        meaning,
        # Marks of a command line mean nothing on a page.
        (action or finding.action).replace("`", ""),
        detail,
        detail == finding.detail,
        finding.code,
    )


def called(name: str, words: Words) -> str:
    """What a check is called in the person's language; a runtime by its own name."""
    _ = words._
    known = {
        "python": "Python",
        "edgehemo": _("Software"),
        "packages": _("Packages"),
        "opencv": "OpenCV",
        "version": _("Last update"),
        "device": _("Configuration"),
        "board": _("Board"),
        "bundle": _("Model bundle"),
        "calibration": _("Calibration"),
        "cameras": _("Cameras"),
        "camera access": _("Camera access"),
        "camera": _("Camera"),
        "disk": _("Storage"),
        "records": _("Records"),
        "backup": _("Backup"),
        "memory": _("Memory"),
        "temperature": _("Temperature"),
        "throttling": _("Power supply"),
        "clock": _("Clock"),
        "receivers": _("Receivers"),
    }
    if name.startswith("runtime "):
        return name.removeprefix("runtime ")
    return known.get(name, name)


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs the models: on which threads, and ms of all models together where measured."""

    runtime: str
    precision: str
    threads: int
    total_ms: float | None = None

    @property
    def said(self) -> str:
        """In a few words that are the same in every language."""
        return f"{self.runtime} {self.precision}"


@dataclass(frozen=True, slots=True)
class Benched:
    """What `edgehemo bench` said. slowest: stages of a field, name and ms, the longest first.
    problems: artefacts that could not be timed, in English.
    """

    board: str
    field_ms: float
    peak_memory_mb: float
    slowest: Sequence[tuple[str, float]]
    recommended: Choice | None
    now: Choice
    problems: Sequence[str]

    @property
    def is_kept_already(self) -> bool:
        """Whether what it recommends is what runs."""
        best, now = self.recommended, self.now
        return best is not None and (best.runtime, best.precision, best.threads) == (
            now.runtime,
            now.precision,
            now.threads,
        )


def benched(document: Mapping[str, Any], now: InferenceSection) -> Benched:
    """From the JSON of the command. now: what runs."""
    best = document["recommended"]
    stages = sorted(document["stages"], key=lambda each: -each["median_ms"])
    return Benched(
        board=document["machine"]["board"],
        field_ms=document["field_ms"],
        peak_memory_mb=document["peak_memory_mb"],
        slowest=[(each["stage"], each["median_ms"]) for each in stages[:4]],
        recommended=None
        if best is None
        else Choice(best["runtime"], best["precision"], best["threads"], best["total_ms"]),
        now=Choice(now.runtime, now.precision, now.threads),
        problems=[row["problem"] for row in document["artefacts"] if row.get("problem")],
    )
