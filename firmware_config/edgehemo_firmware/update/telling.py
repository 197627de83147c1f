"""What people are told of the versions: in `edgehemo device status`, and after each change."""

from __future__ import annotations

from edgehemo.device.version_state import SLOTS, UpdateState, read_state
from edgehemo_firmware.update.carried_bundle import problem_of
from edgehemo_firmware.update.installing import Changed
from edgehemo_firmware.update.layout import Place, pointed_slot


def version_lines(place: Place) -> list[str]:
    """The versions of a device that came from media, a line each, and why the last one was left.
    UpdateError where the state cannot be read.
    """
    state = read_state(place.data)
    runs = pointed_slot(place.current)
    lines = []
    for slot in SLOTS:
        held = state.slots.get(slot)
        if held is not None:
            role = _role(state, slot == runs, slot)
            when = held.installed_at.date().isoformat()
            lines.append(f"edgehemo {held.version}: {role}, installed {when} in slot {slot}")
            if slot == runs and (problem := problem_of(place, slot)):
                lines.append(problem)
    if not lines:
        return []
    if (left := left_line(state)) is not None:
        lines.append(left)
    return lines


def _role(state: UpdateState, runs: bool, slot: str) -> str:
    if state.trial is not None and state.trial.slot == slot:
        return "on trial until its first check at the next start"
    if runs:
        return "in force"
    return "kept to go back to"


def left_line(state: UpdateState) -> str | None:
    """Why the last version was left; None where none was."""
    left = state.left
    if left is None:
        return None
    back = "nothing runs in its place" if left.back_to is None else f"{left.back_to} runs instead"
    when = left.at.strftime("%Y-%m-%d %H:%M UTC")
    return f"edgehemo {left.version} was left on {when}, {left.when}: {left.reason}; {back}"


def changed_line(changed: Changed) -> str:
    """One line after a change."""
    version = f"edgehemo {changed.version}"
    if changed.outcome == "on trial":
        return (
            f"{version} is installed and on trial: its first check is at the next start "
            "(sudo reboot), or now: sudo edgehemo device confirm"
        )
    if changed.outcome == "already in force":
        return f"{version} is in force already: nothing to do"
    if changed.outcome == "in force":
        return f"{version} is in force" + (f"; {changed.reason}" if changed.reason else "")
    if changed.outcome == "fell back":
        return f"went back to {version}: {changed.reason}"
    if not changed.version:
        return "nothing on trial"
    said = f"nothing is on trial; {version} is in force"
    return said + (f"; {changed.reason}" if changed.reason else "")
