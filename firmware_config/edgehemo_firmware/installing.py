"""Installs: reads what the system is, plans, and does the steps that are not done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from edgehemo.errors import DeviceError
from edgehemo_firmware import layout
from edgehemo_firmware.composing import Composed, compose
from edgehemo_firmware.facts import Facts, facts_of
from edgehemo_firmware.installed import Choices, Installed
from edgehemo_firmware.parts import board_of, read_parts, shipped_names
from edgehemo_firmware.plan import Plan, plan, told_to_system
from edgehemo_firmware.steps import FROM_THE_NETWORK, MakeLink, Note, Source, Step, WriteFile
from edgehemo_firmware.target import Target

NO_LABEL = "none"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; None and nothing: as it was before, else as is usual."""

    parts: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    data_label: str | None = None
    read_only: bool | None = None
    screen: bool | None = None
    ssh: bool | None = None
    network_time: bool | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A plan for a system. kept: files that others wrote or changed, left as they are."""

    plan: Plan
    kept: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return self.plan.words

    def outlook(self, target: Target) -> Iterator[tuple[Step, bool]]:
        """Every step and whether it is done; nothing is changed."""
        for step in self.plan.steps:
            if not (isinstance(step, Note) and not step.finished):
                yield step, step.is_done(target)


def planned(
    target: Target,
    asked: Asked,
    program: Step | None,
    packages: Source = FROM_THE_NETWORK,
    *,
    restore: bool = False,
) -> Made:
    """What is to be done there. Raises DeviceError with all that is wrong."""
    facts = facts_of(target)
    composed = _composed(asked, facts)
    choices = chosen(asked, composed, facts)
    made = plan(composed, choices, facts, program, packages)
    kept = () if restore else tuple(written_by_others(target, facts.installed, made.steps))
    # What is kept stays in the list with the digest that we wrote: it is told as changed.
    steps = tuple(
        step
        for step in made.steps
        if not (isinstance(step, WriteFile | MakeLink) and step.path in kept)
    )
    return Made(replace(made, steps=steps), kept)


def install_on(target: Target, made: Made, say: Callable[[str], None]) -> bool:
    """Do what is not done; whether anything was. Raises DeviceError, OSError: what was done until
    then stays, and the next run goes on from there.
    """
    # Nothing is begun that would have to be done again: only when something else is to do.
    wanted = [step for step, done in made.outlook(target) if not done]
    if not wanted:
        return False
    for step in made.plan.steps:
        if not step.is_done(target):
            say(step.said)
            step.do(target)
    for tell in told_to_system():
        if not tell.is_done(target):
            try:
                tell.do(target)
            except DeviceError as error:
                # What was written is there; it counts from the next start on in any case.
                say(f"{error}: taken up when the device starts again")
    return True


def chosen(asked: Asked, composed: Composed, facts: Facts) -> Choices:
    """How the device is to be: as asked, else as before, else as is usual."""
    before = None if facts.installed is None else facts.installed.choices
    label = asked.data_label
    if label is None:
        usual = layout.DATA_LABEL if facts.data_partition else None
        label = usual if before is None else before.data_label
    elif label == NO_LABEL:
        label = None
    # Parts that are named anew say anew whether there is a screen.
    of_before = None if before is None or asked.parts else before.screen
    screen = _first(asked.screen, composed.system.screen, of_before, True)
    return Choices(
        parts=tuple(part.name for part in composed.parts),
        settings=composed.settings,
        data_label=label,
        read_only=_first(
            asked.read_only, None if before is None else before.read_only, label is not None
        ),
        screen=screen,
        ssh=bool(_first(asked.ssh, None if before is None else before.ssh)),
        network_time=bool(
            _first(asked.network_time, None if before is None else before.network_time)
        ),
    )


def written_by_others(
    target: Target, installed: Installed | None, steps: Iterable[Step]
) -> Iterator[str]:
    """Files and links that we would write, and that stand there as we never wrote them: changed by
    hand, or somebody else's from before.
    """
    for step in steps:
        if not isinstance(step, WriteFile | MakeLink):
            continue
        now = target.digest(step.path)
        known = None if installed is None else installed.entry(step.path)
        ours = () if known is None else known.ours
        if now is not None and now not in (step.entry.sha256, *ours):
            yield step.path


def _composed(asked: Asked, facts: Facts) -> Composed:
    before = None if facts.installed is None else facts.installed.choices
    names = asked.parts
    settings = asked.settings
    if not names and before is not None:
        names = before.parts
        settings = (*before.settings, *settings)
    if not names:
        board = board_of(facts.model) if facts.model else None
        if board is None:
            boards = [name for name, kind in shipped_names().items() if kind == "board"]
            raise DeviceError(
                "which board is it? Name it and its other parts, such as `edgehemo device install "
                f"raspberry_pi_5 hq_camera touch_7_800x480`; boards are {', '.join(boards)}"
            )
        names = (board,)
    return compose(read_parts(names), settings)


def _first(*values: bool | None) -> bool:
    return next((value for value in values if value is not None), False)
