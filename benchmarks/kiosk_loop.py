"""The kiosk's flow in a loop: memory over time, faults, processor time, how long a person waits.

    PYTHONPATH=. python benchmarks/kiosk_loop.py [--minutes 60] [--json FILE]

A kiosk of its own on the simulated microscope and Chromium at 800x480, which signs in once and then
takes one sample after another by touch, through the live picture, the review and the signature.
Kept are: the resident memory of the server, of the process that captures and reads, and of the
browser (as shares of what they share, so that their sum is what the machine gives), after every
sample, the browser's once it was asked to give back what it only keeps for later, as a machine that
runs short asks it, and the most it had before; answers of 500 and more; what the page's script
complained of; the processor time of each per second; seconds from the start of the command to its
page, and from the last field to the result. Ends with 1 where a fault was met or memory grew.
Simulated, and of this machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgehemo.files.atomic import write_json_atomically
from edgehemo.version import __version__
from tests.support.kiosk_by_touch import KioskServer, Touch, cpu_s, opened_browser

SLIDE = "simulated:?seed=3&fields=20&bad=1"
FIELDS = 3
# Growth from the second quarter of the time to the last that is still called flat, MB, and as a
# share: a browser's memory goes up and down by more than a server's.
FLAT_MB, FLAT_SHARE = 12.0, 0.08


def memory_mb(pids: list[int]) -> float:
    """Memory of processes, what they share counted once (PSS)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


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


def looped(minutes: float) -> dict[str, Any]:
    found: dict[str, Any] = {"samples": 0, "answers": 0, "faults": [], "said": []}
    memory: dict[str, list[float]] = {"server": [], "capture": [], "browser": []}
    took: list[float] = []
    waited: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        kiosk = KioskServer(Path(folder), SLIDE, fields_wanted=FIELDS)
        kiosk.add_users()
        start_s = kiosk.start()
        try:
            with opened_browser() as touch:

                def answered(response: Any) -> None:
                    found["answers"] += 1
                    if response.status >= 500:
                        found["faults"].append(f"{response.status} {response.url}")

                touch.page.on("response", answered)
                begun = time.monotonic()
                touch.page.goto(kiosk.url)
                touch.at("sign_in")
                page_s = time.monotonic() - begun
                touch.sign_in()
                inside = touch.page.context.new_cdp_session(touch.page)
                begun = since = time.monotonic()
                before: dict[str, float] = {}
                while not took or time.monotonic() - begun < 60 * minutes:
                    whole_s, wait_s = one_sample(touch, 1000 + found["samples"])
                    took.append(whole_s)
                    waited.append(wait_s)
                    found["samples"] += 1
                    now = groups(kiosk, touch)
                    found["browser_most_mb"] = max(
                        found.get("browser_most_mb", 0.0), round(memory_mb(now["browser"]), 1)
                    )
                    inside.send("Memory.simulatePressureNotification", {"level": "critical"})
                    touch.page.wait_for_timeout(1500)
                    if not before:
                        before = {name: cpu_s(pids) for name, pids in now.items()}
                        since = time.monotonic()
                    for name, pids in now.items():
                        memory[name].append(round(memory_mb(pids), 1))
                    if found["samples"] % 10 == 0:
                        print(found["samples"], {k: v[-1] for k, v in memory.items()}, flush=True)
                seconds = max(1.0, time.monotonic() - since)
                share = {
                    name: round((cpu_s(pids) - before[name]) / seconds, 3)
                    for name, pids in groups(kiosk, touch).items()
                }
                found["said"] = [said for said in touch.console if "rror" in said][:20]
        finally:
            kiosk.stop()
    return {
        **found,
        "minutes": round(sum(took) / 60, 1),
        "start_s": round(start_s, 2),
        "first_page_s": round(page_s, 2),
        "sample_s": round(statistics.median(took), 1),
        "last_field_to_result_s": {
            "median": round(statistics.median(waited), 2), "longest": round(max(waited), 2)
        },
        "cpu_s_per_s": share,
        "memory_mb": memory,
        "grown_mb": {name: round(grown(values), 1) for name, values in memory.items()},
    }  # fmt: skip


def broken(found: dict[str, Any]) -> list[str]:
    """What must not be, in words."""
    wrong = [*found["faults"], *found["said"]]
    for name, more in found["grown_mb"].items():
        if more > max(FLAT_MB, FLAT_SHARE * max(found["memory_mb"][name])):
            wrong.append(f"the memory of the {name} grew by {more} MB")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = looped(asked.minutes)
    told = {name: value for name, value in found.items() if name != "memory_mb"}
    print(told)
    if asked.json is not None:
        made_on = {
            "version": __version__,
            "python": platform.python_version(),
            "processors": os.cpu_count(),
        }
        write_json_atomically(asked.json, {"made_on": made_on, **found})
    wrong = broken(found)
    print("broken:", wrong or "nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
