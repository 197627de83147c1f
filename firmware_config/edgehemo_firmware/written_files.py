"""Every file that the installer writes into the system: one table, each from a template.

A row says where the file goes, of which template it is made, when it is written and what for; what
fills the templates is the device configuration and how the device was asked to be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.guidance.catalogue import guidance
from edgehemo.kiosk.browser import switches
from edgehemo.kiosk.faults import OUT_OF_SERVICE
from edgehemo.words.language import LANGUAGES
from edgehemo_firmware import layout
from edgehemo_firmware.installed import Choices
from edgehemo_firmware.outgoing import PRINTER_PORTS, PRINTER_STATE_PORT, outgoing

MARK = "Written by `edgehemo device install`: change the device's parts and install again."


@dataclass(frozen=True, slots=True)
class Case:
    """For what a file is made."""

    device: DeviceConfiguration
    choices: Choices

    @property
    def networked(self) -> bool:
        """Whether anything leaves the device or is let in by the network."""
        remote = any(receiver.facts.schemes for receiver in self.device.receivers)
        return remote or self.device.kiosk.listen is not None or self.choices.network_time


@dataclass(frozen=True, slots=True)
class FileRow:
    """path: where it goes. template: below this package; of a file that is taken as it is, its own
    name. meaning: what it does, for people. when: whether a device has it. wanted_by: of a unit,
    the target that starts it. mode: octal.
    """

    path: str
    template: str
    meaning: str
    when: Callable[[Case], bool] = lambda case: True
    wanted_by: str | None = None
    mode: int = 0o644


def _screen(case: Case) -> bool:
    return case.choices.screen


def _data_partition(case: Case) -> bool:
    return case.choices.data_label is not None


def _read_only(case: Case) -> bool:
    return case.choices.read_only


def _unit(
    name: str,
    meaning: str,
    wanted_by: str | None = None,
    when: Callable[[Case], bool] | None = None,
) -> FileRow:
    row = FileRow(f"{layout.UNITS}/{name}", f"units/{name}.j2", meaning, wanted_by=wanted_by)
    return row if when is None else FileRow(
        row.path, row.template, row.meaning, when, wanted_by, row.mode
    )  # fmt: skip


FILES: tuple[FileRow, ...] = (
    FileRow("/etc/sysusers.d/edgehemo.conf", "system/sysusers.conf.j2",
            "users: the service's, and the browser's, which may not look into the data"),
    FileRow("/etc/tmpfiles.d/edgehemo.conf", "system/tmpfiles.conf.j2",
            "folders of the data partition, made and owned at every start"),
    _unit("data.mount", "the data partition, found by its label", "local-fs.target",
          _data_partition),
    _unit("edgehemo-firewall.service", "the firewall, shut before there is a network",
          "sysinit.target"),
    FileRow("/etc/edgehemo/firewall.nft", "system/firewall.nft.j2",
            "what the firewall lets in and out: nothing, but what is configured"),
    _unit("edgehemo-kiosk.service", "the kiosk: watched, begun again, hardened",
          "multi-user.target"),
    _unit("edgehemo-confirm.service", "an update is proved before the kiosk starts, or left",
          "multi-user.target"),
    _unit("edgehemo-fault.service", "the page of a kiosk that does not start"),
    FileRow(f"{layout.PROGRAMS}/fault_page.py", "programs/fault_page.py",
            "serves that page with the system's own Python", mode=0o755),
    FileRow(f"{layout.PROGRAMS}/out-of-service.json", "system/out-of-service.json.j2",
            "its words, in every language"),
    _unit("edgehemo-screen.service", "the browser on the device's own screen, begun when the kiosk "
          "is ready", "multi-user.target", _screen),
    FileRow(f"{layout.PROGRAMS}/screen.py", "programs/screen.py",
            "starts the browser, and sees that its page lives", _screen, mode=0o755),
    FileRow("/etc/pam.d/edgehemo-screen", "system/pam.j2",
            "the browser's session, which gets the screen and the touch panel", _screen),
    FileRow("/etc/chromium/policies/managed/edgehemo.json", "system/chromium-policy.json.j2",
            "the browser shows the kiosk's page and nothing else, and reports nothing", _screen),
    _unit("edgehemo-selfcheck.service", "the self-check at every start", "multi-user.target"),
    _unit("edgehemo-backup.service", "a backup to the stick, once it is plugged in"),
    _unit("edgehemo-backup.timer", "a backup every so many hours", "timers.target"),
    _unit("edgehemo-control-reminder.service", "whether the control slide is due today"),
    _unit("edgehemo-control-reminder.timer", "each hour, and after a start", "timers.target"),
    FileRow("/etc/udev/rules.d/70-edgehemo.rules", "rules/70-edgehemo.rules.j2",
            "cameras for the service; the stick with our label is mounted"),
    FileRow("/etc/modules-load.d/edgehemo.conf", "system/modules-load.conf.j2",
            "the kernel knows of cameras before the kiosk starts, so it may open one found later"),
    FileRow("/etc/systemd/journald.conf.d/edgehemo.conf", "system/journald.conf.j2",
            "the system's journal: in memory, 32 MB at most"),
    FileRow("/etc/systemd/system.conf.d/edgehemo.conf", "system/system.conf.j2",
            "the hardware watchdog"),
    FileRow("/etc/sysctl.d/90-edgehemo.conf", "system/sysctl.conf.j2",
            "no memory of a program on the disk; the kernel starts again by itself"),
    FileRow("/etc/apt/apt.conf.d/99edgehemo", "system/apt.conf.j2", "no updates by themselves"),
    FileRow("/etc/overlayroot.local.conf", "system/overlayroot.conf.j2",
            "the read-only system: changes lie in memory", _read_only),
)  # fmt: skip

# Units of the system that do not run on a kiosk: whoever changes the system is a person.
MASKED: tuple[tuple[str, str], ...] = (
    ("apt-daily.timer", "no updates by themselves"),
    ("apt-daily-upgrade.timer", "no updates by themselves"),
    ("unattended-upgrades.service", "no updates by themselves"),
    ("man-db.timer", "nothing writes at night"),
)
# Unless the clock is to be set from the network.
MASKED_WITHOUT_NETWORK_TIME = ("systemd-timesyncd.service", "the clock is set by a supervisor")

# What the distribution must have: everything, and what a screen, a read-only system need.
PACKAGES: tuple[tuple[str, str], ...] = (
    ("python3", "runs the program"),
    ("python3-venv", "makes the two places of the program's versions"),
    ("fonts-dejavu-core", "letters of reports"),
    ("nftables", "the firewall"),
    ("udev", "cameras and sticks"),
)
SCREEN_PACKAGES: tuple[tuple[str, str], ...] = (
    ("chromium", "the browser of the page"),
    ("cage", "shows one program on the whole screen (Wayland)"),
    ("xwayland", "without it Debian's cage does not start, though nothing uses it"),
    ("libpam-systemd", "gives the browser the screen and the touch panel"),
)
READ_ONLY_PACKAGES: tuple[tuple[str, str], ...] = (
    ("overlayroot", "the read-only system"),
    # Without it the script of the start fails, and the system stays as writable as it was.
    ("busybox", "what overlayroot's script of the start calls"),
)
PRINTER_PACKAGES: tuple[tuple[str, str], ...] = (("cups", "the printer of reports"),)


def packages_for(case: Case, of_parts: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the distribution's packages that a device needs. of_parts: what its parts name."""
    rows = [*PACKAGES]
    rows += SCREEN_PACKAGES if case.choices.screen else ()
    rows += READ_ONLY_PACKAGES if case.choices.read_only else ()
    rows += PRINTER_PACKAGES if case.device.kiosk.printer is not None else ()
    return tuple(dict.fromkeys([*(name for name, _ in rows), *of_parts]))


def masked_for(choices: Choices) -> tuple[tuple[str, str], ...]:
    """Units that do not run, each with why."""
    more = () if choices.network_time else (MASKED_WITHOUT_NETWORK_TIME,)
    return (*MASKED, *more)


def rendered(case: Case) -> Iterator[tuple[FileRow, str]]:
    """Every file of a device with its text."""
    environment = _environment()
    words = context(case)
    for row in FILES:
        if row.when(case):
            yield row, _text(environment, row.template, words)


def context(case: Case) -> dict[str, Any]:
    """What fills the templates."""
    device = case.device
    listen = device.kiosk.listen
    return {
        "mark": MARK,
        "device": device,
        "user": layout.USER,
        "screen_user": layout.SCREEN_USER,
        "user_number": layout.USER_NUMBERS[layout.USER],
        "screen_user_number": layout.USER_NUMBERS[layout.SCREEN_USER],
        "groups": layout.GROUPS[layout.USER],
        "screen_groups": layout.GROUPS[layout.SCREEN_USER],
        "data_mount": layout.DATA_MOUNT,
        "data": layout.DATA,
        "versions": layout.VERSIONS,
        "configuration": layout.CONFIGURATION_LINK,
        "command": layout.COMMAND,
        "programs": layout.PROGRAMS,
        "ended": layout.ENDED,
        "stick_folder": layout.STICK_FOLDER,
        "stick_mount": layout.STICK_MOUNT,
        "folders": layout.FOLDERS,
        "watchdog_s": layout.WATCHDOG_S,
        "memory_mb": device.inference.memory_limit_mb + layout.SERVER_MB,
        "label": case.choices.data_label,
        "label_escaped": unit_escaped(case.choices.data_label or ""),
        "networked": case.networked,
        "listen_port": None if listen is None else listen.rpartition(":")[2],
        "ssh": case.choices.ssh,
        "out": outgoing(device, network_time=case.choices.network_time, ssh=case.choices.ssh),
        "printer_ports": PRINTER_PORTS,
        "printer_state_port": PRINTER_STATE_PORT,
        "browser_switches": switches(),
        "out_of_service": out_of_service_words(),
    }


def unit_escaped(text: str) -> str:
    """A name as systemd writes it in the name of a unit."""
    return "".join(
        each if each.isalnum() or each in "_." else f"\\x{ord(each):02x}" for each in text
    )


def out_of_service_words() -> Mapping[str, Mapping[str, str]]:
    """Language -> title, meaning and action of a kiosk that does not start."""
    found: dict[str, Mapping[str, str]] = {}
    for language in LANGUAGES:
        said = guidance(OUT_OF_SERVICE, language)
        found[language] = {"title": said.title, "meaning": said.meaning, "action": said.action}
    return found


def _environment() -> jinja2.Environment:
    def load(name: str) -> str:
        return files("edgehemo_firmware").joinpath(*name.split("/")).read_text("utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False, indent=1)
    return environment


def _text(environment: jinja2.Environment, template: str, words: Mapping[str, Any]) -> str:
    if template.endswith(".j2"):
        return environment.get_template(template).render(words)
    return files("edgehemo_firmware").joinpath(*template.split("/")).read_text("utf-8")
