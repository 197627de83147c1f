"""How fast the kiosk's live picture is in a browser, and what it costs, while fields are read.

    PYTHONPATH=. python benchmarks/kiosk_live.py [--seconds 20] [--json FILE]

A kiosk of its own (records in a temporary folder) on the simulated microscope, whose slide a hand
moves, as on a device without a stage; Chromium at 800x480 shows the page. Printed are the pictures
a second that the browser showed, the longest gap between two, and the CPU time a second of the
server, of the process that captures and reads, and of the browser; first with the slide at rest out
of focus (each judged picture is judged, none is taken), then while fields are taken and read. The
simulated microscope draws each place once, while the one before is shown: that is in the time of
the capturing process. Simulated; of this machine and no other.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.kiosk_by_touch import KioskServer, Touch, cpu_s, opened_browser

SIZES = (("640x480", 640, 480, 0.2), ("1280x960", 1280, 960, 0.2))
# When the pictures came, ms, since it was last asked to begin.
_BEGIN = """() => { performance.setResourceTimingBufferSize(20000);
  performance.clearResourceTimings(); }"""
_SEEN = """() => performance.getEntriesByType("resource")
  .filter((each) => each.name.includes("/live.jpg") && each.encodedBodySize > 0)
  .map((each) => each.responseEnd)"""


def watched(touch: Touch, kiosk: KioskServer, seconds: float) -> dict[str, Any]:
    """What the browser sees and what it costs, over some seconds."""
    page = touch.page
    page.evaluate(_BEGIN)
    groups = {
        "server": [kiosk.pid],
        "capture and reading": kiosk.workers(),
        "browser": touch.processes(),
    }
    begun, before = time.monotonic(), {name: cpu_s(pids) for name, pids in groups.items()}
    page.wait_for_timeout(seconds * 1000)
    took = time.monotonic() - begun
    seen = page.evaluate(_SEEN)
    gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    return {
        "pictures_per_s": round(len(seen) / took, 1),
        "longest_gap_ms": round(max(gaps, default=0.0)),
        "cpu_s_per_s": {
            name: round((cpu_s(pids) - before[name]) / took, 3) for name, pids in groups.items()
        },
    }


def measured(name: str, width: int, height: int, um_per_px: float, seconds: float) -> Any:
    size = f"width={width}&height={height}&um_per_px={um_per_px}"
    found: dict[str, Any] = {"camera": name}
    for what, slide in (
        ("judged", f"simulated:?seed=3&hand=600&defocus_um=2&{size}"),
        ("read", f"simulated:?seed=3&hand=2.5&fields=200&{size}"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            kiosk = KioskServer(Path(folder), slide, fields_wanted=200)
            with kiosk.running(), opened_browser() as touch:
                touch.to_capture(kiosk)
                touch.page.wait_for_timeout(3000)
                found[what] = watched(touch, kiosk, seconds)
                if what == "read":
                    found[what]["fields"] = touch.fields()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = [measured(*size, asked.seconds) for size in SIZES]
    for row in rows:
        for what in ("judged", "read"):
            print(row["camera"], what, json.dumps(row[what]))
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
