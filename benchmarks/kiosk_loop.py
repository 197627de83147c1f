"""The kiosk's flow in a loop: memory over time, faults, processor time, how long a person waits.

    PYTHONPATH=. python benchmarks/kiosk_loop.py [--minutes 60] [--json FILE]

A kiosk of its own on the simulated microscope and Chromium at 800x480, started as on a device
(`edgehemo/kiosk/browser.py`), which signs in once and then takes one sample after another by touch,
through the live picture, the review and the signature. Nobody asks the browser to give anything
back, and none of its inspectors is on that keeps what it loads (`tests/support/plain_browser.py`).
Kept are, after every sample: the memory of the server, of the process that captures and reads, and
of the browser, whole and by its processes (what they wrote, anonymous and shared, each share
counted once; program files, which the machine can drop and read again, are left out); answers of
500 and more; what the page's script complained of; the processor time of each per second; seconds
from the start of the command to its page, and from the last field to the result; the load.

Whether memory is flat is decided by the rule `RULE`. Ends with 1 where a fault was met or memory
was not shown to be flat. Simulated, and of this machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgehemo.files.atomic import write_json_atomically
from edgehemo.statistics.interval import Interval
from edgehemo.statistics.student import t95
from edgehemo.version import __version__
from tests.support.kiosk_by_touch import KioskServer, Touch, command_line, cpu_s, written_mb
from tests.support.plain_browser import plain_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

SLIDE = "simulated:?seed=3&fields=20&bad=1"
FIELDS = 3
# What is still called flat: a day of twelve hours then adds less than 60 MB.
FLAT_MB_PER_H = 5.0
# A loop shorter than this is too short for a slope; it must not have grown by more than this from
# its second quarter to its last, in MB and as a share.
SHORT_MIN, SHORT_MB, SHORT_SHARE = 20.0, 12.0, 0.08
# A sample takes part of its memory from the one before: the means of so many parts of the second
# half do not.
PARTS = 12
RULE = (
    f"The second half of the time is cut into {PARTS} equal parts; a straight line is fitted to "
    "their means by least squares, and its slope has a 95 % interval by Student's t. Memory is "
    f"flat where the interval's upper end lies below {FLAT_MB_PER_H:g} MB an hour, grows where its "
    "lower end lies above 0 and its upper end does not lie below that, and is undecided otherwise."
)
# What is kept of each sample.
SERIES = ("at_min", "memory_mb", "browser_mb")
# Answers since it was last asked, by their status; the browser keeps the last 250.
ANSWERS = """(() => { const seen = performance.getEntriesByType("resource");
  performance.clearResourceTimings();
  return seen.map((each) => [each.responseStatus, each.name]); })()"""


def part_of_browser(pid: int) -> str:
    """What a process of Chromium is for."""
    found = re.search(r"--utility-sub-type=(\w+)|--type=(\S+)", command_line(pid))
    return (found[1] or found[2]) if found else "browser"


Found = dict[str, Any]


def groups(kiosk: KioskServer, touch: Touch) -> dict[str, list[int]]:
    return {"server": [kiosk.pid], "capture": kiosk.workers(), "browser": touch.processes()}


def one_sample(touch: Touch, number: int) -> tuple[float, float]:
    """From the start page to the start page; seconds it took, and from the last field to the
    result.
    """
    begun = time.monotonic()
    touch.new_sample(f"{number}")
    touch.answer()
    touch.checked()
    touch.on()
    read_at = time.monotonic()
    while touch.at("capture", "analysis", "result") == "capture":
        read_at = time.monotonic()
        touch.page.wait_for_timeout(50)
    touch.at("result", timeout_s=120)
    waited = time.monotonic() - read_at
    touch.review_all()
    touch.sign()
    touch.tap("footer .right .primary")
    touch.at("home")
    return time.monotonic() - begun, waited


def grown(values: list[float]) -> float:
    """From the median of the second quarter to that of the last."""
    quarter = max(1, len(values) // 4)
    before = statistics.median(values[quarter : 2 * quarter] or values[:1])
    return statistics.median(values[-quarter:]) - before


def slope_per_h(at_min: list[float], values: list[float]) -> Interval | None:
    """How fast values grow over the second half of the time, a unit an hour; None for too few.

    The line is fitted to means of parts, so that what a value has of the one before it does not
    make the interval narrower than it is.
    """
    half, end = at_min[-1] / 2, at_min[-1]
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for at, value in zip(at_min, values, strict=True):
        if at > half:
            parts[min(PARTS - 1, int((at - half) / (end - half) * PARTS))].append(value)
    if any(len(part) < 3 for part in parts):
        return None
    means = [statistics.fmean(part) for part in parts]
    hours = [(half + (end - half) * (number + 0.5) / PARTS) / 60 for number in range(PARTS)]
    fit = statistics.linear_regression(hours, means)
    spread = sum((hour - statistics.fmean(hours)) ** 2 for hour in hours)
    rest = sum(
        (mean - fit.intercept - fit.slope * hour) ** 2
        for hour, mean in zip(hours, means, strict=True)
    )
    around = t95(PARTS - 2) * math.sqrt(rest / (PARTS - 2) / spread)
    return Interval(fit.slope, fit.slope - around, fit.slope + around)


def verdict(slope: Interval | None) -> str:
    """By `RULE`."""
    if slope is None:
        return "undecided"
    if slope.high < FLAT_MB_PER_H:
        return "flat"
    return "grows" if slope.low > 0 else "undecided"


def looped(minutes: float, keep: Callable[[Found], object] = lambda _: None) -> Found:
    """The figures of so many minutes. keep: given those so far, every so many samples, so that a
    machine that goes down does not take an hour's figures with it.
    """
    found: dict[str, Any] = {"samples": 0, "answers": 0, "faults": [], "said": []}
    memory: dict[str, list[float]] = {"server": [], "capture": [], "browser": []}
    inside: dict[str, list[float]] = {}
    at_min: list[float] = []
    load: list[float] = []
    took: list[float] = []
    waited: list[float] = []

    def figures() -> Found:
        return {
            **found,
            "minutes": at_min[-1],
            "load_average": {
                "least": min(load), "median": round(statistics.median(load), 2), "most": max(load)
            },
            "start_s": round(start_s, 2),
            "first_page_s": round(page_s, 2),
            "sample_s": round(statistics.median(took), 1),
            "last_field_to_result_s": {
                "median": round(statistics.median(waited), 2), "longest": round(max(waited), 2)
            },
            "cpu_s_per_s": share,
            "grown_mb": {name: round(grown(values), 1) for name, values in memory.items()},
            "rule": RULE,
            "slopes": {
                name: {
                    "verdict": verdict(slope),
                    "mb_per_h": None if slope is None else dataclasses.asdict(slope.rounded(2)),
                }
                for name, slope in (
                    (name, slope_per_h(at_min, values)) for name, values in memory.items()
                )
            },
            "at_min": at_min,
            "memory_mb": memory,
            "browser_mb": inside,
        }  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        kiosk = KioskServer(Path(folder), SLIDE, fields_wanted=FIELDS)
        kiosk.add_users()
        start_s = kiosk.start()
        try:
            with plain_page() as page:
                touch = Touch(cast("Page", page))
                begun = time.monotonic()
                touch.page.goto(kiosk.url)
                touch.at("sign_in")
                page_s = time.monotonic() - begun
                touch.sign_in()
                begun = since = time.monotonic()
                before: dict[str, float] = {}
                while not took or time.monotonic() - begun < 60 * minutes:
                    try:
                        whole_s, wait_s = one_sample(touch, 1000 + found["samples"])
                    except (AssertionError, RuntimeError) as error:
                        if not took:
                            raise
                        # What was measured so far is kept.
                        found["faults"].append(f"stopped: {error}")
                        break
                    took.append(whole_s)
                    waited.append(wait_s)
                    found["samples"] += 1
                    for status, address in page.evaluate(ANSWERS):
                        found["answers"] += 1
                        if status >= 500:
                            found["faults"].append(f"{status} {address}")
                    now = groups(kiosk, touch)
                    if not before:
                        before = {name: cpu_s(pids) for name, pids in now.items()}
                        since = time.monotonic()
                    seconds = max(1.0, time.monotonic() - since)
                    share = {
                        name: round((cpu_s(pids) - before[name]) / seconds, 3)
                        for name, pids in now.items()
                    }
                    found["said"] = [said for said in touch.console if "rror" in said][:20]
                    at_min.append(round((time.monotonic() - begun) / 60, 3))
                    load.append(os.getloadavg()[0])
                    for name, pids in now.items():
                        memory[name].append(round(written_mb(pids), 1))
                    for pid in now["browser"]:
                        inside.setdefault(part_of_browser(pid), [])
                    for name, values in inside.items():
                        pids = [pid for pid in now["browser"] if part_of_browser(pid) == name]
                        # A process that came later was not there before.
                        values += [0.0] * (len(at_min) - 1 - len(values))
                        values.append(round(written_mb(pids), 1))
                    if found["samples"] % 10 == 0:
                        print(found["samples"], {k: v[-1] for k, v in memory.items()}, flush=True)
                        keep(figures())
        finally:
            kiosk.stop()
    return figures()


def broken(found: Found) -> list[str]:
    """What must not be, in words."""
    wrong = [*found["faults"], *found["said"]]
    for name, slope in found["slopes"].items():
        if found["minutes"] >= SHORT_MIN:
            if slope["verdict"] != "flat":
                wrong.append(f"the memory of the {name} is not shown to be flat: {slope}")
            continue
        more = found["grown_mb"][name]
        if more > max(SHORT_MB, SHORT_SHARE * max(found["memory_mb"][name])):
            wrong.append(f"the memory of the {name} grew by {more} MB")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    made_on = {
        "version": __version__,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }

    def keep(figures: Found) -> None:
        if asked.json is not None:
            write_json_atomically(asked.json, {"made_on": made_on, **figures})

    found = looped(asked.minutes, keep)
    told = {name: value for name, value in found.items() if name not in SERIES}
    print(told)
    keep(found)
    wrong = broken(found)
    print("broken:", wrong or "nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
