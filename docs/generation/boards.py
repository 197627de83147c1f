"""The table of boards from reports of acceptances, and that of what was proved without a board."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from docs.generation.markdown import cell, table
from edgehemo.errors import DeviceError
from edgehemo_firmware.acceptance.checks import CHECKS
from edgehemo_firmware.acceptance.record import Outcome, Report, read_report

REPORTS = Path("docs/boards")
# What was proved without a board: mark in a page -> the figures that are kept of it.
SCENES: Mapping[str, Path] = {
    "<!-- device scenes -->": Path("benchmarks/soak/device.json"),
    "<!-- ARM scenes -->": Path("benchmarks/soak/arm64.json"),
    "<!-- image scenes -->": Path("benchmarks/soak/image.json"),
}
STATES = {"pass": "passed", "fail": "**failed**", "not_possible": "not possible", "left_out": "—"}
NONE_YET = (
    "No report has been handed in yet: on a real board, camera and screen nothing here has been "
    "measured so far. [How to make one](#how-to-add-a-board) takes about an hour.\n"
)
# Figures of a check that a reader of the table looks for.
SHOWN = {
    "camera": "pictures_per_s",
    "slide": "seconds",
    "heat": "hottest_celsius",
    "ready": "ready_s",
    "hang": "back_s",
    "cuts": "cuts",
}
# How figures of a scene are called, where their name alone would not say it.
NAMES = {
    "boot_s": "from power to ready",
    "bitten_s": "ended after",
    "back_s": "back after",
    "fault_page_s": "its page after",
    "back_after_mending_s": "back after mending",
    "told_s": "told after",
    "watchdog_s": "the watchdog's time",
    "system_mb": "system",
    "program_mb": "program with its libraries",
    "built_s": "built in",
    "updated_s": "updated in",
    "build_s": "made in",
    "system_and_data_mb": "what it holds",
    "disk_mb": "the disk",
    "of_it_written_mb": "of it written",
    "data.mount_s": "data mounted after",
    "edgehemo-firewall.service_s": "firewall",
    "edgehemo-confirm.service_s": "version proved",
    "edgehemo-kiosk.service_s": "kiosk ready",
    "edgehemo-screen.service_s": "screen",
    "system_up_s": "the whole system up",
    "this_machine_s": "of the machine that emulates",
}
HOW = """
## How to add a board

With the board, its camera and screen, a stained smear and about an hour:

```
edgehemo device acceptance --list
sudo edgehemo device acceptance --by NAME
```

It asks and measures, goes on after each pulled plug where it was (run it again), says of what this
machine cannot do why not, and ends with `report.json`, signed by the device's key. A bundle of
every runtime and precision is timed with `--bundle DIR`. Put the report into `docs/boards/`.
"""


def boards_page(repository: Path) -> str:
    """The page of boards: one column a report."""
    reports = [(path.stem, _sound(path)) for path in sorted((repository / REPORTS).glob("*.json"))]
    made = _table(reports) + _speeds(reports) if reports else NONE_YET
    return f"# Boards that were tried\n\n{made}{HOW}"


def scenes_filled(text: str, repository: Path) -> str:
    """A page's text with the tables of what was proved in the place of their marks."""
    for mark, file in SCENES.items():
        if mark in text:
            text = text.replace(mark, scenes_table(repository / file))
    return text


def scenes_table(file: Path) -> str:
    """What was done, and what came of it; how long an emulation took says nothing to a reader."""
    told = json.loads(file.read_text("utf-8"))
    rows = [(cell(name), cell(_figures(figures))) for name, figures in told["scenes"].items()]
    return table(("what was done", "what came of it"), rows)


def _sound(path: Path) -> Report:
    report = read_report(path)
    if report.signer is None:
        raise DeviceError(f"{path}: is not signed, or was changed after it was")
    return report


def _table(reports: Iterable[tuple[str, Report]]) -> str:
    reports = list(reports)
    heads = ("check", *(cell(report.machine.get("board", name)) for name, report in reports))
    rows = [("date", *(f"{report.made_at:%Y-%m-%d}" for _, report in reports))]
    for check in CHECKS:
        row = [cell(check.title)]
        row += [_outcome(report, check.name) for _, report in reports]
        rows.append(tuple(row))
    return table(heads, rows) + "\n"


def _outcome(report: Report, name: str) -> str:
    found: Outcome | None = next((each for each in report.outcomes if each.check == name), None)
    if found is None:
        return STATES["left_out"]
    said = STATES[found.state]
    figure = SHOWN.get(name)
    if figure is not None and figure in found.figures:
        said += f" ({figure.replace('_', ' ')}: {found.figures[figure]})"
    return cell(f"{said}: {found.why}" if found.why else said)


def _speeds(reports: Iterable[tuple[str, Report]]) -> str:
    rows = [
        (
            cell(report.machine.get("board", name)),
            *(cell(row.get(key, "")) for key in ("model", "runtime", "precision", "threads",
                                                 "median_ms", "p95_ms")),
        )
        for name, report in reports
        for outcome in report.outcomes
        if outcome.check == "speed"
        for row in outcome.rows
    ]  # fmt: skip
    if not rows:
        return ""
    heads = ("board", "model", "runtime", "precision", "threads", "median ms", "p95 ms")
    return "\n## Speed\n\n" + table(heads, rows) + "\n"


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{NAMES.get(name, name.removesuffix('_s').removesuffix('_mb').replace('_', ' '))} "
        f"{_value(name, value)}"
        for name, value in figures.items()
        if name != "seconds" and not name.endswith("_emulated_s")
    )


def _value(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    unit = " s" if name.endswith("_s") else " MB" if name.endswith("_mb") else ""
    if isinstance(value, list):
        return f"{min(value):g} to {max(value):g}{unit}"
    return f"{value:g}{unit}"
