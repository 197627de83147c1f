"""Screen the pictures of one sample and read what is known of its haemoglobin.

python examples/screen_a_folder.py smears/patient-17 --out report-17 [--profile microscope.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import edgehemo
from edgehemo.report.result import ScreeningResult


def haemoglobin(result: ScreeningResult) -> str:
    """The haemoglobin with its 95 % interval, or why there is none."""
    reading = result.reading
    if reading.withheld is not None:
        return f"withheld: {reading.withheld.reason}. {reading.withheld.action}"
    estimate = reading.estimate
    if estimate is None:
        return "no field was accepted"
    hgb = estimate.hgb_g_per_l
    if hgb is None:
        return f"no concentration: {estimate.reasons['hgb_g_per_l']}"
    return f"HGB {hgb.value:.0f} g/L (95 %: {hgb.low:.0f} to {hgb.high:.0f})"


def main(folder: Path, out: Path, profile: Path | None) -> None:
    """Screen, say the result, name the report."""
    result = edgehemo.screen(folder, out, profile=profile)
    print(haemoglobin(result))
    print(f"report: {result.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Screen a folder of pictures of one sample.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    main(given.folder, given.out, given.profile)
