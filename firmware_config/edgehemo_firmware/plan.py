"""From how a device is to be, and what the system is, to the steps of its installation.

Nothing is read or changed here: the same configuration and facts give the same steps in the same
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import DeviceError
from edgehemo.files.strict import RecordError
from edgehemo.version import __version__
from edgehemo_firmware import layout
from edgehemo_firmware.composing import (
    HEADER,
    Composed,
    kept_changes,
    toml_text,
    with_changes,
)
from edgehemo_firmware.facts import Facts
from edgehemo_firmware.installed import Choices, Entry, Installed
from edgehemo_firmware.steps import (
    FROM_THE_NETWORK,
    AddLines,
    MakeFolder,
    MakeLink,
    MakeUsers,
    Note,
    Packages,
    RemoveOurs,
    Settings,
    Source,
    Step,
    Tell,
    WriteFile,
)
from edgehemo_firmware.written_files import Case, masked_for, packages_for, rendered

DISTRIBUTIONS = ("debian", "raspbian")
OLDEST_DEBIAN = 12
ARCHITECTURES = ("arm64", "amd64")
PYTHONS = ("3.11", "3.12", "3.13")
# Of a PC's processor, since 2009 to 2013: the libraries are made for these and die without a word
# where one is missing (x86-64-v2).
ABILITIES = frozenset({"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"})


@dataclass(frozen=True, slots=True)
class Plan:
    """steps: in their order. words: what a person should know beside them. installed: what will
    have been written.
    """

    steps: tuple[Step, ...]
    words: tuple[str, ...]
    installed: Installed


def refusals(facts: Facts) -> Iterator[str]:
    """Why nothing can be installed there."""
    like = facts.distribution in DISTRIBUTIONS
    number = facts.version.partition(".")[0]
    if not like or (number.isdigit() and int(number) < OLDEST_DEBIAN):
        name = f"{facts.distribution} {facts.version}".strip() or "a system that does not say what"
        yield (
            f"this is {name}: it is installed on 64-bit Raspberry Pi OS or Debian, from version "
            f"{OLDEST_DEBIAN} (bookworm) on"
        )
    if facts.architecture not in ARCHITECTURES:
        yield (
            f"programs here are of {facts.architecture or 'an unknown architecture'}: a 64-bit "
            "system is needed (Raspberry Pi OS, 64-bit)"
        )
    missing = ABILITIES - facts.abilities
    if facts.architecture == "amd64" and facts.abilities and missing:
        yield (
            f"this computer's processor is too old: it has no {', '.join(sorted(missing))}, which "
            "the program's libraries need (x86-64-v2); of an emulator choose another one, such as "
            "-cpu Nehalem"
        )
    if facts.python and facts.python not in PYTHONS:
        yield f"its Python is {facts.python}; the lock is for {', '.join(PYTHONS)}"


def plan(
    composed: Composed,
    choices: Choices,
    facts: Facts,
    program: Step | None,
    source: Source = FROM_THE_NETWORK,
) -> Plan:
    """The steps. program: puts the program itself there; None leaves it as it is. source: where
    packages of the distribution come from.

    Raises DeviceError, a line a problem, where nothing can be installed.
    """
    wrong = list(refusals(facts))
    if composed.device.data_dir.as_posix() != layout.DATA:
        wrong.append(
            f"paths.data is {composed.device.paths.data!r}: an installed device keeps its data in "
            f"{layout.DATA}; take the key out"
        )
    if choices.read_only and choices.data_label is None:
        wrong.append(
            "a read-only system needs a data partition, else every result is gone after a restart: "
            f"make one with the label {layout.DATA_LABEL} (mkfs.ext4 -L {layout.DATA_LABEL}), or "
            "give --writable"
        )
    if wrong:
        raise DeviceError("\n".join(wrong))
    settings, device = _settings(composed, facts)
    case = Case(device, choices)
    own = list(_own(case, composed, facts))
    entries = tuple(each.entry for each in own)
    before = facts.installed
    packages = packages_for(case, composed.system.packages)
    added = set() if before is None else set(before.packages)
    added |= {name for name in packages if name not in facts.packages}
    installed = Installed(
        version=__version__,
        choices=choices,
        entries=entries,
        origins=dict(composed.origins),
        packages=tuple(sorted(added)),
    )
    steps: list[Step] = [
        Packages(packages, source),
        Note(installed, finished=False),
        *(each for each in own if not isinstance(each, MakeLink)),
        MakeUsers(),
        *(MakeFolder(folder) for folder in layout.FOLDERS),
        settings,
        *([] if program is None else [program]),
        *(each for each in own if isinstance(each, MakeLink)),
        *(RemoveOurs(entry) for entry in _left_over(before, entries)),
        Note(installed, finished=True),
    ]
    words = (*_words(case, facts), *_words_of_boot(composed, facts))
    return Plan(tuple(steps), words, installed)


def told_to_system() -> tuple[Tell, ...]:
    """What a running system is told once something was written."""
    return (
        Tell(("systemctl", "daemon-reload"), "it reads the units anew"),
        Tell(("udevadm", "control", "--reload"), "it reads the rules anew"),
        Tell(("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/edgehemo.conf"), "makes folders"),
    )


def _own(case: Case, composed: Composed, facts: Facts) -> Iterator[WriteFile | MakeLink | AddLines]:
    """All files, links and lines of a device, each with its digest."""
    for row, text in rendered(case):
        yield WriteFile(row.path, text.encode("utf-8"), row.meaning, row.mode)
        if row.wanted_by is not None:
            name = row.path.rpartition("/")[2]
            yield MakeLink(
                f"{layout.UNITS}/{row.wanted_by}.wants/{name}",
                f"{layout.UNITS}/{name}",
                f"started with {row.wanted_by}",
            )
    for name, why in masked_for(case.choices):
        yield MakeLink(f"{layout.UNITS}/{name}", "/dev/null", why)
    yield MakeLink(
        layout.CONFIGURATION_LINK, layout.CONFIGURATION, "a supervisor's change outlasts a restart"
    )
    yield MakeLink(layout.COMMAND, f"{layout.CURRENT}/bin/edgehemo", "the command")
    if facts.boot_config is not None and composed.system.config_txt:
        yield AddLines(facts.boot_config, composed.system.config_txt, "camera, clock and watchdog")


def _settings(composed: Composed, facts: Facts) -> tuple[Settings, DeviceConfiguration]:
    """The settings to be, and the configuration they make; what a person changed stays."""
    if facts.standing is None:
        return Settings(composed.text), composed.device
    origins = {} if facts.installed is None else facts.installed.origins
    changes = kept_changes(origins, facts.standing)
    if not changes:
        return Settings(composed.text), composed.device
    values = with_changes(composed.values, changes)
    try:
        device = DeviceConfiguration.model_validate(values)
    except RecordError as error:
        raise DeviceError(
            "\n".join(
                f"{layout.CONFIGURATION}: {problem.place}: {problem.message}, with what was "
                "changed on the device; mend it there, then install again"
                for problem in error.problems
            )
        ) from None
    return Settings(HEADER + "\n" + toml_text(values), tuple(sorted(changes))), device


def _left_over(before: Installed | None, entries: tuple[Entry, ...]) -> list[Entry]:
    if before is None:
        return []
    now = {each.path for each in entries}
    return [each for each in before.entries if each.path not in now]


def _words(case: Case, facts: Facts) -> Iterator[str]:
    choices = case.choices
    if choices.data_label is None:
        yield (
            "the data lie on the system's own partition, which stays writable: a plug that is "
            "pulled can damage the system. For a kiosk make a data partition with the label "
            f"{layout.DATA_LABEL} (mkfs.ext4 -L {layout.DATA_LABEL})"
        )
    if case.device.camera.source is None:
        yield "no camera is among the parts: the kiosk shows the simulated microscope"
    if not choices.screen:
        yield "no browser is installed: nothing is shown on this device's own screen"
    if not facts.python:
        yield "the system has no python3 yet; it comes with the packages"


def _words_of_boot(composed: Composed, facts: Facts) -> Iterator[str]:
    if facts.boot_config is None and (lines := composed.system.config_txt):
        yield (
            "there is no config.txt here, which the board's firmware reads at its start: add to it "
            f"by hand, or install again once it is there: {'; '.join(lines)}"
        )
