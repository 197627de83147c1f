"""A screening's result in lines for people: what was refused and why, what came out, what next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgehemo.anaemia.who_grade import in_words
from edgehemo.commands.estimate import sample_lines
from edgehemo.guidance.catalogue import catalogue, guidance
from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.words.counted import counted

if TYPE_CHECKING:
    from edgehemo.guidance.codes import ValueCode

# What says that a value is missing because this microscope was not calibrated for it.
_NOT_CALIBRATED: tuple[ValueCode, ...] = ("NOT_CALIBRATED", "NOT_CALIBRATED_FOR")


def lines_of(record: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result as `ScreeningRecord` holds it."""
    sample = record["sample"]
    if record["simulated"]:
        yield "SIMULATED: drawn by the simulated microscope; no blood stands behind any number"
    if record["labels"]["sample"] is not None:
        yield f"sample {record['labels']['sample']}"
    for entry in record["images"]:
        if "error" not in entry and not entry["accepted"]:
            yield f"refused {entry['image']}: {_faults(entry['checks'])}"
    yield _counted(sample)
    for finding in sample["findings"]:
        yield f"have a person look: {finding['reason']}"
        yield f"  {finding['action']}"
    for doubt in sample["doubts"]:
        yield f"look at this: {doubt['reason']}"
        yield f"  {doubt['action']}"
    yield from sample_lines({**sample, "withheld": record["withheld"]})
    if record["withheld"] is not None:
        return
    if sample["calibration"] == "demonstration":
        yield "DEMONSTRATION: calibrated on too few samples to claim any accuracy"
    if record["anaemia"] is not None:
        yield grade_line(record["anaemia"])
    elif record["anaemia_reason"]:
        yield f"no WHO grade: {record['anaemia_reason']}"
    missing = [code for code in _NOT_CALIBRATED if code in sample["reason_codes"].values()]
    if missing:
        yield f"next: {guidance(missing[0]).action}"


def grade_line(anaemia: Mapping[str, Any]) -> str:
    """The grade in words, with all that the interval allows."""
    unit = MEASURAND_FACTS["hgb_g_per_l"].unit
    also = [in_words(each) for each in anaemia["possible"] if each != anaemia["grade"]]
    allows = f" (the interval also allows: {', '.join(also)})" if also else ""
    return (
        f"WHO grade: {in_words(anaemia['grade']).capitalize()}{allows}, probability "
        f"{anaemia['probability_below_limit']:.2f} of being below "
        f"{anaemia['limit_g_per_l']:g} {unit} ({anaemia['group']})"
    )


def _counted(sample: Mapping[str, Any]) -> str:
    unread = sample["unreadable"]
    if unread and unread == sample["images"]:
        return f"nothing could be read: {unread} of {unread} inputs"
    beside = f", {unread} unreadable" if unread else ""
    return (
        f"{sample['accepted']} of {counted(sample['images'], 'image')} accepted, "
        f"{sample['refused']} refused{beside}"
    )


def _faults(checks: list[Mapping[str, Any]]) -> str:
    """The titles of what failed, each with its code; the first says what to do."""
    failed = [check for check in checks if check["verdict"] == "fail"]
    codes = list(dict.fromkeys(check["code"] for check in failed))
    known = catalogue()
    titles = [f"{known[code].title} ({code})" if code in known else code for code in codes]
    return f"{'; '.join(titles)}. {failed[0]['action']}"
