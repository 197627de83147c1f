"""`edgehemo device` and `edgehemo profile`: put a device in service, and say how it is set up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, DeviceError, UsageError
from edgehemo_firmware.acceptance.command import acceptance
from edgehemo_firmware.update import commands as versions

if TYPE_CHECKING:
    from edgehemo_firmware.showing import ShownValue
    from edgehemo_firmware.steps import Step
    from edgehemo_firmware.target import Target

_root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Of the system mounted at DIR, such as an image; nothing of the running one is touched.",
)


@click.group()
def device() -> None:
    """Put this device in service, say how it is set up, and take it out of service."""


for command in (
    versions.media,
    versions.update,
    versions.confirm,
    versions.rollback,
    acceptance,
):
    device.add_command(command)


@device.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of the device configuration, over what the parts say: --set kiosk.language=fr.",
)
@_root_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--data-label",
    metavar="LABEL",
    help="Label of the data partition; none: the data lie on the system's own. Default: "
    "EDGEHEMO-DATA where there is such a partition, else none.",
)
@click.option(
    "--read-only/--writable",
    "read_only",
    default=None,
    help="Whether the system is read-only, all changes in memory. Default: with a data partition.",
)
@click.option(
    "--screen/--no-screen",
    "screen",
    default=None,
    help="Whether a browser shows the page on the device's own screen. Default: as the board can.",
)
@click.option("--ssh/--no-ssh", default=None, help="Whether the firewall lets SSH in.")
@click.option(
    "--network-time/--no-network-time",
    "network_time",
    default=None,
    help="Whether the clock is set from the network.",
)
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The wheel of edgehemo; without it made from the source that this runs from.",
)
@click.option(
    "--media",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A stick that `edgehemo device media` filled: the program comes from it, with no network.",
)
@click.option(
    "--trust",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="KEY.pub",
    help="The public key of whoever filled the stick; this device trusts it from then on.",
)
@click.option("--no-program", is_flag=True, help="Leave the program as it is: the system alone.")
@click.option("--no-packages", is_flag=True, help="Fetch no packages of the distribution.")
@click.option(
    "--restore",
    is_flag=True,
    help="Put back files that were changed by hand; without it they are kept and named.",
)
def install(
    parts: tuple[str, ...],
    settings: tuple[str, ...],
    root: Path | None,
    dry_run: bool,
    data_label: str | None,
    read_only: bool | None,
    screen: bool | None,
    ssh: bool | None,
    network_time: bool | None,
    wheel: Path | None,
    media: Path | None,
    trust: Path | None,
    no_program: bool,
    no_packages: bool,
    restore: bool,
) -> int:
    """Install edgehemo as a kiosk on 64-bit Raspberry Pi OS or Debian.

    PART: the board, its camera, screen, clock and site, such as `raspberry_pi_5 hq_camera
    touch_7_800x480`, and files of one's own; `edgehemo profile list` shows all. Without parts those
    of the installation before. Again, it changes only what is not as it should be; what a
    supervisor changed on the device stays.
    """
    from edgehemo_firmware.installing import Asked, install_on, planned
    from edgehemo_firmware.program_version import FromIndex
    from edgehemo_firmware.steps import Source
    from edgehemo_firmware.update.program_step import FromMedia

    target = _target(root)
    asked = Asked(parts, settings, data_label, read_only, screen, ssh, network_time)
    carried: FromMedia | None = None
    program: Step | None = None if no_program else FromIndex(wheel)
    if media is not None and program is not None:
        program = carried = FromMedia.checked(target, media, trust)
    # What media do not carry is not fetched either: they are for where there is no network.
    source = Source(fetch=not no_packages and carried is None, debs=carried.debs if carried else ())
    made = planned(target, asked, program, source, restore=restore)
    for word in made.words:
        common.complain(word)
    if dry_run:
        for step, done in made.outlook(target):
            common.say(f"{'already  ' if done else 'would do '} {step.said}", None)
        for path in made.kept:
            common.say(f"would keep {path}: others wrote or changed it", None)
        return EXIT_DONE
    _needs_root("install")
    changed = install_on(target, made, lambda said: common.say(said, None))
    for path in made.kept:
        common.complain(f"{path}: others wrote or changed it, kept; --restore puts ours there")
    if not changed:
        common.say("nothing to do: everything is as it should be", None)
    elif target.running:
        common.say("installed; restart the device: sudo reboot", None)
    else:
        common.say(f"installed below {target.root}", None)
    return EXIT_WITHHELD if made.kept else EXIT_DONE


@device.command()
@_root_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and let it stay.")
@click.option(
    "--data",
    is_flag=True,
    help="REMOVE THE RECORDS, the settings and the program as well. Back up first.",
)
def uninstall(root: Path | None, dry_run: bool, data: bool) -> int:
    """Remove what was installed; files that were changed by hand are kept and named.

    Records, settings and the program stay in /data/edgehemo, unless --data is given.
    """
    from edgehemo_firmware.installed import read_installed
    from edgehemo_firmware.removing import removal, remove_from

    target = _target(root)
    installed = read_installed(target)
    if installed is None:
        common.say("nothing is installed here", None)
        return EXIT_DONE
    found = removal(target, installed, data=data)
    for line in found.lines():
        common.say(f"would: {line}" if dry_run else line, None)
    if not dry_run:
        _needs_root("uninstall")
        remove_from(target, found)
        if installed.packages:
            said = " ".join(installed.packages)
            common.say(f"packages that came with it are left: apt-get remove {said}", None)
    return EXIT_WITHHELD if found.changed else EXIT_DONE


@device.command()
@_root_option
@common.json_option
def status(root: Path | None, json_file: str | None) -> int:
    """Say what is installed, which version runs, what was changed by hand, how the units stand.

    Exit code 1 where something is not as it was installed, or a unit failed.
    """
    from edgehemo_firmware.installed import read_installed
    from edgehemo_firmware.state import status_of

    target = _target(root)
    found = status_of(target, read_installed(target))
    for line in found.lines():
        common.say(line, json_file)
    common.write_json(json_file, found.output)
    return EXIT_DONE if found.in_order else EXIT_WITHHELD


@device.command(name="show")
@_root_option
@click.option("--set-only", is_flag=True, help="Leave out what stands at its default.")
@common.json_option
def show_device(root: Path | None, set_only: bool, json_file: str | None) -> int:
    """Print the device configuration in force, and where each value came from.

    A part and its line, a change on the device and what was there before, or the default.
    """
    from edgehemo.device.configuration import DeviceConfiguration, configured_path
    from edgehemo_firmware import layout
    from edgehemo_firmware.installed import read_installed
    from edgehemo_firmware.showing import (
        ShowOutput,
        calibration_of,
        fallback_values,
        values_in_force,
    )

    target = _target(root)
    installed = read_installed(target)
    if root is None:
        named = configured_path()
        file = None if named is None else str(named)
        text = None if named is None else _text(named)
    else:
        file, text = layout.CONFIGURATION, target.text(layout.CONFIGURATION)
        if text is None:
            raise DeviceError(f"{root}: no device is configured there; install it first")
    ours = installed is not None and file in (layout.CONFIGURATION_LINK, layout.CONFIGURATION)
    if text is None or file is None:
        common.say("nothing configures this device: the profile workstation serves", json_file)
        values = fallback_values()
    else:
        values = values_in_force(text, file, installed.origins if installed and ours else {})
        common.say(f"{file}", json_file)
        common.say(calibration_of(DeviceConfiguration.parse(text, file)), json_file)
    parts = installed.choices.parts if installed is not None and ours else ()
    _say_values(values, set_only, json_file)
    common.write_json(json_file, ShowOutput(file=file, parts=parts, values=values))
    return EXIT_DONE


@device.command()
@common.json_option
def remind(json_file: str | None) -> int:
    """Say whether the control slide is due today, so that it is checked before the first sample.

    A timer runs it each hour and after each start; the kiosk's start page says it too. Exit code 1
    where the control slide is due, or anything else will withhold results before the day is over.
    """
    from edgehemo.records.clock import now
    from edgehemo_firmware.reminding import REMIND_AHEAD, ReminderOutput, note_due, reminder

    at = now()
    found = reminder(at)
    until = f"{at + REMIND_AHEAD:%Y-%m-%d %H:%M}"
    note_due(found, at)
    if found is None:
        common.say(f"nothing is due until {until}", json_file)
    else:
        common.say(f"{found.code}: {found.reason}. {found.action}", json_file)
    code = None if found is None else found.code
    common.write_json(json_file, ReminderOutput(until=until, code=code))
    return EXIT_DONE if found is None else EXIT_WITHHELD


@device.command(name="clock")
@click.argument("moment", metavar="[DATE-AND-TIME]", required=False)
@common.json_option
def clock(moment: str | None, json_file: str | None) -> int:
    """Say what time it is here, or set it: `sudo edgehemo device clock "2026-11-27 14:30"`.

    Sets the clock with the battery as well, where there is one. Exit code 1 where the clock stands
    before the newest result, and so is not set.
    """
    from edgehemo.device.clock import TOLERANCE, last_result
    from edgehemo.device.configuration import load_device
    from edgehemo.records.clock import now
    from edgehemo_firmware.clock_setting import BATTERY_CLOCK, ClockOutput, read_moment, set_clock

    if moment is not None:
        at = read_moment(moment)
        _needs_root("clock")
        set_clock(at)
    battery = Path(BATTERY_CLOCK).exists()
    last = last_result(load_device(None).data_dir)
    here = now()
    behind = last is not None and last - here > TOLERANCE
    common.say(f"{here:%Y-%m-%d %H:%M:%S %Z}", json_file)
    if not battery:
        common.say("no clock with a battery: set it after each start", json_file)
    if last is not None and behind:
        common.say(
            f"NOT SET: the newest result was made at {last.astimezone():%Y-%m-%d %H:%M}; if that "
            "one's clock was wrong, `edgehemo records trust-clock` says so",
            json_file,
        )
    output = ClockOutput(
        now=here.isoformat(timespec="seconds"),
        battery=battery,
        last_result=None if last is None else last.isoformat(timespec="seconds"),
        behind=behind,
    )
    common.write_json(json_file, output)
    return EXIT_WITHHELD if behind else EXIT_DONE


@click.group()
def profile() -> None:
    """Say of what parts a device's configuration is made, and what they make together."""


@profile.command(name="list")
def list_() -> int:
    """The parts that come with edgehemo: boards, cameras, screens, clocks, sites."""
    from edgehemo_firmware.parts import read_part, shipped_names

    for name, kind in shipped_names().items():
        content = read_part(name).content
        common.say(f"{kind:<7} {name:<22} {content.title}", None)
        if content.runs:
            common.say(f"{'':<31} runs {content.runs}", None)
    return EXIT_DONE


@profile.command(name="show")
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key, over what the parts say."
)
@click.option("--set-only", is_flag=True, help="Leave out what stands at its default.")
@click.option("--toml", is_flag=True, help="Print it as the file that would be installed.")
@common.json_option
@click.pass_context
def show_profile(
    context: click.Context,
    parts: tuple[str, ...],
    settings: tuple[str, ...],
    set_only: bool,
    toml: bool,
    json_file: str | None,
) -> int:
    """Print what PARTs make together, each value with the file and line it comes from.

    PART: a name of `edgehemo profile list`, or a file of one's own; later ones lie over earlier
    ones. Without any, what is in force on this device. All problems are told at once.
    """
    from edgehemo_firmware.composing import compose
    from edgehemo_firmware.parts import read_parts
    from edgehemo_firmware.showing import ShowOutput, values_of_parts

    if not parts:
        if settings or toml:
            raise UsageError("name the parts that --set or --toml is for")
        shown: int = context.invoke(show_device, root=None, set_only=set_only, json_file=json_file)
        return shown
    composed = compose(read_parts(parts), settings)
    values = values_of_parts(composed)
    if toml:
        common.say(composed.text.rstrip("\n"), json_file)
    else:
        for line in composed.system.config_txt:
            common.say(f"config.txt: {line}", json_file)
        _say_values(values, set_only, json_file)
    output = ShowOutput(parts=tuple(part.name for part in composed.parts), values=values)
    common.write_json(json_file, output)
    return EXIT_DONE


def _say_values(values: tuple[ShownValue, ...], set_only: bool, json_file: str | None) -> None:
    from edgehemo_firmware.showing import DEFAULT, shown_lines

    wanted = tuple(each for each in values if not (set_only and each.origin == DEFAULT))
    for line in shown_lines(wanted):
        common.say(line, json_file)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{file}: cannot be read ({error})") from None


def _target(root: Path | None) -> Target:
    from edgehemo_firmware.target import Target

    return Target(Path("/") if root is None else root.resolve())


def _needs_root(what: str) -> None:
    if os.geteuid() != 0:
        raise UsageError(
            f"`edgehemo device {what}` changes the system, which only root may: run it with sudo"
        )
