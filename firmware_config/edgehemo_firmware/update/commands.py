"""`edgehemo device media|update|confirm|rollback`: versions without a network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, UsageError
from edgehemo_firmware.dependencies.targets import RUNTIME_PACKAGES

if TYPE_CHECKING:
    from edgehemo_firmware.update.installing import Changed, Changing, Step

DEFAULT_TARGET = "aarch64-3.13"

_root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    metavar="DIR",
    help="Of the system mounted at DIR, such as an image.",
)
_media_option = click.option(
    "--media",
    "media_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    metavar="DIR",
    help="The stick, or the folder on it: what `edgehemo device media` made.",
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="MACHINE-PYTHON",
    help=f"The device: aarch64-3.13 (trixie), aarch64-3.11 (bookworm), x86_64-3.11 ...; may be "
    f"given several times. [default: {DEFAULT_TARGET}]",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Private key that signs, made by `edgehemo keys new` [default: this user's].",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="A model bundle to be installed as well; the shipped one is always there.",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A checkout to build edgehemo from [default: the one this runs from, else what is "
    "installed].",
)
@click.option(
    "--wheels",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A folder of wheels, looked in before the package index; may be given several times.",
)
@click.option(
    "--deb-packages",
    is_flag=True,
    help="Fetch the packages of Debian that a kiosk with a screen needs, with all that they depend "
    "on, for a device whose image has them not. It takes an apt on this machine.",
)
@click.option(
    "--deb",
    "debs",
    multiple=True,
    metavar="NAME",
    help="A package of Debian, likewise; may be given several times.",
)
@click.option(
    "--deb-source",
    "deb_sources",
    multiple=True,
    metavar="LINE",
    help="A line of apt's sources beside Debian's own, such as Raspberry Pi's.",
)
@click.option(
    "--deb-mirror",
    metavar="URL",
    help="A mirror of Debian; without it that of this machine's apt.",
)
@click.option(
    "--without",
    type=click.Choice(sorted(RUNTIME_PACKAGES)),
    multiple=True,
    help="Leave a runtime out: a device that does not use it needs less space. May be given twice.",
)
@click.option("--no-bill", is_flag=True, help="Leave the bill of materials out.")
@common.json_option
def media(
    folder: Path,
    targets: tuple[str, ...],
    key: Path | None,
    bundle: Path | None,
    source: Path | None,
    wheels: tuple[Path, ...],
    deb_packages: bool,
    debs: tuple[str, ...],
    deb_sources: tuple[str, ...],
    deb_mirror: str | None,
    without: tuple[str, ...],
    no_bill: bool,
    json_file: str | None,
) -> int:
    """Put all that a device installs into DIR, a stick for instance, and sign it.

    On a workstation with a network. For each target a folder is made with the wheels of the lock,
    edgehemo itself with its model bundle and languages, the bill of materials and a signed
    manifest; a device installs from it with `edgehemo device update --media DIR`, and a bare one
    with `sudo python3 DIR/edgehemo-.../install.py`.
    """
    import msgspec

    from edgehemo_firmware.dependencies.targets import target_of
    from edgehemo_firmware.update.collecting import Collecting, collect
    from edgehemo_firmware.update.manifest import MANIFEST_NAME, MediaManifest
    from edgehemo_firmware.update.output import DeviceMediaOutput, MediaEntry
    from edgehemo_firmware.update.signing import signing_key
    from edgehemo_firmware.written_files import PACKAGES, READ_ONLY_PACKAGES, SCREEN_PACKAGES

    names = list(debs)
    if deb_packages:
        names += [name for name, _ in (*PACKAGES, *SCREEN_PACKAGES, *READ_ONLY_PACKAGES)]
    wanted = [target_of(text) for text in targets or (DEFAULT_TARGET,)]
    signing = signing_key(key, folder)
    entries = []
    for target in dict.fromkeys(wanted):
        collecting = Collecting(
            key=signing, wheels=wheels, bundle=bundle, source=source, bill=not no_bill,
            debs=names, deb_sources=deb_sources, deb_mirror=deb_mirror, without=without,
            tell=common.tell,
        )  # fmt: skip
        made = collect(folder, target, collecting)
        manifest = MediaManifest.model_validate(
            msgspec.json.decode((made / MANIFEST_NAME).read_bytes())
        )
        total = sum(each.bytes for each in manifest.files)
        entry = MediaEntry(
            folder=str(made),
            version=manifest.version,
            target=manifest.target,
            files=len(manifest.files),
            bytes=total,
            key=signing.public.identifier,
        )
        entries.append(entry)
        common.say(
            f"{made}: edgehemo {manifest.version} for {target}, {len(manifest.files)} files, "
            f"{total / 1e6:.0f} MB, signed by {signing.name} ({signing.public.identifier})",
            json_file,
        )
    common.write_json(json_file, DeviceMediaOutput(media=tuple(entries)))
    return EXIT_DONE


@click.command()
@_media_option
@click.option(
    "--confirm/--no-confirm",
    "confirm_now",
    default=True,
    help="Whether the kiosk is stopped and the version proved at once; without it that is done at "
    "the next start.",
)
@_root_option
@common.json_option
def update(media_folder: Path, confirm_now: bool, root: Path, json_file: str | None) -> int:
    """Update edgehemo from a stick, with no network; the version before is kept.

    The media must be signed by a key that this device trusts (`edgehemo keys list`), whole, for
    this kind of device, and no older than what was in force here. They are checked before anything
    is touched. The new version is built beside the one that runs, and stays only if it screens a
    stored slide and gets the numbers it must; else the one before runs on.
    """
    from edgehemo_firmware.update import installing
    from edgehemo_firmware.update.media import opened_media
    from edgehemo_firmware.update.service import around_the_kiosk

    changing = _changing(root)
    with common.Progress("checking the media", long=True) as progress:
        media = opened_media(media_folder, changing.target, lambda _: progress.advance())
    changed = installing.update(replace(changing, on_step=_say_next), media)
    if changed.outcome == "on trial" and confirm_now:
        with around_the_kiosk(root):
            changed = installing.confirm(changing)
    return _told(changed, json_file)


@click.command()
@_root_option
@common.json_option
def confirm(root: Path, json_file: str | None) -> int:
    """Prove a version that was updated to, or go back from it.

    It is run at every start of the device, before the kiosk, by the version that was proved last;
    where nothing is on trial it does nothing.
    """
    from edgehemo_firmware.update import installing

    _told(installing.confirm(_changing(root)), json_file)
    # Fallen back as well: a version that was proved is in force.
    return EXIT_DONE


@click.command()
@click.option(
    "--leave-newer-records",
    is_flag=True,
    help="Go back also where results were made since that the older version cannot read: they stay "
    "in a file beside the records, and are on no page.",
)
@_root_option
@common.json_option
def rollback(leave_newer_records: bool, root: Path, json_file: str | None) -> int:
    """Go back to the version before, and the records with it.

    Refused before anything is touched where results were made since the update that the version
    before cannot read.
    """
    from edgehemo_firmware.update import installing
    from edgehemo_firmware.update.service import around_the_kiosk

    with around_the_kiosk(root):
        changed = installing.roll_back(_changing(root), leave_newer=leave_newer_records)
    return _told(changed, json_file)


# What is begun once a step is done, where it takes long.
_NEXT: dict[Step, str] = {
    "media checked": "building the version beside the one that runs",
    "slot noted": "trying it on the stored slide",
}


def _say_next(step: Step) -> None:
    if step in _NEXT:
        common.tell(_NEXT[step])


def _changing(root: Path) -> Changing:
    """What changes versions here; UsageError for whoever may not."""
    from edgehemo_firmware.update.installing import Changing
    from edgehemo_firmware.update.layout import Place, target_there

    if os.geteuid() != 0:
        raise UsageError("versions are changed by root: sudo edgehemo device ...")
    place = Place(root.resolve())
    return Changing(place, target_there(place))


def _told(changed: Changed, json_file: str | None) -> int:
    from edgehemo_firmware.update.output import DeviceVersionOutput
    from edgehemo_firmware.update.telling import changed_line

    common.say(changed_line(changed), json_file)
    output = DeviceVersionOutput(
        outcome=changed.outcome, version=changed.version, reason=changed.reason
    )
    common.write_json(json_file, output)
    return EXIT_WITHHELD if changed.outcome == "fell back" else EXIT_DONE
